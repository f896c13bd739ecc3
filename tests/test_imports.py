"""Imports point down only, and nothing heavy is imported before work begins."""

import ast
import configparser
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import edgekd
from edgekd import recipe, registry

ROOT = Path(__file__).parents[1]

# In one fresh interpreter: after each step, which of the heavy packages are loaded.
LIGHT = """
    import importlib, json, pkgutil, sys

    HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_datasets", "tensorflow_model_optimization", "tf2onnx")
    HEAVY += ("scipy.special", "scipy.optimize", "scipy.stats")  # of a second, which a child process is not to take
    found = {}

    def note(step):
        found[step] = [package for package in HEAVY if package in sys.modules]

    import edgekd

    note("edgekd")
    dir(edgekd), edgekd.EdgekdError, edgekd.Recipe, edgekd.load_recipe
    note("names without TensorFlow")
    from edgekd import recipe, registry

    note("edgekd.recipe")
    PACKAGES = {
        recipe.LOSSES: "{}",
        recipe.ARCHITECTURES: "build",
        recipe.SOURCES: "load",
        recipe.FORMATS: "export",
        recipe.TARGETS: "measure",
        recipe.SCHEMES: None,
        "edgekd.cli": None,
    }
    for package, entry in PACKAGES.items():
        for name in registry.discover(package):
            registry.describe(package, name, entry=entry and entry.format(name))
    note("listing plug-ins")
    MODULES = (
        "losses", "architectures", "data", "data.sources", "quantize", "quantize.schemes", "export", "runtime",
        "verify", "bench", "bench.worker", "report", "inspect", "provenance", "flatbuffer", "pipeline",
        "teachers", "distill.cache", "schedules", "api", "cli",
    )
    for module in MODULES:
        importlib.import_module(f"edgekd.{module}")
        note(f"edgekd.{module}")
    for package in ("edgekd.verify", "edgekd.bench", "edgekd.report", "edgekd.cli"):
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, prefix=f"{package}."):
            importlib.import_module(module.name)
            note(module.name)
    print(json.dumps(found))
"""


def test_importing_describing_verifying_measuring_and_reporting_load_no_tensorflow():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(LIGHT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 30
    assert {step: heavy for step, heavy in found.items() if heavy} == {}


def test_imports_point_down_only():
    # lint-imports reads setup.cfg in the folder it runs in.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    contracts = sum(section.startswith("importlinter:contract:") for section in settings.sections())
    assert contracts >= 3
    assert f"{contracts} kept, 0 broken" in done.stdout


def test_plug_ins_of_one_folder_never_import_each_other():
    checked = 0
    for package in (
        recipe.LOSSES,
        recipe.ARCHITECTURES,
        recipe.SOURCES,
        recipe.FORMATS,
        recipe.TARGETS,
        recipe.SCHEMES,
    ):
        names = set(registry.discover(package))
        for name in names:
            tree = ast.parse(_source(package, name))
            for node in ast.walk(tree):
                imported = set()
                if isinstance(node, ast.ImportFrom):
                    imported = {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
                elif isinstance(node, ast.Import):
                    imported = {alias.name for alias in node.names}
                siblings = {f"{package}.{other}" for other in names}
                assert not imported & siblings, f"{package}.{name} imports {imported & siblings}"
            checked += 1
    assert checked > 15


def test_only_what_docs_tell_of_reaches_out():
    """The guide docs/air-gapped.md promises it; TFDS, which can download, is asked in data/tfds_builder.py alone."""
    speaking = {"socket", "ssl", "urllib", "http", "ftplib", "smtplib", "requests", "httpx", "aiohttp"}
    found = {}
    for path in (ROOT / "edgekd").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        nodes = list(ast.walk(ast.parse(text)))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        used = {name.partition(".")[0] for name in named} & speaking
        used |= {"download_and_prepare"} if ".download_and_prepare(" in text else set()
        if used:
            found[path.relative_to(ROOT / "edgekd").as_posix()] = used
    assert found == {
        "bench/adb_device.py": {"socket"},  # the adb server of this machine
        "pipeline/workers.py": {"socket"},  # ports of the loopback interface
        "data/tfds_builder.py": {"download_and_prepare"},  # with `download: true`, or from files at hand
    }


def _source(package, name):
    folder = ROOT.joinpath(*package.split("."))
    file = folder / f"{name}.py"
    return (file if file.is_file() else folder / name / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", edgekd.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(edgekd, name).__doc__
    assert name in dir(edgekd)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'edgekd' has no attribute 'no_such_name'"):
        edgekd.no_such_name  # noqa: B018
