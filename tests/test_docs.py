"""What docs/ tells people works: recipes, commands, Python, error messages; generated pages are up to date."""

import argparse
import json
import re
import runpy
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click
import numpy as np
import pytest
import ruamel.yaml
from scipy import stats

from edgekd import cli, recipe
from edgekd.errors import EdgekdError
from edgekd.pipeline import load_data, preflight
from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_QUANTIZED, STUDENT_SPARSE

ROOT = Path(__file__).parents[1]
_IN_DEPTH = (
    "distillation",
    "export",
    "quantisation",
    "sparsity",
    "verify",
    "anomalies",
    "inspect",
    "ci",
    "bench",
    "bench-targets",
    "report",
)
_IN_SHORT = ("index", "zoo", "choose-a-loss", "raspberry-pi", "android-phone", "microcontroller", "air-gapped")
_ABOUT_TRAINING = ("workers", "training-speed")
# Their networks, losses, ... are added by tests/extend and tests/test_own_model.py; here only commands are looked at.
_WITH_FILES = (
    "your-own-model",
    *(f"extend/add-a-{kind}" for kind in ("loss", "network", "scheme", "target")),
)
GUIDES = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in (*_IN_DEPTH, *_IN_SHORT, *_ABOUT_TRAINING, *_WITH_FILES)
}

# What a reader puts a fragment into; the sizes of the error messages' shapes are those of its data.
BASE: dict[str, Any] = {
    "data": {"dataset": "synthetic", "samples": 60, "classes": 3, "shape": [16, 16, 1], "batch_size": 8},
    "teacher": {"architecture": "resnet", "width": 16},
    "student": {"architecture": "resnet", "width": 8},
}


def blocks(language: str, *guides: str) -> list[str]:
    texts = [GUIDES[name] for name in guides or GUIDES]
    return [found for text in texts for found in re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)]


def commands() -> list[list[str]]:
    lines = (line.strip() for block in blocks("sh") for line in block.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith("edgekd ")]


