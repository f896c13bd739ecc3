"""Writes card.md beside recipes of the zoo, from the records that are kept of a run of each.

    python tools/make_cards.py
    python tools/make_cards.py fashion_mnist/resnet8

tools/ship_runs.py keeps these records, and writes the card for the first time. Every number is the run's own; settings
that were changed for it stand in the card's command, which is tried: a card is refused where its command would not give
the run's settings, or where a teacher's file has other weights than it had in the run. A part written by hand stays:
all of an existing card from the line `## Notes` on.
"""

import argparse
import functools
import io
import itertools
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ruamel.yaml
import shipped_records

from edgekd import recipe, storage
from edgekd.errors import EdgekdError, RecipeError, StorageError, unknown_name
from edgekd.pipeline import networks
from edgekd.pipeline.stage import teacher_names
from edgekd.recipe import Recipe
from edgekd.records import Artifact, Summary
from edgekd.report import formatting, headline, intervals, markdown_table, merit, provenance, soundness, table
from edgekd.report.runs import ReportedRun
from edgekd.runtime.native_output import captured_stderr

ZOO = Path("models")
CARD_FILE = "card.md"
SUMMARY_FILE = Path("results", "summary.json")
"""The run's summary, from the recipe's folder on; what of it is kept says tools/ship_runs.py."""
SETTINGS_FILE = Path("results", "settings.json")
"""The settings of that run, with every default."""
MAX_BYTES = 1_000_000
"""Of a file that lies beside its recipe."""
_FACTS = ("What", "Value")
NOTES = "## Notes"
_MADE = "<!-- Written by tools/make_cards.py, but for what stands below Notes: make it again instead of editing. -->"
_PROVENANCE = ("Seed", "Recipe, SHA-256", "Data, fingerprint", "Processor", "Memory", "System", "Versions")


def card(summary: Summary, run: Recipe, path: Path, *, name: str) -> str:
    """Returns a card as Markdown, without what is written by hand.

    Args:
      summary: of the finished run.
      run: the recipe that it was made by.
      path: of the zoo's recipe as it stands.
      name: the recipe's, as `edgekd run` takes it.

    Raises:
      RecipeError: no command on the zoo's recipe gives the run's settings.
    """
    titles = table.headers(summary)
    parts = (
        _MADE,
        f"# {name}",
        recipe.summary(path),
        *_of_other_data(run, path),
        markdown_table.table(_FACTS, _facts(summary, run)),
        f"```sh\n{command(run, path, name=name)}\n```",
        "## Measured",
        f"{headline.verdict(summary).text}. {_gain(summary)}".strip(),
        *_warnings(summary, name),
        markdown_table.table(titles, [table.cells(row, titles) for row in table.rows(summary)]),
        table.legend(summary),
        "## Files",
        *_files(summary, name),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(summary)),
        "## Provenance",
        markdown_table.table(_FACTS, [entry for entry in provenance.entries(summary) if _is_provenance(entry[0])]),
    )
    return "\n\n".join(parts) + "\n"


def command(run: Recipe, path: Path, *, name: str) -> str:
    """Returns the command that repeats a run, with the settings in which it differs from the zoo's recipe.

    Settings that say where things lie on a machine are left out: see `Recipe.without_places`.

    Args:
      run: the recipe that the run was made by.
      path: of the zoo's recipe.
      name: the recipe's, as `edgekd run` takes it.

    Raises:
      RecipeError: the command was tried, and does not give the run's settings.
    """
    wanted, ours = run.without_places(), recipe.load(str(path)).without_places()
    for whole in (False, True):  # single keys read better, and do where a section's other keys go by themselves
        settings = [
            shlex.quote(f"{key}={_in_yaml(value)}") for key, value in _differences(ours, wanted, whole_sections=whole)
        ]
        found = " ".join(["edgekd run", name, *(f"--set {each}" for each in settings)])
        overrides = [text for option, text in itertools.pairwise(shlex.split(found)) if option == "--set"]
        try:
            given = recipe.load(str(path), overrides=overrides).without_places()
        except RecipeError as error:
            problem = f"is refused ({error})."
            cause: RecipeError | None = error
        else:
            if given == wanted:
                return found
            problem = f"gives another {', '.join(key for key, _ in _differences(given, wanted, whole_sections=True))}."
            cause = None
    raise RecipeError(f"no command repeats the run of {name}: {found} {problem}") from cause


