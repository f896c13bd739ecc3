"""Numbers that change while a network trains: weights and temperatures that warm up, decay or step."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

from edgekd.errors import RecipeError, unknown_name

Kind = Literal["constant", "linear", "cosine", "piecewise"]
Sign = Literal["any", "non_negative", "positive"]
Point = tuple[float, float]

_RAMP = ("from", "to", "end_epoch", "start_epoch")
_KEYS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "linear": _RAMP,
    "cosine": _RAMP,
    "piecewise": ("points", "interpolate"),
}
_DEFAULTS: dict[str, Any] = {"start_epoch": 0, "interpolate": False}
_EXAMPLES = {
    "constant": "{schedule: constant, value: 4}",
    "linear": "{schedule: linear, from: 0, to: 1, end_epoch: 20}",
    "cosine": "{schedule: cosine, from: 1, to: 0, start_epoch: 5, end_epoch: 20}",
    "piecewise": "{schedule: piecewise, points: [[0, 1], [10, 0.1]], interpolate: false}",
}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A number as a function of the step: of how many epochs, fractions included, have been trained.

    Before its first point a schedule has the first point's value, after its last point the last one's. In between,
    with f from 0 at one point (epoch a, value x) to 1 at the next (epoch b, value y):

    - constant: one point, so one value.
    - linear: x + (y − x)·f between two points.
    - cosine: x + (y − x)·(1 − cos πf)/2 between two points.
    - piecewise: x until the next point, or linear to it where `interpolate` is set; any number of points.

    Attributes:
      kind: constant, linear, cosine or piecewise.
      points: (epoch, value) pairs, epochs rising from 0 or more.
      interpolate: for piecewise only.

    Raises:
      RecipeError: an unknown kind, another number of points than the kind has, a number that is not finite, an epoch
        below 0, epochs that do not rise, or a piecewise schedule that says nothing about epoch 0.

    References:
      Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (arXiv:1608.03983), eq. 5, for
      the cosine.
    """

    kind: Kind
    points: tuple[Point, ...]
    interpolate: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise RecipeError(unknown_name("schedule", self.kind, get_args(Kind)))
        for epoch, value in self.points:
            _check_number("epoch", epoch)
            _check_number("value", value)
        epochs = [epoch for epoch, _ in self.points]
        if self.kind == "piecewise":
            self._check_points(epochs)
        elif len(epochs) != (1 if self.kind == "constant" else 2):
            raise RecipeError(f"schedule {self.kind!r} has {len(epochs)} points: expected {_EXAMPLES[self.kind]}.")
        if epochs[0] < 0:
            raise RecipeError(f"the schedule starts at epoch {epochs[0]:g}: expected 0 or more.")
        if self.kind != "piecewise" and epochs[-1] <= epochs[0] and len(epochs) > 1:
            raise RecipeError(
                f"the schedule ends at epoch {epochs[1]:g} and starts at epoch {epochs[0]:g}: expected an end after "
                "the start. Raise end_epoch or lower start_epoch."
            )
        if self.interpolate and self.kind != "piecewise":
            raise RecipeError(f"interpolate is set for schedule {self.kind!r}: it is for piecewise schedules only.")

    @classmethod
    def constant(cls, value: float) -> Self:
        """Returns the schedule of one value."""
        return cls("constant", ((0, value),))

    def value(self, step: int, steps_per_epoch: int) -> float:
        """Returns the value at a step, counted from 0 over all epochs."""
        epoch = step / steps_per_epoch
        reached = sum(start <= epoch for start, _ in self.points)
        if reached == 0:
            return float(self.points[0][1])
        before, value = self.points[reached - 1]
        if reached == len(self.points) or (self.kind == "piecewise" and not self.interpolate):
            return float(value)
        after, next_value = self.points[reached]
        fraction = (epoch - before) / (after - before)
        if self.kind == "cosine":
            fraction = (1 - math.cos(math.pi * fraction)) / 2
        return value + (next_value - value) * fraction

    def max_value(self, *, before_epoch: float = math.inf) -> float:
        """Returns the largest value, of all time or before an epoch: each kind has it at a point or at the end."""
        values = [value for epoch, value in self.points if epoch < before_epoch]
        if before_epoch < self.points[-1][0]:
            # Just before the end: steps are many, epochs are few.
            values.append(self.value(math.floor(before_epoch * 1_000_000) - 1, 1_000_000))
        return float(max(values, default=self.points[0][1]))

    def min_value(self) -> float:
        """Returns the smallest value of all time."""
        return float(min(value for _, value in self.points))

    def is_constant(self) -> bool:
        """Returns whether the value never changes."""
        return self.min_value() == self.max_value()

    def is_zero(self) -> bool:
        """Returns whether the value is always 0."""
        return self.min_value() == self.max_value() == 0

    def _check_points(self, epochs: list[float]) -> None:
        if not epochs:
            raise RecipeError(f"schedule 'piecewise' has no points: expected {_EXAMPLES['piecewise']}.")
        if epochs[0] != 0:
            raise RecipeError(
                f"the first point of a piecewise schedule is at epoch {epochs[0]:g}: expected epoch 0, so that it says "
                "what holds from the start."
            )
        for earlier, later in itertools.pairwise(epochs):
            if later <= earlier:
                raise RecipeError(
                    f"the points of a piecewise schedule go from epoch {earlier:g} to epoch {later:g}: expected rising "
                    "epochs."
                )


