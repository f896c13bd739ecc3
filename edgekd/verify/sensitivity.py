"""Which layers suffer most from rounding, and which to leave in float. Pure functions: who measures is the caller."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from edgekd.errors import RecipeError
from edgekd.records import ExclusionTrial, MixedFile, Rounding


@dataclasses.dataclass(frozen=True)
class Effects:
    """What rounding does around one unit of layers.

    Attributes:
      alone: the network in which only this unit is rounded.
      others: the network in which everything else is.
    """

    alone: Rounding
    others: Rounding


def order_by_sqnr(effects: Mapping[str, Effects]) -> tuple[str, ...]:
    """Returns the units, the one first that adds the most noise when it alone is rounded.

    Among equals the one comes first without which less noise is left, then the earlier one.
    """

    def key(name: str) -> tuple[float, float]:
        return _decibels(effects[name].alone), -_decibels(effects[name].others)

    return tuple(sorted(effects, key=key))


def order_by_accuracy(effects: Mapping[str, Effects]) -> tuple[str, ...]:
    """Returns the units, the one first that in float saves the most accuracy while everything else is rounded.

    Among equals the one comes first that costs more accuracy when it alone is rounded, then as in `order_by_sqnr`.
    """
    place = {name: position for position, name in enumerate(order_by_sqnr(effects))}

    def key(name: str) -> tuple[float, float, int]:
        found = effects[name]
        return found.others.accuracy_drop.value, -found.alone.accuracy_drop.value, place[name]

    return tuple(sorted(effects, key=key))


def search(
    order: Sequence[str],
    drop: Callable[[frozenset[str]], float],
    *,
    max_accuracy_drop: float,
    weights: Mapping[str, int],
) -> tuple[ExclusionTrial, ...]:
    """Returns the trials of a greedy search for few units in float that keep the accuracy.

    From nothing in float on, units are added in the given order until the drop fits. Then each of them, the heaviest
    first, is rounded again where the drop still fits without it. One unit at least stays rounded. The last trial that
    fits is the result; where none fits, the search has failed.

    Args:
      order: all units, the most sensitive first.
      drop: measures the accuracy drop with a set of units in float; asked once for each set.
      max_accuracy_drop: the drop may be at most this.
      weights: how many weights each unit has.

    Raises:
      RecipeError: a budget that is negative or no number, or no units.
    """
    check_budget(max_accuracy_drop)
    if not order or len(set(order)) < len(order):
        raise RecipeError(f"the units to search are {list(order)}: expected at least one, each once.")
    trials: list[ExclusionTrial] = []

    def fits(units: frozenset[str]) -> bool:
        measured = drop(units)
        listed = tuple(unit for unit in order if unit in units)
        trials.append(ExclusionTrial(units=listed, accuracy_drop=measured, fits=measured <= max_accuracy_drop))
        return trials[-1].fits

    needed = next((count for count in range(len(order)) if fits(frozenset(order[:count]))), 0)
    left = frozenset(order[:needed])
    # The last one that was added stays: without it the drop did not fit.
    for unit in sorted(order[: max(needed - 1, 0)], key=lambda each: -weights[each]):
        if fits(left - {unit}):
            left -= {unit}
    return tuple(trials)


def candidates(trials: Sequence[ExclusionTrial], *, weights: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Returns the sets of units that fitted, each once, the one first that leaves the fewest weights in float."""
    found = dict.fromkeys(trial.units for trial in trials if trial.fits)
    return tuple(sorted(found, key=lambda units: (sum(weights[unit] for unit in units), len(units))))


def cheapest(int8: MixedFile, mixed: Sequence[MixedFile], *, less_than_bytes: int) -> MixedFile | None:
    """Returns the file of full int8 where it fits, else the smallest mixed file that does; None where none fits.

    Of equally large files the fastest is taken (by median).

    Args:
      int8: the file of full int8, which fits at any size: it may be for a device without floating point.
      mixed: files with parts in float.
      less_than_bytes: the size of the float file: a mixed one that is no smaller has no use.
    """
    if int8.fits:
        return int8
    fitting = [file for file in mixed if file.fits and file.size_bytes < less_than_bytes]
    return min(fitting, key=lambda file: (file.size_bytes, file.measurement.latency_ms.p50), default=None)


def check_budget(max_accuracy_drop: float) -> None:
    """Raises RecipeError unless a budget of accuracy is a fraction from 0 to 1."""
    number = isinstance(max_accuracy_drop, int | float) and not isinstance(max_accuracy_drop, bool)
    if not number or not 0 <= max_accuracy_drop <= 1:  # also false for NaN
        raise RecipeError(
            f"max_accuracy_drop is {max_accuracy_drop!r}: expected a fraction from 0 to 1, such as 0.005 for half a "
            "point."
        )


def _decibels(rounding: Rounding) -> float:
    return math.inf if rounding.sqnr_db is None else rounding.sqnr_db