def require_models(summary: Summary, run: Recipe, zoo: Recipe, *, name: str) -> None:
    """Raises where a model that the recipe names is not known to have the weights that it had in the run.

    Args:
      summary: of the finished run.
      run: the recipe that it was made by, whose models may have lain elsewhere.
      zoo: the recipe of the zoo.
      name: the recipe's.

    Raises:
      RecipeError: the recipe names another model, or one of other weights; or no record tells which weights there were.
      StorageError: the zoo has not got the model that its recipe names.
      ModelError: it cannot be loaded.
    """
    ours = dict(zip(teacher_names(zoo), zoo.teacher, strict=True))
    for role, section in (("student", run.student), *zip(teacher_names(run), run.teacher, strict=True)):
        if section.model is None:
            continue
        begins = f"no command repeats the run of {name}: its {role} is {section.model!r}"
        if role not in ours or not networks.is_keras_file(section):
            raise RecipeError(f"{begins}, and no record tells which weights a student or a foreign model began with.")
        given = ours[role].model
        if given is None or Path(given).name != Path(section.model).name:
            raise RecipeError(f"{begins}, which the recipe does not name: put it beside the recipe, and name it there.")
        content = storage.sha256_file(storage.require_file(Path(given), "model"))
        if _weights_of(given, content) != summary.models[role].weights_sha256:
            raise RecipeError(f"{begins}, and {given!r} has other weights than that had: run the recipe with this one.")


@functools.cache
def _weights_of(path: str, content: str) -> str:  # noqa: ARG001 - a file that was changed is another one
    with captured_stderr():
        from edgekd.architectures import load_model, weights_sha256

        return weights_sha256(load_model(path))


def _differences(ours: Any, theirs: Any, key: str = "", *, whole_sections: bool) -> Iterator[tuple[str, Any]]:
    """Yields keys and the second document's values where the two differ.

    A list counts as one value. So does, with `whole_sections`, a section in which a key is gone: setting the others may
    leave that one.
    """
    if ours == theirs:
        return
    sections = isinstance(ours, Mapping) and isinstance(theirs, Mapping)
    gone = sections and not ours.keys() <= theirs.keys()
    if not sections or (gone and whole_sections) or any("." in each for each in theirs):
        yield key, theirs
        return
    for each in theirs:
        if each not in ours:
            yield f"{key}.{each}" if key else each, theirs[each]
        else:
            inside = f"{key}.{each}" if key else each
            yield from _differences(ours[each], theirs[each], inside, whole_sections=whole_sections)


def _in_yaml(value: Any) -> str:
    stream = io.StringIO()
    writer = ruamel.yaml.YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = sys.maxsize
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")


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
        yield table.title(role, merit.of(summary)).lower(), f"{model.architecture}{counted}{trained}"
    if summary.taught:
        yield "taught", summary.taught
    if run.quantize is not None:
        aware = run.quantize.aware
        how = f"quantisation-aware training, {formatting.counted(aware.epochs, 'epoch')}" if aware else "calibrated"
        yield "integers", f"{run.quantize.scheme}, {how}"
    yield "time", _time(summary)
    yield "licence", "Apache-2.0, as edgekd; the data have their own"


def _time(summary: Summary) -> str:
    judged = merit.of(summary)
    stages = [
        f"{table.title(name, judged).lower()} {formatting.duration(taken)}" for name, taken in summary.seconds.items()
    ]
    return f"{formatting.duration(sum(summary.seconds.values()))} ({', '.join(stages)}); other work may have slowed it"


def _warnings(summary: Summary, name: str) -> Iterator[str]:
    found, text = soundness.training_warnings(ReportedRun(summary, name)), markdown_table.text  # it names classes
    if found:
        told = soundness.together(found)
        yield "\n".join(f"- **Warning.** {text(' '.join(seen))} {text(advice)}" for seen, advice in told)


def _of_other_data(run: Recipe, path: Path) -> Iterator[str]:
    ours, theirs = recipe.load(str(path)).data.dataset, run.data.dataset
    if ours != theirs:
        yield (
            f"The recipe is for `{ours}`; **what follows is of `{theirs}`**, by the command below, which has all "
            "settings that differ from the recipe's."
        )


def _gain(summary: Summary) -> str:
    gain = summary.gains.get(table.STUDENT_DISTILLED)
    if gain is None:
        return ""
    words = f"Taught rather than on labels alone: {formatting.points(gain.value)} points"
    noise = ", which is within noise" if gain.low <= 0 <= gain.high else ""
    return f"{words} [{formatting.points_interval(gain)}]{noise}."


def why_not_shipped(artifact: Artifact, summary: Summary) -> str | None:
    """Returns in words why an int8 file of a run does not lie beside its recipe, None where it does."""
    if any(not gate.passed for gate in summary.gates if gate.subject == artifact.name):
        return "a gate failed"
    if artifact.size_bytes > MAX_BYTES:
        return f"it has {artifact.size_bytes:,} bytes, and files here have at most {MAX_BYTES:,}"
    return None


