"""How the axes of one model's tensor stand to another's: NHWC, NCHW, or with axes of one put in or left out."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Name = Literal["same", "channels moved last", "channels moved first", "reshaped"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """From a candidate's tensor to the reference's, and back.

    Attributes:
      name: what is done to the candidate's axes.
      reference: the reference's shape without the axis of runs.
      candidate: likewise.
      order: of the candidate's axes larger than one.
    """

    name: Name
    reference: tuple[int, ...]
    candidate: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def is_seen(self) -> bool:
        """Whether a tensor has axes enough for layouts to differ."""
        return len(self.order) > 1

    def to_reference(self, array: Array) -> Array:
        """Returns the candidate's [runs, ...] as the reference lays it out."""
        runs = len(array)
        squeezed = array.reshape(runs, *_larger(self.candidate))
        return squeezed.transpose(0, *(axis + 1 for axis in self.order)).reshape(runs, *self.reference)

    def to_candidate(self, array: Array) -> Array:
        """Returns the reference's [runs, ...] as the candidate lays it out."""
        runs = len(array)
        sizes = _larger(self.candidate)
        moved = array.reshape(runs, *(sizes[axis] for axis in self.order))
        return moved.transpose(0, *(int(axis) + 1 for axis in np.argsort(self.order))).reshape(runs, *self.candidate)


def layouts(reference: Sequence[int], candidate: Sequence[int], *, batch: int) -> tuple[Layout, ...]:
    """Returns the layouts that take a candidate's shape to the reference's; none where no one does.

    Args:
      reference: shape of the reference's tensor for one run.
      candidate: of the candidate's.
      batch: samples in a run; as a first axis it stays where it is.
    """
    given, wanted = tuple(candidate), tuple(reference)
    if math.prod(given) != math.prod(wanted):
        return ()
    sizes = _larger(given)
    first = 1 if batch > 1 and given[:1] == wanted[:1] == (batch,) else 0
    axes = tuple(range(first, len(sizes)))
    kept = tuple(range(first))
    orders: list[tuple[Name, tuple[int, ...]]] = [("same", (*kept, *axes))]
    if len(axes) > 1:
        orders += [
            ("channels moved last", (*kept, *axes[1:], axes[0])),
            ("channels moved first", (*kept, axes[-1], *axes[:-1])),
        ]
    found: list[Layout] = []
    for name, order in orders:
        if tuple(sizes[axis] for axis in order) == _larger(wanted) and order not in [each.order for each in found]:
            found.append(Layout(name, wanted, given, order))
    if not found and min(len(sizes), len(_larger(wanted))) <= first + 1:
        found.append(Layout("reshaped", wanted, given, tuple(range(len(sizes)))))
    return tuple(found)


def _larger(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
