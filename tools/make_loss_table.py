#!/usr/bin/env python3
"""Writes docs/losses.md: the losses and adapters, as their source files describe them. Nothing of them is imported.

Usage: .venv/bin/python tools/make_loss_table.py
"""

import argparse
import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgekd import registry, storage
from edgekd.report import markdown_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "losses.md"
COMMAND = ".venv/bin/python tools/make_loss_table.py"

LOSSES, ADAPTERS = "edgekd.losses", "edgekd.distill.adapters"
NOTHING = "–"

_HEAD = f"""\
# Losses and adapters

Made from the docstrings and constants in `edgekd/losses/` and `edgekd/distill/adapters/` by
`{COMMAND}`; a test fails when it is out of date. How to use them:
[distillation](distillation.md).

A loss is a pure function `name(student, teacher, *, ...) -> [batch]`; [formulas](#formulas) are below. In a recipe it
is a term, `{{loss: name, weight: w, taps: [[student layer, teacher layer], ...]}}`: the batch mean, summed over the
pairs of taps. Every weight, and every hyper-parameter that is one float, may follow a schedule.

- **Compares**: `logits` take no taps. `feature maps` are [batch, height, width, channels] and `features` [batch, ...],
  one call for each pair of taps. `flows` are the maps at two consecutive pairs of taps.
- **Adapter**: the helper between taps and loss that a term gets unless the recipe names another, or `none`.
- **Labels**: the loss looks at the true class, so that neither mixup nor unlabelled images go with it.
- **Batch**: a sample's value depends on the other samples of its batch, so that the batch size matters.
"""


def page() -> str:
    """Returns the whole page."""
    losses, adapters = _described(LOSSES), _described(ADAPTERS, entry="build")
    columns = ("Loss", "What it does", "Compares", "Adapter", "Hyper-parameters", "Labels", "Batch", "Paper")
    users = {
        adapter: [name for name, (plugin, _) in losses.items() if plugin.constants.get("ADAPTER") == adapter]
        for adapter in adapters
    }
    helpers = ("Adapter", "What it does", "Options", "Gives the loss", "Default of", "Paper")
    parts = (
        _HEAD,
        f"## {len(losses)} losses\n",
        markdown_table.of_markdown(columns, (_loss_row(*each) for each in losses.values())) + "\n",
        f"Of a teacher's array at a tap the cache stores the whole; for {_summarised(losses)} a summary that is\n"
        "enough, where the term has no adapter.\n",
        f"## {len(adapters)} adapters\n",
        "They are built from the shapes at the taps, trained with the student, kept in checkpoints, and dropped when\n"
        "training ends: the saved student does not have them.\n",
        markdown_table.of_markdown(helpers, (_adapter_row(*each, users[name]) for name, each in adapters.items()))
        + "\n",
        "## Formulas\n",
        *(f"### {name}\n\n```text\n{_formula(LOSSES, name, name)}\n```\n" for name in losses),
        "## Papers\n",
        "\n".join(f"- `{name}`: {_linked(papers)}" for name, (_, papers) in {**losses, **adapters}.items()) + "\n",
    )
    return "\n".join(parts)


def _summarised(losses: dict[str, tuple[registry.Plugin, str]]) -> str:
    found = [name for name, (plugin, _) in losses.items() if plugin.constants.get("SUMMARISES_TEACHER")]
    return ", ".join(f"`{name}`" for name in found)


def _described(package: str, entry: str | None = None) -> dict[str, tuple[registry.Plugin, str]]:
    """Returns each plug-in with the references of its entry function, by name."""
    found = {}
    for name in registry.discover(package):
        function = entry or name
        source = (ROOT / package.replace(".", "/") / f"{name}.py").read_text(encoding="utf-8")
        found[name] = registry.describe(package, name, entry=function), _references(source, function)
    return found


def _docstring(source: str, function: str) -> str:
    (node,) = (each for each in ast.parse(source).body if isinstance(each, ast.FunctionDef) and each.name == function)
    return ast.get_docstring(node) or ""


def _formula(package: str, name: str, function: str) -> str:
    """Returns what a docstring says before Raises: what is returned, the formula, the arguments, the result."""
    source = (ROOT / package.replace(".", "/") / f"{name}.py").read_text(encoding="utf-8")
    return _docstring(source, function).partition("\nRaises:\n")[0].strip()


def _references(source: str, function: str) -> str:
    references = _docstring(source, function).partition("References:\n")[2]
    if not references:
        raise SystemExit(f"{function}() has no References in its docstring: add the paper.")
    return " ".join(references.split())


def _loss_row(plugin: registry.Plugin, references: str) -> Sequence[str]:
    constants = plugin.constants
    needs = constants.get("NEEDS", ())
    options = {key: value for key, value in plugin.parameters.items() if key not in needs}
    return (
        f"[`{plugin.name}`](#{plugin.name})",
        _sentence(plugin.summary),
        str(constants["COMPARES"]).replace("_", " "),
        _code(constants.get("ADAPTER")),
        _options(options),
        _yes("labels" in needs),
        _yes(constants.get("RELATES_SAMPLES", False)),
        _papers(references),
    )


def _adapter_row(plugin: registry.Plugin, references: str, users: Iterable[str]) -> Sequence[str]:
    options = {key: value for key, value in plugin.parameters.items() if key != "seed"}
    return (
        f"`{plugin.name}`",
        _sentence(plugin.summary),
        _options(options),
        ", ".join(_code(each) for each in plugin.constants.get("SUPPLIES", ())) or NOTHING,
        ", ".join(_code(each) for each in users) or NOTHING,
        _papers(references),
    )


def _sentence(summary: str) -> str:
    """Returns a summary without the name that it begins with: the column before holds that."""
    text = summary.partition(": ")[2] or summary
    return text[0].upper() + text[1:]


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"`{key}: {_yaml(value)}`" for key, value in options.items()) or NOTHING


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _code(value: str | None) -> str:
    return f"`{value}`" if value else NOTHING


def _yes(value: bool) -> str:
    return "yes" if value else NOTHING


def _papers(references: str) -> str:
    """Returns links to the papers, by number; one without a number has its whole text under the tables."""
    found = re.findall(r"arXiv:(\d{4}\.\d{4,5})|doi:([^\s)]+)", references)
    links = [f"[{arxiv}]({_arxiv(arxiv)})" if arxiv else f"[doi]({_doi(doi)})" for arxiv, doi in found]
    return ", ".join(links) or "below"


def _linked(references: str) -> str:
    linked = re.sub(r"arXiv:(\d{4}\.\d{4,5})", lambda found: f"[{found[0]}]({_arxiv(found[1])})", references)
    return re.sub(r"doi:([^\s)]+)", lambda found: f"[{found[0]}]({_doi(found[1])})", linked)


def _arxiv(number: str) -> str:
    return f"https://arxiv.org/abs/{number}"


def _doi(name: str) -> str:
    return f"https://doi.org/{name}"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    storage.write_bytes(PAGE, page().encode())