def int8_files(summary: Summary) -> tuple[Artifact, ...]:
    """Returns the int8 files of a run, those that are not shipped too."""
    return tuple(artifact for artifact in summary.artifacts if artifact.scheme == "int8")


def shipped(summary: Summary) -> tuple[Artifact, ...]:
    """Returns the files of a run that lie beside its recipe."""
    return tuple(each for each in int8_files(summary) if why_not_shipped(each, summary) is None)


def _files(summary: Summary, name: str) -> Iterator[str]:
    files = shipped(summary)
    if files:
        rows = [(f"[{each.name}]({each.name})", f"{each.size_bytes:,} bytes", each.sha256) for each in files]
        yield markdown_table.of_markdown(("file", "size", "SHA-256"), rows)
    missing = [(each.name, why_not_shipped(each, summary)) for each in int8_files(summary)]
    left_out = [f"{file} does not lie here: {why}." for file, why in missing if why is not None]
    yield " ".join([*left_out, "Others are made by the command above."])
    if files:
        yield "In the repository, this holds the files to their hashes and golden records, and this card to its record:"
        yield f"```sh\npython tools/ship_runs.py --check {name}\n```"


def _limits(summary: Summary) -> Iterator[str]:
    student = summary.models[table.STUDENT_DISTILLED].accuracy_interval
    assert student is not None  # noqa: S101 - the run was verified
    yield (
        f"One run of seed {summary.seed}. Intervals are 95 % and of {summary.data.test:,} test samples "
        f"(± {100 * intervals.reach(student):.2f} points for the student); what other seeds would give is not in them."
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


def _is_provenance(name: str) -> bool:
    return name in _PROVENANCE or name.endswith("weights SHA-256") or name.startswith("Stage ")


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


def names(zoo: Path) -> dict[str, Path]:
    """Returns the folders of a zoo's recipes by their names."""
    return {path.parent.relative_to(zoo).as_posix(): path.parent for path in sorted(zoo.rglob(recipe.RECIPE_FILE))}


def with_records(zoo: Path) -> tuple[str, ...]:
    """Returns the names of the recipes of which a run's records are kept."""
    return tuple(name for name, folder in names(zoo).items() if (folder / SUMMARY_FILE).is_file())


def folder_of(name: str, zoo: Path) -> Path:
    """Returns a recipe's folder.

    Raises:
      RecipeError: the zoo has no such recipe.
    """
    known = names(zoo)
    if name not in known:
        raise RecipeError(unknown_name("recipe", name, known))
    return known[name]


def whole_card(name: str, zoo: Path) -> str:
    """Returns the card that a recipe's records and the notes of its present card come to.

    Raises:
      RecipeError: there is no such recipe, or its command would not repeat the run; see `command`, `require_models`.
      StorageError: no run of it is kept, another hand wrote the card, or it names a place on a machine.
    """
    folder = folder_of(name, zoo)
    summary = Summary.read(storage.require_file(folder / SUMMARY_FILE, "record of a run"))
    made_by = recipe.load(str(storage.require_file(folder / SETTINGS_FILE, "settings of a run")))
    return made_of(summary, made_by, name, zoo)


def made_of(summary: Summary, run: Recipe, name: str, zoo: Path) -> str:
    """Returns the card of a run that need not be kept yet, with the notes of the present card; see `whole_card`."""
    folder = folder_of(name, zoo)
    made = card(summary, run, folder / recipe.RECIPE_FILE, name=name) + by_hand(folder / CARD_FILE)
    require_models(summary, run, recipe.load(str(folder / recipe.RECIPE_FILE)), name=name)
    found = shipped_records.places(made)
    if found:
        raise StorageError(
            f"the card of {name} would name places of a machine, which are nobody's business: {', '.join(found)}. Take "
            f"them out of the recipe's first line or of the card's section {NOTES!r}."
        )
    return made


def write_card(name: str, zoo: Path) -> Path:
    """Writes the card of a recipe from its records, and returns its path; raises as `whole_card`."""
    path = folder_of(name, zoo) / CARD_FILE
    storage.write_text(path, whole_card(name, zoo))
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes cards; 2 where one cannot be."""
    parser = argparse.ArgumentParser(description="Writes card.md beside recipes of the zoo, from the records there.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes (default: all that have records)")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="the folder of recipes (default: models)")
    options = parser.parse_args(arguments)
    try:
        for name in options.names or with_records(options.zoo):
            sys.stdout.write(f"{write_card(name, options.zoo)}\n")
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