def parse(document: float | Mapping[str, Any], *, sign: Sign = "any") -> Schedule:
    """Returns the schedule that a recipe states: a number, or a mapping.

    The mappings are {schedule: constant, value: 4}, {schedule: linear, from: 0, to: 1, start_epoch: 0, end_epoch: 20},
    the same with `cosine`, and {schedule: piecewise, points: [[0, 1], [10, 0.1]], interpolate: false}. `start_epoch`
    (0) and `interpolate` (false) may be left out. Epochs may be fractional.

    Args:
      document: as above.
      sign: what the value may be at any time: `non_negative` for weights, `positive` for temperatures.

    Raises:
      RecipeError: an unknown kind or key, a missing key, anything that `Schedule` refuses, or a value of another sign.
    """
    schedule = (
        _from_mapping(document) if isinstance(document, Mapping) else Schedule.constant(_number("value", document))
    )
    lowest = schedule.min_value()
    if lowest < 0 and sign == "non_negative":
        raise RecipeError(f"the schedule goes down to {lowest:g}: expected 0 or more at any time.")
    if lowest <= 0 and sign == "positive":
        raise RecipeError(f"the schedule goes down to {lowest:g}: expected a value above 0 at any time.")
    return schedule


def _from_mapping(document: Mapping[str, Any]) -> Schedule:
    if "schedule" not in document:
        raise RecipeError(
            f"{dict(document)!r} does not say which schedule it is: expected such as {_EXAMPLES['linear']}."
        )
    kind = document["schedule"]
    if not isinstance(kind, str) or kind not in _KEYS:
        raise RecipeError(unknown_name("schedule", kind, _KEYS))
    given = {key: value for key, value in document.items() if key != "schedule"}
    for key in given:
        if key not in _KEYS[kind]:
            raise RecipeError(unknown_name(f"key of schedule {kind!r}", key, _KEYS[kind]))
    missing = [key for key in _KEYS[kind] if key not in given and key not in _DEFAULTS]
    if missing:
        raise RecipeError(f"schedule {kind!r} lacks {' and '.join(missing)}: expected such as {_EXAMPLES[kind]}.")
    given = _DEFAULTS | given
    if kind == "constant":
        return Schedule.constant(_number("value", given["value"]))
    if kind == "piecewise":
        if not isinstance(given["interpolate"], bool):
            raise RecipeError(f"interpolate is {given['interpolate']!r}: expected true or false.")
        return Schedule("piecewise", _points(given["points"]), given["interpolate"])
    start, end = (
        (_number(f"{place}_epoch", given[f"{place}_epoch"]), _number(value, given[value]))
        for place, value in (("start", "from"), ("end", "to"))
    )
    return Schedule("linear" if kind == "linear" else "cosine", (start, end))


def _points(received: Any) -> tuple[Point, ...]:
    if not _is_list(received) or not all(_is_list(point) and len(point) == 2 for point in received):
        raise RecipeError(f"points is {received!r}: expected pairs of epoch and value, such as [[0, 1], [10, 0.1]].")
    return tuple((_number("epoch", epoch), _number("value", value)) for epoch, value in received)


def _is_list(received: Any) -> bool:
    return isinstance(received, Sequence) and not isinstance(received, str)


def _number(name: str, received: Any) -> float:
    if isinstance(received, bool) or not isinstance(received, int | float):
        raise RecipeError(f"the schedule's {name} is {received!r}: expected a number.")
    _check_number(name, received)
    return float(received)


def _check_number(name: str, received: float) -> None:
    if not math.isfinite(received):
        raise RecipeError(f"the schedule's {name} is {received!r}: expected a finite number.")
