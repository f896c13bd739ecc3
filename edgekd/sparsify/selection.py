"""Which channels go: the least important ones, as many as a budget asks for."""

import dataclasses
from collections import defaultdict
from typing import Any, Literal, get_args

import numpy as np

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.sparsify.coupling import Coupling, macs, parameters
from edgekd.sparsify.importance import Importance, importances
from edgekd.sparsify.layer_kinds import PARAMETRIC

Budget = Literal["channels", "macs", "parameters"]
Scope = Literal["layer", "global"]


@dataclasses.dataclass(frozen=True)
class Selection:
    """The channels that go.

    Attributes:
      kept: [classes] bool.
      order: [classes] integers: of a group's removed classes the first to go is 0; undefined for kept ones.
      removals: [classes] integers: how many classes of its group go.
    """

    kept: np.ndarray[Any, Any]
    order: np.ndarray[Any, Any]
    removals: np.ndarray[Any, Any]


def select(
    coupling: Coupling,
    amount: float,
    *,
    of: Budget = "macs",
    scope: Scope = "layer",
    importance: Importance = "l2",
    divisor: int = 8,
) -> Selection:
    """Returns the fewest channels whose removal saves at least `amount`.

    A group is the classes of channels that the same layers make. Its least important classes go first, so many at a
    time that multiples of `divisor` are left, and never the last `divisor`. A group that is no larger stays.

    Args:
      coupling: of the network.
      amount: what to remove, in [0, 1): a share of the multiply-accumulates, of the parameters, or of the removable
        channels, where coupled ones count once.
      of: `macs`, `parameters` or `channels`.
      scope: `layer` takes the same share of every group; `global` compares importances over groups, each divided by its
        group's root mean square (`bn_gamma` is compared as it is).
      importance: of a channel.
      divisor: the channels that are left in a group are a multiple of it; 8 suits the kernels of most runtimes.

    Raises:
      RecipeError: an amount outside [0, 1), a divisor below 1, or an unknown word.
      ModelError: the budget cannot be reached; the message says what can.

    References:
      Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference, 2017
      (arXiv:1611.06440), for the comparison over layers.
    """
    if not 0.0 <= amount < 1.0:
        raise RecipeError(f"the amount to remove is {amount!r}: expected a share from 0 to below 1.")
    if divisor < 1:
        raise RecipeError(f"divisor is {divisor}: expected 1 or more.")
    for kind, value, choices in (("budget", of, get_args(Budget)), ("scope", scope, get_args(Scope))):
        if value not in choices:
            raise RecipeError(unknown_name(kind, value, choices))
    scores = importances(coupling, importance)
    portions: list[tuple[float, list[int]]] = []
    for group in groups(coupling):
        ranked = sorted(group, key=lambda each: (scores[each], each))
        scale = 1.0 if importance == "bn_gamma" else float(np.sqrt(np.mean(np.square(scores[group])))) or 1.0
        start = 0
        while len(ranked) - start > divisor:
            count = (len(ranked) - start) % divisor or divisor
            part = ranked[start : start + count]
            start += count
            share = start / len(ranked)
            portions.append((share if scope == "layer" else float(np.mean(scores[part])) / scale, part))
    portions.sort(key=lambda portion: (portion[0], portion[1][0]))
    count = _fewest(coupling, portions, amount, of)
    return chosen(coupling, [each for _, part in portions[:count] for each in part])


def groups(coupling: Coupling) -> list[list[int]]:
    """Returns the removable classes in groups that the same layers make, in the network's order."""
    makers: dict[int, list[int]] = defaultdict(list)
    for position, use in enumerate(coupling.uses):
        if isinstance(use.layer, PARAMETRIC):
            for each in coupling.outputs(use).tolist():
                makers[each].append(position)
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for each in sorted(makers):
        if not coupling.fixed[each]:
            found[tuple(makers[each])].append(each)
    return list(found.values())


def chosen(coupling: Coupling, removed: list[int]) -> Selection:
    """Returns the selection of classes that are given in the order in which each group loses them."""
    kept = np.ones(len(coupling.fixed), bool)
    kept[removed] = False
    order, removals = np.zeros(len(kept), int), np.zeros(len(kept), int)
    place = {each: position for position, each in enumerate(removed)}
    for group in groups(coupling):
        going = sorted((each for each in group if each in place), key=place.__getitem__)
        order[going] = np.arange(len(going))
        removals[group] = len(going)
    return Selection(kept, order, removals)


def _fewest(coupling: Coupling, portions: list[tuple[float, list[int]]], amount: float, of: Budget) -> int:
    """Returns how many portions must go; found by bisection, since what is saved only grows."""
    removable = sum(map(len, groups(coupling)))
    everything = np.ones(len(coupling.fixed), bool)
    counted = macs if of == "macs" else parameters

    def saved(count: int) -> float:
        gone = [each for _, part in portions[:count] for each in part]
        if of == "channels":
            return len(gone) / max(1, removable)
        kept = everything.copy()
        kept[gone] = False
        return 1.0 - counted(coupling, kept) / max(1, counted(coupling, everything))

    most = saved(len(portions))
    # A share such as 0.3 of 10 channels is a whole number that floating point misses by its last digit.
    enough = amount - 1e-9
    if most < enough:
        raise ModelError(
            f"{amount:.0%} of the {of} cannot be removed: {most:.1%} is the most, since every group keeps its last "
            "channels and those of inputs, outputs and excluded layers stay. Lower the amount or the divisor."
        )
    low, high = 0, len(portions)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if saved(middle) >= enough else (middle + 1, high)
    return low
