"""Writes card.md beside a recipe of the zoo, from the records of a finished run of it.

    python tools/make_cards.py runs/fashion_mnist-resnet8

The run's name says which recipe it is of. Every number is the run's own; settings that were changed for it stand in the
card's command. A part written by hand stays: all of an existing card from the line `## Notes` on.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import recipe, storage
from edgekd.errors import EdgekdError, RecipeError, StorageError
from edgekd.recipe import Recipe
from edgekd.records import Interval, Summary
from edgekd.report import formatting, headline, provenance, table

ZOO = Path("models")
CARD_FILE = "card.md"
NOTES = "## Notes"
_MADE = "<!-- Written by tools/make_cards.py, but for what stands below Notes: make it again instead of editing. -->"
# Where things lie on a machine is nobody else's business, and decides no number.
_PLACES = ("data.data_dir", "data.download", "distill.cache.folder")
_PROVENANCE = ("Seed", "Recipe, SHA-256", "Data, fingerprint", "Processor", "Memory", "System", "Versions")
_UNKNOWN = object()


def card(summary: Summary, run: Recipe, zoo: Recipe, *, name: str, title: str) -> str:
    """Returns a card as Markdown, without what is written by hand.

    Args:
      summary: of the finished run.
      run: the recipe that it was made by.
      zoo: the recipe of the zoo as it stands.
      name: the recipe's, as `edgekd run` takes it.
      title: what the recipe says it is.
    """
    parts = (
        _MADE,
        f"# {name}",
        title,
        _table(("", ""), _facts(summary, run)),
        f"```sh\n{command(run, zoo, name=name)}\n```",
        "## Measured",
        f"{headline.verdict(summary).text}. {_gain(summary)}".strip(),
        _table(table.HEADERS, [table.cells(row) for row in table.rows(summary)]),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(summary)),
        "## Provenance",
        _table(("", ""), [entry for entry in provenance.entries(summary) if _is_provenance(entry[0])]),
    )
    return "\n\n".join(parts) + "\n"


def command(run: Recipe, zoo: Recipe, *, name: str) -> str:
    """Returns the command that repeats a run, with the settings in which it differs from the zoo's recipe."""
    changed = list(_differences(zoo.model_dump(mode="json"), run.model_dump(mode="json")))
    return " ".join(["edgekd run", name, *(f"--set '{key}={_in_yaml(value)}'" for key, value in changed)])


