"""By method: how good each network of each run is, with its interval, and what it gained over the student alone."""

import dataclasses
from collections.abc import Iterator, Sequence

from edgekd.records import Interval
from edgekd.report import figure as figures
from edgekd.report import merit as merits
from edgekd.report import table
from edgekd.report.figure import GREY, ROLE_COLOURS, Figure
from edgekd.report.formatting import NOT_MEASURED
from edgekd.report.merit import Merit
from edgekd.report.runs import ReportedRun

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
      merit: what it is judged by.
      worth: how good it is on the test split, with its own interval.
      gain: that minus the same of the student alone, paired over the test samples; None where not known.
    """

    run: int
    title: str
    label: str
    role: str
    merit: Merit
    worth: Interval
    gain: Interval | None

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.title}, {self.label}" if self.label else self.title


def methods(runs: Sequence[ReportedRun]) -> tuple[Method, ...]:
    """Returns every network of which it is known how good it is, in the order of the runs and, within, of the road."""
    return tuple(_methods(runs))


def headers(merit: Merit) -> tuple[str, ...]:
    """Returns the titles of the columns."""
    return ("Network", merit.title, merit.with_unit(f"Against {merit.baseline}"), "In words")


def rows(found: Sequence[Method]) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each, in the order of `headers`."""
    return tuple((method.name, method.merit.with_interval(method.worth), *_gained(method)) for method in found)


def graph(found: Sequence[Method]) -> Figure | None:
    """Returns how good networks are as dots with their intervals, or None where there is none."""
    if not found:
        return None
    merit = found[0].merit
    return figures.dots(
        [_in_two_lines(method) for method in found],
        [method.worth for method in found],
        [ROLE_COLOURS.get(method.role, GREY) for method in found],
        x=merit.axis,
        factor=merit.factor,
        told=[f"{merit.number(method.worth.value)}, {merit.interval(method.worth)}" for method in found],
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
        merit = merits.of(summary)
        for role in table.roles(summary):
            worth = merit.interval_of_model(summary.models[role])
            if worth is not None:
                yield Method(
                    run=number,
                    title=table.title(role, merit),
                    label=run.label if len(runs) > 1 else "",
                    role=role,
                    merit=merit,
                    worth=worth,
                    gain=summary.gains.get(role),
                )


def _gained(method: Method) -> tuple[str, str]:
    if method.role == table.STUDENT_LABELS:
        return _BASELINE, _BASELINE
    if method.gain is None:
        return (NOT_MEASURED,) * 2 if method.role in _LATER else (_OTHER,) * 2
    return method.merit.difference_with_interval(method.gain), in_words(method.gain)
