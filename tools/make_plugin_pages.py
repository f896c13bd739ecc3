#!/usr/bin/env python3
"""Writes docs/reference/: a page for each kind of plug-in, as their source files describe them. None is imported.

Losses and adapters have a page of their own, by tools/make_loss_table.py.

Usage: .venv/bin/python tools/make_plugin_pages.py
"""

import argparse
import ast
import dataclasses
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgekd import annotation, quantize, recipe, registry, storage
from edgekd.report import markdown_table

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
COMMAND = ".venv/bin/python tools/make_plugin_pages.py"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One page.

    Attributes:
      title: its heading.
      packages: the folders of the plug-ins, with the name of their entry function, or None for data.
      introduction: how to use one.
      supplied: parameters that no user gives.
      facts: what a constant says, by its name; others are for edgekd alone.
    """

    title: str
    packages: Mapping[str, str | None]
    introduction: str
    supplied: frozenset[str] = frozenset()
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)


_RANGES = "edgekd.quantize.ranges"
_SET_BY_EXPORT = ("scheme", "batch", "input_dtype", "output_dtype", "calibration")
KINDS = {
    "architectures": Kind(
        "Architectures",
        {recipe.ARCHITECTURES: "build"},
        "The network families of `architecture:` in a recipe and of `edgekd.create_model`; options are further keys.\n"
        "Any other network is welcome, as a function or as a file: [your own model](../your-own-model.md).",
        facts={"TAPS": "taps", "INPUT_SHAPE": "published for samples of", "OUTPUT": "gives"},
    ),
    "datasets": Kind(
        "Datasets",
        {recipe.SOURCES: "load"},
        "What `data.dataset` and `--dataset` name; what they read stands behind a colon. Options are further keys of\n"
        "`data`.",
        supplied=frozenset({"labelled"}),
        facts={"LOCATION": "behind the colon"},
    ),
    "schemes": Kind(
        "Schemes",
        {recipe.SCHEMES: None},
        "What becomes of weights and activations in a file: `scheme:` of an export, `--scheme` of `edgekd export`.\n"
        "Which to choose is in the [guide](../quantisation.md), what each gave in\n"
        "[quantisation, measured](../quantisation-results.md).",
    ),
    "calibrations": Kind(
        "Calibrations",
        {_RANGES: "estimate"},
        "How the ranges of activations are found from training samples: `quantize.calibration`, with options as\n"
        "further keys ([guide](../quantisation.md)).",
    ),
    "formats": Kind(
        "Formats",
        {recipe.FORMATS: "export"},
        "What `export` writes; options are further keys of an item of `export`, and of `edgekd.export_model`\n"
        "([guide](../export.md)).",
        supplied=frozenset(_SET_BY_EXPORT),
        facts={"SUFFIX": "suffix"},
    ),
    "targets": Kind(
        "Targets",
        recipe.TARGET_ENTRIES,
        "What `edgekd bench --target` and `bench.targets` name: this machine, a board, a phone, chips that are\n"
        "reckoned for, and Arm's kernels under emulation ([guide](../bench-targets.md)). `--set KEY=VALUE` gives an\n"
        "option; in a recipe they are"
        " further keys of `bench`.",
        supplied=frozenset({"address", "on_progress", "seed"}),
        facts={"MODULES": "needs", "PROGRAMS": "needs the program", "SUFFIXES": "takes"},
    ),
}


def pages() -> dict[Path, str]:
    """Returns the pages' texts by their paths."""
    return {FOLDER / f"{name}.md": _page(name, kind) for name, kind in KINDS.items()}


def _page(name: str, kind: Kind) -> str:
    folders = " and ".join(f"`{package.replace('.', '/')}/`" for package in kind.packages)
    head = (
        f"# {kind.title}\n\nMade from the sources in {folders} by\n`{COMMAND}`; a test fails when it is out of date.\n"
        f"`edgekd list {name}` prints them in short.\n\n{kind.introduction}\n"
    )
    sections, shared = [], {}
    for package, entry in kind.packages.items():
        for plugin in registry.discover(package):
            source = _tree(f"{package}.{plugin}")
            also = _constant(source, registry.ALSO_TAKES)
            if also is not None:
                shared[also] = _shared(also, kind)
            sections.append(_plugin(package, plugin, entry, source, kind, also=also))
    return "\n".join([head, *sections, *shared.values()])