def _differences(ours: Any, theirs: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yields keys and the second document's values where the two differ; a list that differs counts as one value."""
    if key in _PLACES or ours == theirs:
        return
    if key.endswith("model") and ours and theirs and Path(ours).name == Path(theirs).name:
        return  # where it lies makes no difference; which weights it has stands in the provenance
    if not (isinstance(ours, Mapping) and isinstance(theirs, Mapping)):
        yield key, theirs
        return
    for each in theirs:
        yield from _differences(ours.get(each, _UNKNOWN), theirs[each], f"{key}.{each}" if key else each)


def _in_yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_in_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_in_yaml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _facts(summary: Summary, run: Recipe) -> Iterator[tuple[str, str]]:
    data = summary.data
    shape = " × ".join(map(str, data.input_shape))
    yield (
        "data",
        f"{data.name}: {data.train:,} training, {data.validation:,} validation and {data.test:,} test samples of "
        f"{shape}, {len(data.class_names)} classes",
    )
    yield "preprocessing", data.preprocessing
    for role in table.roles(summary):
        model = summary.models[role]
        trained = f", {formatting.counted(model.epochs, 'epoch')}" if model.epochs else ""
        counted = f": {formatting.count(model.parameters)} parameters" if model.parameters is not None else ""
        yield table.title(role).lower(), f"{model.architecture}{counted}{trained}"
    if summary.taught:
        yield "taught", summary.taught
    if run.quantize is not None:
        aware = run.quantize.aware
        how = f"quantisation-aware training, {formatting.counted(aware.epochs, 'epoch')}" if aware else "calibrated"
        yield "integers", f"{run.quantize.scheme}, {how}"
    yield "licence", "Apache-2.0, as edgekd; the data have their own"


def _gain(summary: Summary) -> str:
    gain = summary.gains.get(table.STUDENT_DISTILLED)
    if gain is None:
        return ""
    words = f"Taught rather than on labels alone: {formatting.points(gain.value)} points"
    noise = ", which is within noise" if gain.low <= 0 <= gain.high else ""
    return f"{words} [{formatting.points_interval(gain)}]{noise}."


def _limits(summary: Summary) -> Iterator[str]:
    student = summary.models[table.STUDENT_DISTILLED].accuracy_interval
    assert student is not None  # noqa: S101 - the run was verified
    yield (
        f"One run of seed {summary.seed}. Intervals are 95 % and of {summary.data.test:,} test samples "
        f"(± {100 * _half(student):.2f} points for the student); what other seeds would give is not in them."
    )
    if summary.measurements:
        noisy = sum(bool(each.warnings) for each in summary.measurements)
        yield (
            "Latencies are of the processor below, with the fewest threads that were measured"
            + (f"; {noisy} of {len(summary.measurements)} have warnings, such as of noise." if noisy else ".")
        )
    else:
        yield "No latency was measured."
    yield f"Only samples like those of {summary.data.name} mean something to it, and it answers one of their classes."


def _half(interval: Interval) -> float:
    return max(interval.high - interval.value, interval.value - interval.low)


def _is_provenance(name: str) -> bool:
    return name in _PROVENANCE or name.endswith("weights SHA-256") or name.startswith("Stage ")


def _table(headers: Sequence[str], rows: Any) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def by_hand(path: Path) -> str:
    """Returns what an existing card has from its notes on; empty where there is none.

    Raises:
      StorageError: the card was written by hand as a whole.
    """
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8")
    if not text.startswith(_MADE):
        raise StorageError(
            f"{str(path)!r} was not written by this tool, and would be lost: move it away, or give it as the section "
            f"{NOTES!r} of a card that was."
        )
    _, mark, notes = text.partition(f"\n{NOTES}\n")
    return mark + notes


def write_card(run: Path, zoo: Path) -> Path:
    """Writes the card of one run and returns its path.

    Raises:
      StorageError: there is no finished run, or a card that another hand wrote.
      RecipeError: the run is of no recipe of this zoo, a smoke run, or not verified.
    """
    summary = Summary.read(storage.require_file(run / "summary.json", "summary"))
    files = {path.parent.relative_to(zoo).as_posix(): path for path in sorted(zoo.rglob(recipe.RECIPE_FILE))}
    names = {name.replace("/", "-"): name for name in files}
    if summary.name not in names:
        raise RecipeError(
            f"the run in {str(run)!r} is called {summary.name!r}, which is no recipe of {str(zoo)!r}: expected one of "
            f"{', '.join(names) or 'none'}. A smoke run has no card, for its numbers mean nothing."
        )
    if summary.models[table.STUDENT_DISTILLED].accuracy_interval is None or not summary.artifacts:
        raise RecipeError(f"the run in {str(run)!r} has no verified files: let `edgekd run` finish it first.")
    name = names[summary.name]
    path = files[name]
    made_by = recipe.load(str(storage.require_file(run / recipe.RECIPE_FILE, "the run's recipe")))
    written = path.parent / CARD_FILE
    notes = by_hand(written)
    text = card(summary, made_by, recipe.load(str(path)), name=name, title=recipe.summary(path))
    storage.write_text(written, text + notes)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes a card for each run; 2 where one cannot have any."""
    parser = argparse.ArgumentParser(
        description="Writes card.md beside recipes of the zoo, from finished runs of them."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="the folder of recipes (default: models)")
    options = parser.parse_args(arguments)
    try:
        for run in options.runs:
            sys.stdout.write(f"{write_card(run, options.zoo)}\n")
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
