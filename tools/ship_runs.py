"""Puts what a finished run of a recipe of the zoo found beside that recipe: its int8 files, records and card.

    python tools/ship_runs.py runs/fashion_mnist-resnet8
    python tools/ship_runs.py --check fashion_mnist/resnet8

The run's name says which recipe it is of. Beside the recipe then lie

- its int8 files whose gates held, of at most 1 MB; in `results/` a golden record of each (docs/ci.md);
- `results/summary.json`: all that the run found, but for costs by operator, which the files tell, where things lay, and
  the build of the kernel;
- `results/settings.json`: the settings of the run;
- `card.md`, which tools/make_cards.py makes from these two.

Shipping again replaces all of them. `--check` holds files to hashes and golden records, and cards to records; the exit
status is 1 where one is not what it was.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import make_cards
import shipped_records

from edgekd import recipe, storage
from edgekd.errors import EdgekdError, RecipeError, StorageError
from edgekd.golden.checking import check_conversion
from edgekd.recipe import Recipe
from edgekd.records import Artifact, Summary
from edgekd.report import table

RUNTIMES = {".tflite": "litert_builtin", ".onnx": "onnxruntime_unoptimised"}
"""What golden outputs are of, by a file's suffix: kernels that no instructions of a processor are chosen for."""
_LOCATED = ("idx", "image_folder", "npz")


def ship(run: Path, zoo: Path) -> Iterator[Path]:
    """Puts one run beside its recipe and yields what was written; the card is the last.

    Raises:
      StorageError: there is no finished run, its files were changed since, its records name folders of this machine, or
        another hand wrote the card.
      RecipeError: the run is of no recipe of this zoo, a smoke run, one that taught no student, or not verified, or no
        command repeats it.
    """
    summary = Summary.read(storage.require_file(run / "summary.json", "summary"))
    made_by = recipe.load(str(storage.require_file(run / recipe.RECIPE_FILE, "the run's recipe")))
    name = _recipe_of(summary, run, zoo)
    folder = make_cards.folder_of(name, zoo)
    kept, settings = _kept(summary), _settings(made_by, recipe.load(str(folder / recipe.RECIPE_FILE)), folder)
    _require_no_places(kept.model_dump(mode="json"), run)
    _require_no_places(settings, run)
    make_cards.made_of(kept, recipe.from_document(settings), name, zoo)  # raises before anything is written
    files = make_cards.shipped(summary)
    for artifact in files:
        _require_same(run / artifact.path, artifact)
    _remove_others(folder, {artifact.name for artifact in files})
    for artifact in files:
        path, golden = folder / artifact.name, golden_of(folder / artifact.name)
        storage.write_bytes(path, (run / artifact.path).read_bytes())
        check_conversion(_named(path), golden, regenerate=True)
        yield from (path, golden)
    kept.write(folder / make_cards.SUMMARY_FILE)
    yield folder / make_cards.SUMMARY_FILE
    storage.write_text(folder / make_cards.SETTINGS_FILE, json.dumps(settings, indent=1) + "\n")
    yield folder / make_cards.SETTINGS_FILE
    yield make_cards.write_card(name, zoo)


def golden_of(path: Path) -> Path:
    """Returns where the golden record of a file beside a recipe lies."""
    return path.parent / "results" / f"{path.name}.json"


def problems(name: str, zoo: Path) -> Iterator[str]:
    """Yields what is wrong with the files and the card of a recipe.

    Raises:
      StorageError: no run of it is kept, or a file or golden record is missing.
    """
    folder = make_cards.folder_of(name, zoo)
    card = storage.require_file(folder / make_cards.CARD_FILE, "card")
    if make_cards.whole_card(name, zoo) != card.read_text(encoding="utf-8"):
        yield f"{card}: is not what its record comes to; python tools/make_cards.py {name} makes it anew"
    for artifact in make_cards.shipped(Summary.read(folder / make_cards.SUMMARY_FILE)):
        path = storage.require_file(folder / artifact.name, "model")
        golden = storage.require_file(golden_of(path), "golden record")
        if storage.sha256_file(path) != artifact.sha256:
            yield f"{path}: is not the run's file, whose SHA-256 begins with {artifact.sha256[:16]}"
            continue
        found = check_conversion(_named(path), golden)
        if not found:
            yield str(found)