def tool_commands() -> list[str]:
    """Returns what pages and cards say to type of the repository's own tools, in blocks or in a sentence, each once."""
    pages = (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md"))
    texts = [path.read_text(encoding="utf-8").replace("\\\n", " ") for path in pages]
    return sorted({line.strip() for text in texts for line in re.findall(r"python (tools/\w+\.py[^`\n>#]*)", text)})


def refusals() -> list[tuple[str, str]]:
    (table,) = re.findall(r"\| fragment \| what it says \|\n\|---\|---\|\n((?:\|.*\|\n)+)", GUIDES["distillation"])
    return re.findall(r"\| `(.*)` \| (.*) \|\n", table)


def parsed(fragment: str) -> dict[str, Any]:
    return ruamel.yaml.YAML(typ="safe", pure=True).load(fragment)


def whole(fragment: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document that a reader gets who replaces the sections of a recipe by those of a fragment."""
    document = {**BASE, **fragment, "data": {**BASE["data"], **fragment.get("data", {})}}
    if fragment.get("distill", {}).get("way", "offline") != "offline":
        del document["teacher"]
    return document


def check(document: dict[str, Any], *, stages: Collection[str] = (STUDENT_DISTILLED,)) -> None:
    """Does what a run does before it trains: the networks are built and the whole objective is evaluated."""
    checked = recipe.from_document(document)
    preflight.check(checked, load_data(checked.data, task=checked.task), stages=stages)


def stages_of(fragment: Mapping[str, Any]) -> set[str]:
    """Returns the stages that are checked with a fragment: not the distilling of the base where that is untouched."""
    later = {"quantize": {STUDENT_QUANTIZED}, "sparsify": {STUDENT_SPARSE}, "bench": set(), "verify": set()}
    return set().union(*(later.get(section, {STUDENT_DISTILLED}) for section in fragment))


@pytest.mark.parametrize(
    "name", ["make_loss_table", "make_schema_pages", "make_command_page", "make_recipe_page", "make_plugin_pages"]
)
def test_generated_pages_are_those_of_their_sources(name: str) -> None:
    tool = runpy.run_path(str(ROOT / "tools" / f"{name}.py"))
    pages = tool["pages"]() if "pages" in tool else {tool["PAGE"]: tool["page"]()}
    assert pages
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: run {tool['COMMAND']}"


def test_there_is_something_to_check() -> None:
    assert len(blocks("yaml")) > 8
    assert len(commands()) > 3
    assert len(tool_commands()) > 15
    assert len(refusals()) > 8
    assert blocks("python")


@pytest.mark.parametrize("fragment", blocks("yaml", *_IN_SHORT))
def test_every_fragment_of_a_short_guide_is_part_of_a_recipe(fragment: str) -> None:
    recipe.from_document(whole(parsed(fragment)))


def test_the_losses_to_choose_from_work() -> None:
    losses = [loss for each in blocks("yaml", "choose-a-loss") for loss in parsed(each)["distill"]["losses"]]
    assert {"dist", "dkd", "soft_logits", "fitnet_hint"} <= {loss["loss"] for loss in losses}
    check(whole({"distill": {"losses": losses}}))


def gains(page: str) -> dict[str, str]:
    """Returns what a page of results says that each method gained on Fashion-MNIST."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition("\n## CIFAR-10")[0]
    found = re.findall(r"^\| ([^|]+) \| \d[^|]+ \| ([-+]\d[^|]+) \| (?:\d+ \| )?[\d,]+ \|$", text, flags=re.MULTILINE)
    return {name.lower(): gain for name, gain in found}


def test_the_gains_of_losses_are_those_that_were_measured() -> None:
    small, large = gains("methods.md"), gains("results.md")
    assert len(small) > len(large) > 5
    told = re.findall(
        r"^\| [^|]+ \| ([^|]+) \| ([-+]\d[^|]+) \| ([^|]+) \|$", GUIDES["choose-a-loss"], flags=re.MULTILINE
    )
    assert len(told) > 5
    assert told == [(name, small[name.lower()], large.get(name.lower(), "–")) for name, *_ in told]
    assert f"({small['attention transfer']}, {large['attention transfer']})" in GUIDES["choose-a-loss"]
    for words, method in (
        ("paper has", "multi-level logits"),
        ("a cosine", "soft logits + cosine"),
        ("RKD", "soft logits + rkd"),
        ("VID", "soft logits + vid"),
        ("knowledge review", "knowledge review"),
        ("self-distillation", "self-distillation (exits)"),
    ):
        assert re.search(rf"{words}\s\({re.escape(small[method])}\)", GUIDES["choose-a-loss"]), method
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for method, where in (("dist", small), ("dist", large)):
        assert f"({where[method]}" in readme
    for where in (small, large):
        assert max(where, key=lambda method: float(where[method].split()[0])) == "dist"
    assert "or more try DIST first." in GUIDES["choose-a-loss"]
    assert ("[nineteen ways to teach](docs/methods.md)" in readme) == (len(small) == 19)


def test_the_zoos_page_tells_accuracies_and_sizes_as_the_records_have_them() -> None:
    models = ROOT / "models"
    families = json.loads((models / "fashion_mnist/results/quantisation.json").read_text())["families"]
    (rows,) = [each["rows"] for each in families if each["architecture"] == "resnet"]
    (taught,) = [each for each in rows if each["name"] == "int8_aware_taught"]
    half = stats.sem(taught["accuracies"]) * stats.t.ppf(0.975, len(taught["accuracies"]) - 1)
    size = f"{taught['size_bytes'] / 1000:.0f} kB"
    told = f"int8: {100 * np.mean(taught['accuracies']):.2f} ± {100 * half:.2f} % in {size} |"
    assert re.search(rf"^\| `fashion_mnist/resnet8` .*{re.escape(told)}", GUIDES["zoo"], flags=re.MULTILINE)
    of_one = re.findall(r"^\| `(\S+)` .*int8: ([\d.]+) % \(one seed\) in (\d+) kB", GUIDES["zoo"], flags=re.MULTILINE)
    assert of_one
    for name, accuracy, size in of_one:
        files = json.loads((models / name / "results/summary.json").read_text())["artifacts"]
        (file,) = [each for each in files if each["name"] == "student-int8.tflite"]
        assert (f"{100 * file['accuracy']:.2f}", f"{file['size_bytes'] / 1000:.0f}") == (accuracy, size)


@pytest.mark.parametrize("fragment", blocks("yaml", *_IN_DEPTH))
def test_every_fragment_of_a_recipe_works(fragment: str) -> None:
    sections = parsed(fragment)
    document = whole(sections)
    checked = recipe.from_document(document)
    document["data"].pop("unlabelled", None)  # no such folder here
    if all(teacher.model is None for teacher in checked.teacher):  # nor such files
        check(document, stages=stages_of(sections))


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_exists_with_its_options_and_settings(arguments: list[str]) -> None:
    context = click.Context(cli.edgekd, info_name="edgekd", **cli.edgekd.context_settings)
    group: click.Command = cli.edgekd
    while isinstance(group, click.Group):
        name, found, arguments = group.resolve_command(context, arguments)
        assert found is not None, name
        group = found
    options = group.make_context(group.name, list(arguments), parent=context).params
    name = options.get("recipe") or options.get("recipe_or_model")
    if name and not name.endswith((".keras", ".tflite", ".yaml")):
        recipe.load(name, overrides=options["overrides"])


class _ParsedError(Exception):
    """Ends a tool once its own parser took the arguments, before it does anything."""


@pytest.mark.parametrize("command", tool_commands())
def test_every_tool_exists_and_takes_its_arguments(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, *arguments = shlex.split(command)
    tool = ROOT / name
    assert ".parse_args(" in tool.read_text(encoding="utf-8"), "it would run here, as nothing would stop it"
    monkeypatch.syspath_prepend(str(tool.parent))  # as when it is run: it imports its neighbours
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, *given: Any) -> NoReturn:
        parse(self, *given)
        raise _ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr("sys.argv", [name, *arguments])
    with pytest.raises(_ParsedError):
        runpy.run_path(str(tool), run_name="__main__")


@pytest.mark.parametrize(("fragment", "message"), refusals())
def test_what_is_refused_is_refused_in_these_words(fragment: str, message: str) -> None:
    expected = ".*".join(re.escape(part.strip()) for part in message.split("…"))
    with pytest.raises(EdgekdError, match=expected):
        check(whole(parsed(fragment)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "guide", [name for name in _IN_DEPTH if name != "ci" and blocks("python", name)]
)  # tests/pytest_plugin
def test_the_python_examples_run_in_order(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEKD_CACHE_DIR", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    for example in blocks("python", guide):
        exec(compile(example, f"{guide}.md", "exec"), names)  # noqa: S102 - our own page
    made = {
        "distillation": "cache",
        "export": "check.json",
        "quantisation": "student-int8.tflite",
        "sparsity": "student-pruned.tflite",
        "anomalies": "trousers.npz",
        "verify": "student-float32.onnx",
    }
    assert (tmp_path / made[guide]).exists()
