"""A finished run as the report sees it: its summary, and what it keeps in files beside that."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgekd import storage
from edgekd.errors import RecipeError, StorageError
from edgekd.predictions import Predictions
from edgekd.records import Summary
from edgekd.report import merit

SUMMARY_FILE = "summary.json"


@dataclasses.dataclass(frozen=True, eq=False)
class ReportedRun:
    """One run of a report.

    Attributes:
      summary: everything that the run found.
      label: what the run is called; unique among the runs of a page.
      predictions: on the test split; None where there are none.
      no_predictions: why there are none; of networks that reconstruct, which predict nothing, it is never shown.
    """

    summary: Summary
    label: str
    predictions: Predictions | None = None
    no_predictions: str = "This run kept no predictions."


def opened(summary: Summary, folder: Path) -> ReportedRun:
    """Returns a run, with the predictions that lie in its folder.

    Where these are missing, damaged, of another run, or not inside the folder, the run says so and is shown without
    them.
    """
    if not merit.of(summary).names_classes:
        return ReportedRun(summary, summary.name, no_predictions="")
    if summary.predictions_path is None:
        reason = "This run kept no predictions: it was made by an earlier version, or nothing was verified."
        return ReportedRun(summary, summary.name, no_predictions=reason)
    # A summary may come from anybody: it must not make a report of other files of this machine.
    path = (folder / summary.predictions_path).resolve()
    if not path.is_relative_to(folder.resolve()):
        reason = f"{summary.predictions_path} is not inside the folder of the summary, and was not read."
        return ReportedRun(summary, summary.name, no_predictions=reason)
    try:
        found = Predictions.read(path)
    except StorageError:
        reason = f"{summary.predictions_path} is not beside the summary, or is damaged: run the recipe again."
        return ReportedRun(summary, summary.name, no_predictions=reason)
    try:
        found.check_of(classes=len(summary.data.class_names), samples=summary.data.test)
    except ValueError as error:
        reason = f"{summary.predictions_path} is not of this run ({error}): run the recipe again."
        return ReportedRun(summary, summary.name, no_predictions=reason)
    return ReportedRun(summary, summary.name, found)


def read(paths: Sequence[Path]) -> tuple[ReportedRun, ...]:
    """Returns the runs of some folders, or of their summary files, each with a label of its own.

    Raises:
      StorageError: no summary there, or one run is named twice.
      RecipeError: some runs' networks tell classes and others' reconstruct, which no graph and no table can share.
    """
    files = [path / SUMMARY_FILE if path.is_dir() else path for path in paths]
    for given, path in zip(paths, files, strict=True):
        if not given.exists():
            raise StorageError(f"run {str(given)!r} does not exist: give a run's folder, or its {SUMMARY_FILE}.")
        if given.is_dir() and not path.exists():
            raise StorageError(f"{str(given)!r} holds no finished run (it has no {SUMMARY_FILE}): give a run's folder.")
        storage.require_file(path, "summary")
    real = [path.resolve() for path in files]
    twice = [str(given) for at, given in enumerate(paths) if real[at] in real[:at]]
    if twice:
        raise StorageError(f"{', '.join(map(repr, twice))} is named twice: give each run once.")
    runs = [opened(Summary.read(path), path.parent) for path in files]
    _check_alike(runs, paths)
    labels = _labels([run.summary for run in runs], [path.parent for path in real])
    return tuple(dataclasses.replace(run, label=label) for run, label in zip(runs, labels, strict=True))


def _check_alike(runs: Sequence[ReportedRun], paths: Sequence[Path]) -> None:
    tasks = collections.defaultdict(list)
    for run, path in zip(runs, paths, strict=True):
        tasks[run.summary.task].append(repr(str(path)))
    if len(tasks) > 1:
        told = "; ".join(f"{', '.join(names)}: {task}" for task, names in tasks.items())
        raise RecipeError(f"these runs are of different tasks ({told}): report them apart.")


def _labels(summaries: Sequence[Summary], folders: Sequence[Path]) -> list[str]:
    """Returns the shortest kind of name that tells all runs apart: of recipe, with seed, or the ends of their folders.

    Whole paths would tell who receives the report what folders this machine has.
    """
    names = [summary.name for summary in summaries]
    seeded = [f"{summary.name}, seed {summary.seed}" for summary in summaries]
    deepest = max((len(folder.parts) for folder in folders), default=1)
    ends = [["/".join(folder.parts[-depth:]) for folder in folders] for depth in range(1, deepest + 1)]
    kinds = (names, seeded, *ends)
    return next((kind for kind in kinds if _distinct(kind)), kinds[-1])


def _distinct(names: Iterable[str]) -> bool:
    return max(collections.Counter(names).values(), default=1) == 1
