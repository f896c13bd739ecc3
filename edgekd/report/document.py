"""The report as one JSON document: what the page shows, for programs."""

from collections.abc import Sequence

from edgekd.records import Record, Summary, TrainingWarning
from edgekd.report import confusion, merit, seeds, soundness, tradeoff
from edgekd.report.differences import differences
from edgekd.report.runs import ReportedRun

SCHEMA_VERSION = 2


class RunReport(Record):
    """One run.

    `confusion` has the matrix of each network and file: rows are the classes that samples are, columns those that they
    were named. It is empty where the run kept no predictions, which `no_predictions` explains, and where networks
    reconstruct. `training_warnings` are the summary's, or, of a summary of an earlier version, those that it and its
    predictions show.
    """

    label: str
    summary: Summary
    confusion: dict[str, tuple[tuple[int, ...], ...]]
    no_predictions: str | None = None
    training_warnings: tuple[TrainingWarning, ...] = ()


class FrontPoint(Record):
    """One file that no other file of its front beats in both accuracy and cost; `unit` is that of the cost.

    A file that reconstructs has an `auc` instead of an accuracy. By the estimates: files whose intervals overlap with
    this one's may be as good.
    """

    run: str
    artifact: str
    accuracy: float | None
    auc: float | None = None
    cost: float
    unit: str
    dataset_fingerprint: str


class Report(Record):
    """All runs of a report, and the files on the fronts of each cost: `latency`, `size` and `memory`.

    There are several fronts of a cost, one after the other: of `size` and `memory` one for each data, by
    `dataset_fingerprint`; of `latency` one for each `run`, whose files were measured together. A run whose latencies
    were measured with different numbers of threads, batches or modes has none.

    `memory` is that of the activations, reckoned from the file.
    `over_seeds` has the means of runs that differ by their seeds alone, three or more, and `not_in_means` the runs that
    are in none though three seeds or more have their recipe's name and data. `notes` says what runs do not share.
    """

    schema_version: int = SCHEMA_VERSION
    runs: tuple[RunReport, ...]
    fronts: dict[str, tuple[FrontPoint, ...]]
    over_seeds: tuple[seeds.OverSeeds, ...] = ()
    not_in_means: tuple[seeds.LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def document(runs: Sequence[ReportedRun]) -> Report:
    """Returns the document; a cost that no file has is left out of the fronts."""
    classes = merit.of(runs[0].summary).names_classes
    fronts = {
        cost.key: tuple(
            FrontPoint(
                run=runs[point.run].label,
                artifact=point.artifact.name,
                accuracy=point.worth if classes else None,
                auc=None if classes else point.worth,
                cost=point.cost,
                unit=cost.unit,
                dataset_fingerprint=each.fingerprint,
            )
            for each in tradeoff.fronts(runs, cost)
            for point in each.points
        )
        for cost in tradeoff.COSTS
    }
    return Report(
        runs=tuple(_run(run) for run in runs),
        fronts={key: points for key, points in fronts.items() if points},
        over_seeds=seeds.over_seeds(runs),
        not_in_means=seeds.left_out(runs),
        notes=differences(runs),
    )


def _run(run: ReportedRun) -> RunReport:
    return RunReport(
        label=run.label,
        summary=run.summary,
        confusion={
            name: tuple(tuple(int(number) for number in row) for row in counts)
            for name, counts in confusion.matrices(run).items()
        },
        no_predictions=None if run.predictions else run.no_predictions or None,
        training_warnings=soundness.training_warnings(run),
    )
