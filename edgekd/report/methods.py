"""Accuracy by method: each network of each run with its interval, and what it gained over training on labels."""

import dataclasses
from collections.abc import Iterator, Sequence

from edgekd.records import Interval
from edgekd.report import figure as figures
from edgekd.report import formatting, table
from edgekd.report.figure import GREY, ROLE_COLOURS, Figure
from edgekd.report.formatting import NOT_MEASURED
from edgekd.report.runs import ReportedRun

HEADERS = ("Network", "Accuracy", "Against labels alone, points", "In words")
_BASELINE = "baseline"
_LATER = (table.STUDENT_DISTILLED, table.STUDENT_SPARSE, table.STUDENT_QUANTIZED)
_OTHER = "–"  # a teacher is another network


@dataclasses.dataclass(frozen=True)
class Method:
    """One network.

    Attributes:
      run: position of its run.
      title: what it is called.
      label: what its run is called; empty where there is only one.
      role: its role in its run.
      accuracy: on the test split, with its own interval.
      gain: accuracy minus that of the same student on labels, paired over the test samples; None where not known.
    """

    run: int
    title: str
    label: str
    role: str
    accuracy: Interval
    gain: Interval | None

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.title}, {self.label}" if self.label else self.title


def methods(runs: Sequence[ReportedRun]) -> tuple[Method, ...]:
    """Returns every network with a test accuracy, in the order of the runs and, within them, of the road."""
    return tuple(_methods(runs))


def rows(found: Sequence[Method]) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each, in the order of HEADERS."""
    return tuple(
        (
            method.name,
            f"{formatting.percent(method.accuracy.value)} [{formatting.percent_interval(method.accuracy)}]",
            *_gained(method),
        )
        for method in found
    )


def graph(found: Sequence[Method]) -> Figure | None:
    """Returns the accuracies as dots with their intervals, or None where there is none."""
    if not found:
        return None
    return figures.dots(
        [_in_two_lines(method) for method in found],
        [method.accuracy for method in found],
        [ROLE_COLOURS.get(method.role, GREY) for method in found],
        x="accuracy, %",
        told=[
            f"{formatting.percent(method.accuracy.value)}, {formatting.percent_interval(method.accuracy)}"
            for method in found
        ],
    )


def in_words(gain: Interval) -> str:
    """Returns whether a gain is more than the noise of the test samples."""
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "within noise"


def _in_two_lines(method: Method) -> str:
    return "<br>".join(figures.text(each) for each in (method.title, method.label) if each)


def _methods(runs: Sequence[ReportedRun]) -> Iterator[Method]:
    for number, run in enumerate(runs):
        summary = run.summary
        for role in table.roles(summary):
            model = summary.models[role]
            if model.accuracy_interval is not None:
                yield Method(
                    run=number,
                    title=table.title(role),
                    label=run.label if len(runs) > 1 else "",
                    role=role,
                    accuracy=model.accuracy_interval,
                    gain=summary.gains.get(role),
                )


def _gained(method: Method) -> tuple[str, str]:
    if method.role == table.STUDENT_LABELS:
        return _BASELINE, _BASELINE
    if method.gain is None:
        return (NOT_MEASURED,) * 2 if method.role in _LATER else (_OTHER,) * 2
    return f"{formatting.points(method.gain.value)} [{formatting.points_interval(method.gain)}]", in_words(method.gain)
