"""What the networks and files of a run are judged by: their accuracy, or, of networks that reconstruct, their AUC.

Both are fractions of which more is better. The modules of the report ask this one where they are, what they are called
and how they are written, and differ by nothing else.
"""

import dataclasses
from collections.abc import Callable

from edgekd.records import Artifact, Comparison, Interval, ModelRecord, Reconstruction, StageRow, Summary, Task
from edgekd.report import formatting


@dataclasses.dataclass(frozen=True)
class Merit:
    """What a run is judged by.

    Attributes:
      name: within a sentence: `accuracy`.
      title: at its beginning.
      plural: of the name.
      alone: how the student learned that nobody taught: after `the student`.
      baseline: what others are held to, as headers call it.
      better: what a file is that has more of it.
      names_classes: whether networks name a class for each sample, so that these can be confused, and agree.
      axis: title of an axis of it.
      lost: title of an axis of what was lost of it.
      unit: of differences, after a number in a sentence; begins with a blank where there is one.
      factor: what fractions are multiplied by on axes.
      decimals: of numbers on axes that are pointed at.
      sign: behind them.
      number: writes one, which may be None.
      interval: writes an interval.
      difference: writes a difference with its sign; it may be None.
      difference_interval: writes the interval of one.
      of_model: how good a network is, on the test split; None where not known.
      interval_of_model: the interval of that.
      of_file: how good a file is.
      interval_of_file: the interval of that, where the record of the file has it.
      of_stage: how good a network or file is, with its interval.
      drop_of_stage: what it lost since the one before.
      drop: what a file lost against a network.
      lost_by_file: the same as one number, which for accuracies stands in the record of the file.
    """

    name: str
    title: str
    plural: str
    alone: str
    baseline: str
    better: str
    names_classes: bool
    axis: str
    lost: str
    unit: str
    factor: float
    decimals: int
    sign: str
    number: Callable[[float | None], str]
    interval: Callable[[Interval], str]
    difference: Callable[[float | None], str]
    difference_interval: Callable[[Interval], str]
    of_model: Callable[[ModelRecord], float | None]
    interval_of_model: Callable[[ModelRecord], Interval | None]
    of_file: Callable[[Artifact], float | None]
    interval_of_file: Callable[[Artifact], Interval | None]
    of_stage: Callable[[StageRow], Interval | None]
    drop_of_stage: Callable[[StageRow], Interval | None]
    drop: Callable[[Comparison], Interval | None]
    lost_by_file: Callable[[Artifact, Comparison | None], float | None]

    def with_interval(self, interval: Interval) -> str:
        """Returns how good something is with its interval in brackets: `89.93 % [88.8 to 91.1 %]`."""
        return f"{self.number(interval.value)} [{self.interval(interval)}]"

    def difference_with_interval(self, interval: Interval) -> str:
        """Returns a difference with its interval in brackets: `+0.43 [−0.18 to +1.04]`."""
        return f"{self.difference(interval.value)} [{self.difference_interval(interval)}]"

    def within(self, value: float | None) -> str:
        """Returns it within a sentence, where a number without a sign would not tell what it is: `an AUC of 0.947`."""
        return self.number(value) if self.sign or value is None else f"an {self.name} of {self.number(value)}"

    def with_unit(self, header: str) -> str:
        """Returns the header of a column of differences: `Drop, points`."""
        return f"{header},{self.unit}" if self.unit else header

    @property
    def pointed_at(self) -> str:
        """What Plotly is to write of a value on the vertical axis: `%{y:.2f} %`."""
        return f"%{{y:.{self.decimals}f}}{self.sign}"

    def numbers(self, *summaries: Summary) -> str:
        """Returns what of these runs tells how good their networks are: `accuracies`."""
        if self.names_classes:
            return self.plural
        return f"errors and {self.plural}" if self.known(*summaries) else "errors"

    def tested(self, *summaries: Summary) -> str:
        """Returns what of these runs is told on the test split, at the beginning of a sentence: `Accuracy`."""
        return self.title if self.names_classes or self.known(*summaries) else "Mean squared error"

    def known(self, *summaries: Summary) -> bool:
        """Returns whether it is known of any network or file of these runs."""
        return any(
            self.of_model(model) is not None for summary in summaries for model in summary.models.values()
        ) or any(self.of_file(artifact) is not None for summary in summaries for artifact in summary.artifacts)


def _auc(found: Reconstruction | None) -> Interval | None:
    return None if found is None else found.auc


def _value(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value


ACCURACY = Merit(
    name="accuracy",
    title="Accuracy",
    plural="accuracies",
    alone="on labels",
    baseline="labels alone",
    better="more accurate",
    names_classes=True,
    axis="accuracy, %",
    lost="points lost",
    unit=" points",
    factor=100.0,
    decimals=2,
    sign=" %",
    number=formatting.percent,
    interval=formatting.percent_interval,
    difference=formatting.points,
    difference_interval=formatting.points_interval,
    of_model=lambda model: model.accuracy,
    interval_of_model=lambda model: model.accuracy_interval,
    of_file=lambda artifact: artifact.accuracy,
    interval_of_file=lambda _: None,
    of_stage=lambda row: row.accuracy,
    drop_of_stage=lambda row: row.accuracy_drop,
    drop=lambda comparison: comparison.accuracy_drop,
    lost_by_file=lambda artifact, _: artifact.accuracy_drop,
)
AUC = Merit(
    name="AUC",
    title="AUC",
    plural="AUCs",
    alone="alone",
    baseline="the student alone",
    better="better at finding anomalies",
    names_classes=False,
    axis="AUC",
    lost="AUC lost",
    unit="",
    factor=1.0,
    decimals=3,
    sign="",
    number=formatting.fraction,
    interval=formatting.fraction_interval,
    difference=formatting.difference,
    difference_interval=formatting.difference_interval,
    of_model=lambda model: _value(_auc(model.reconstruction)),
    interval_of_model=lambda model: _auc(model.reconstruction),
    of_file=lambda artifact: _value(_auc(artifact.reconstruction)),
    interval_of_file=lambda artifact: _auc(artifact.reconstruction),
    of_stage=lambda row: _auc(row.reconstruction),
    drop_of_stage=lambda row: row.auc_drop,
    drop=lambda comparison: comparison.auc_drop,
    lost_by_file=lambda _, comparison: _value(comparison.auc_drop) if comparison else None,
)


def of(summary: Summary) -> Merit:
    """Returns what a run is judged by."""
    return of_task(summary.task)


def of_task(task: Task) -> Merit:
    """Returns what runs are judged by whose networks have a task."""
    return ACCURACY if task == "classification" else AUC