def _recipe_of(summary: Summary, run: Path, zoo: Path) -> str:
    known = {name.replace("/", "-"): name for name in make_cards.names(zoo)}
    if summary.name not in known:
        raise RecipeError(
            f"the run in {str(run)!r} is called {summary.name!r}, which is no recipe of {str(zoo)!r}: expected one of "
            f"{', '.join(known) or 'none'}. A smoke run is not shipped, for its numbers mean nothing."
        )
    student = summary.models.get(table.STUDENT_DISTILLED)
    if student is None:
        raise RecipeError(f"the run in {str(run)!r} taught no student: ship one that was distilled.")
    if student.accuracy_interval is None or not summary.artifacts:
        raise RecipeError(f"the run in {str(run)!r} has no verified files: let `edgekd run` finish it first.")
    return known[summary.name]


def _kept(summary: Summary) -> Summary:
    """Returns a summary without what the files say themselves, places of files that are not kept, and kernel builds."""
    models = {
        role: model.model_copy(update={"path": Path(model.path).name}) if Path(model.path).is_absolute() else model
        for role, model in summary.models.items()
    }
    kept = summary.model_copy(
        update={
            "models": models,
            "artifacts": tuple(each.model_copy(update={"operators": (), "tensors": ()}) for each in summary.artifacts),
            "measurements": tuple(each.model_copy(update={"samples_path": None}) for each in summary.measurements),
            "predictions_path": None,
        }
    )
    return Summary.model_validate_json(json.dumps(shipped_records.without_builds(kept.model_dump(mode="json"))))


def _settings(made_by: Recipe, zoo: Recipe, folder: Path) -> dict[str, Any]:
    """Returns the settings of a run without the folders of a machine.

    Models are those of the zoo where they have their names, found from the settings' folder on.
    """
    document = made_by.model_dump(mode="json")
    known = {Path(each.model).name: each.model for each in (zoo.student, *zoo.teacher) if each.model}
    teachers = document["teacher"] if isinstance(document["teacher"], list) else [document["teacher"]]
    for network in (document["student"], *filter(None, teachers)):
        if network["model"] and Path(network["model"]).is_absolute():
            name = Path(network["model"]).name
            network["model"] = os.path.relpath(known[name], folder / "results") if name in known else name
    document["distill"]["cache"] = document["distill"]["cache"] and {**document["distill"]["cache"], "folder": None}
    for section in filter(None, (document["data"], document["data"]["unlabelled"])):
        section.update({"data_dir": None} if "data_dir" in section else {})
        source, colon, place = section["dataset"].partition(":")
        if source in _LOCATED:
            section["dataset"] = f"{source}{colon}{Path(place).name}"
    return document


def _require_no_places(document: Any, run: Path) -> None:
    found = shipped_records.places_in(document)
    if found:
        raise StorageError(
            f"the records of {str(run)!r} name places of a machine, which are nobody's business: "
            f"{', '.join(found)}. Run the recipe with relative paths."
        )


def _require_same(path: Path, artifact: Artifact) -> None:
    if storage.sha256_file(storage.require_file(path, "exported file")) != artifact.sha256:
        raise StorageError(f"{str(path)!r} was changed since it was verified: let `edgekd run` make it again.")


def _remove_others(folder: Path, names: set[str]) -> None:
    """Removes the files of an earlier run that this one does not replace, known by their golden records."""
    for suffix in RUNTIMES:
        for golden in (folder / "results").glob(f"*{suffix}.json"):
            if golden.stem not in names:
                (folder / golden.stem).unlink(missing_ok=True)
                golden.unlink()


def _named(path: Path) -> str:
    return f"{path}@{RUNTIMES[path.suffix]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ships runs or checks what was shipped: 1 where something is not what it was, 2 for bad input."""
    parser = argparse.ArgumentParser(
        description="Puts int8 files, golden records, records and cards of finished runs beside recipes of the zoo.",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folder of a finished run; with --check a recipe's name")
    parser.add_argument("--check", action="store_true", help="check what was shipped (default: of all recipes)")
    parser.add_argument("--zoo", type=Path, default=make_cards.ZOO, help="the folder of recipes (default: models)")
    options = parser.parse_args(arguments)
    say, wrong = sys.stdout.write, 0
    try:
        if not options.check:
            for run in options.runs or parser.error("give the folder of a finished run"):
                for path in ship(Path(run), options.zoo):
                    say(f"{path}\n")
            return 0
        for name in options.runs or make_cards.with_records(options.zoo) or parser.error("nothing was shipped yet"):
            found = list(problems(name, options.zoo))
            wrong += len(found)
            say("".join(f"{each}\n" for each in found) or f"{name}: as it was\n")
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
