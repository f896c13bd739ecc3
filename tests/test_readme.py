"""What the README tells people to type works."""

import itertools
import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from edgekd import cli, recipe
from edgekd.cli import _recipes
from edgekd.pipeline import RunResult, load_data
from edgekd.records import Summary

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.partition("#")[0].partition(">")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("edgekd ")]


def test_the_output_and_the_gain_are_those_of_the_quickstarts_record(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "models" / "quickstart" / "results" / "summary.json"
    summary = Summary.read(path)
    result = RunResult(summary=summary, folder=Path("runs/quickstart"), worked=("report",))
    _recipes._print(result, summary.gates, smoke=False)
    expected = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    # Headers in two lines, a rule, networks, files; then what signs mean, gates, noise and where the report is.
    assert len(expected) == 2 + 1 + 4 + 6 + 4
    assert "\n".join(expected) in README
    gain = json.loads(path.read_text(encoding="utf-8"))["gains"]["student_distilled"]
    low, high = 100 * gain["low"], 100 * gain["high"]
    assert f"+{100 * gain['value']:.2f} points over the student on labels\n[+{low:.2f} to +{high:.2f}]" in README


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 8


@pytest.mark.parametrize("command", commands())
def test_every_command_in_the_readme_exists_with_its_options_and_settings(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, *arguments = shlex.split(command)
    context = click.Context(cli.edgekd, info_name="edgekd", **cli.edgekd.context_settings)
    group: click.Command = cli.edgekd
    while isinstance(group, click.Group):
        name, found, arguments = group.resolve_command(context, arguments)
        assert found is not None, name
        group = found
    options = group.make_context(group.name, list(arguments), parent=context).params
    if name := options.get("recipe"):
        chosen = recipe.load(name if name != "mine.yaml" else "quickstart", overrides=options["overrides"])
        if chosen.data.dataset == "image_folder:photos":
            monkeypatch.chdir(tmp_path)
            _take_photographs()
            assert len(load_data(chosen.data).class_names) == 2


def _take_photographs() -> None:
    """Puts photographs of several sizes, as a reader has them, into the folder that the README names."""
    generator = np.random.default_rng(0)
    for split, kind in itertools.product(("train", "test"), ("cat", "dog")):
        folder = Path("photos", split, kind)
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.mark.slow
def test_the_python_example_runs_and_is_short(tmp_path: Path) -> None:
    (example,) = blocks("python")
    assert len(example.splitlines()) < 25
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"validation accuracy 0\.\d+", done.stdout)
    assert re.search(r"\d+ bytes, agreement (0\.9\d+|1\.0000), p50 \d+\.\d+ ms", done.stdout)
    assert (tmp_path / "student-int8.tflite").is_file()


def test_links_to_files_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_links_to_headings_lead_to_one() -> None:
    # Pages of docs/ link among themselves in the site, whose build fails for such a link.
    found = 0
    for document in (ROOT / "README.md", ROOT / "CHANGELOG.md"):
        text = document.read_text(encoding="utf-8")
        for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text):
            found += 1
            page = document.parent / target if target else document
            assert heading in _anchors(page.read_text(encoding="utf-8")), f"{document.name}: {target}#{heading}"
    assert found


def _anchors(page: str) -> set[str]:
    """Returns the names of a page's headings as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_setting_up_says_what_it_does_before_minutes_of_silence_and_when_it_is_done(tmp_path: Path) -> None:
    command = [
        "make",
        "--dry-run",
        "--always-make",
        f"VENV={tmp_path / 'venv'}",
        "setup",
        str(tmp_path / "venv/.installed-for-docs"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("touch ")]
    silent = [number for number, line in enumerate(lines) if "pip install" in line]
    assert len(silent) == 3
    for number in silent:
        assert lines[number - 1].startswith('echo "installing ')
        assert lines[number + 1].startswith('echo "installed: ')
    assert "some minutes" in lines[silent[0] - 1]


def test_the_wheel_carries_recipes_data_and_templates(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    # A copy, since building leaves files beside the sources.
    source = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in listed.stdout.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            (source / name).symlink_to((ROOT / name).readlink())
        else:
            (source / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"edgekd/zoo/quickstart/recipe.yaml", "edgekd/py.typed", "edgekd/data/FASHION_MNIST_LICENSE.txt"}
    wanted |= {"edgekd/zoo/fashion_mnist/resnet8/recipe.yaml", "edgekd/zoo/fashion_mnist/teacher.keras"}
    wanted |= {f"edgekd/report/{file}" for file in ("page.html.j2", "page.css", "page.js")}
    wanted |= {"edgekd/data/fashion_mnist_embedded.npz", "edgekd/data/sources/embedded.py"}
    assert wanted <= names
    assert [name for name in names if "/results/" in name or name.endswith((".tflite", ".onnx"))] == []
    assert wheel.stat().st_size < 10_000_000