def _plugin(package: str, name: str, entry: str | None, source: ast.Module, kind: Kind, *, also: str | None) -> str:
    described = registry.describe(package, name, entry=entry)
    key = name.replace("_", "-") if package in recipe.TARGET_ENTRIES else name
    parts = [f"## {key}\n", f"{ast.get_docstring(source)}\n"]
    if package == recipe.SCHEMES:
        parts.append(_facts(_scheme(quantize.scheme(name))))
    else:
        facts = {
            says: described.constants[constant]
            for constant, says in kind.facts.items()
            if described.constants.get(constant)
        }
        parts.append(_facts(facts))
    if entry is not None:
        own = {argument.arg for argument in _function(source, entry).args.kwonlyargs} - kind.supplied
        parts.append(_options(described, own, _meanings(_function(source, entry))))
    if also is not None:
        parts.append("It also takes the [settings that targets share](#settings-that-targets-share).\n")
    return "\n".join(part for part in parts if part)


def _scheme(scheme: quantize.Scheme) -> dict[str, Any]:
    others = (
        ""
        if scheme.other_weight_bits == scheme.weight_bits
        else f" ({scheme.other_weight_bits} where there is no kernel)"
    )
    return {
        "bits of a weight": f"{scheme.weight_bits}{others}",
        "bits of an activation": scheme.activation_bits,
        "arithmetic": scheme.arithmetic,
        "calibration": "needed" if scheme.needs_calibration else "none",
        "quantisation-aware training": "yes" if scheme.aware else "no",
        "formats": scheme.formats,
        "inputs and outputs": scheme.dtypes,
        "runtimes": scheme.runtimes,
        "also called": tuple(f"`{alias}`" for alias in scheme.aliases),
    }


def _facts(facts: Mapping[str, Any]) -> str:
    return "".join(f"- {says}: {_listed(value)}\n" for says, value in facts.items())


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"`{key}` ({note})" for key, note in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _shared(function: str, kind: Kind) -> str:
    module, _, entry = function.rpartition(".")
    package, _, name = module.rpartition(".")
    described = registry.describe(package, name, entry=entry)
    own = set(described.parameters) - kind.supplied
    text = _options(described, own, _meanings(_function(_tree(module), entry)))
    return f"## Settings that targets share\n\n{text}"


def _options(described: registry.Plugin, own: Iterable[str], meanings: Mapping[str, str]) -> str:
    shown = [key for key in described.parameters if key in set(own)]
    if not shown:
        return ""
    rows = []
    for key in shown:
        if key not in meanings:
            raise SystemExit(f"{described.name}: {key} is not in the Args of its docstring.")
        written = described.annotations.get(key)
        kind = _NOT_KNOWN if written is None else annotation.in_words(written)
        rows.append((f"`{key}`", kind, _default(described.parameters[key]), meanings[key]))
    return markdown_table.of_markdown(("option", "type", "default", "meaning"), rows) + "\n"


_NOT_KNOWN = "–"


def _default(value: Any) -> str:
    if value is registry.REQUIRED:
        return "required"
    if value in (None, ""):
        return _NOT_KNOWN
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _meanings(function: ast.FunctionDef) -> dict[str, str]:
    """Returns what a docstring's Args say of each parameter."""
    text = (ast.get_docstring(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    items = re.split(r"^(?=\S)", inspect.cleandoc(f"\n{text}"), flags=re.MULTILINE)
    pairs = (item.partition(": ") for item in items if item.strip())
    return {name.strip(): _sentence(" ".join(meaning.split())) for name, _, meaning in pairs}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def _tree(module: str) -> ast.Module:
    package, _, name = module.rpartition(".")
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations  # noqa: S101, PT018 - the registry found it
    return ast.parse(Path(next(iter(spec.submodule_search_locations)), f"{name}.py").read_text(encoding="utf-8"))


def _function(tree: ast.Module, name: str) -> ast.FunctionDef:
    (found,) = (each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name)
    return found


def _constant(tree: ast.Module, name: str) -> Any:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return None


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for path, text in pages().items():
        storage.write_text(path, text)
        sys.stdout.write(f"wrote {path}\n")
