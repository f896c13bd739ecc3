"""Which block of one model is which of another's: by the graphs' structure, never by names.

The steps, each on what the earlier ones left: (1) twins, blocks that nothing above them tells apart, by their kernels,
where these decide; (2) blocks with the same everything above and below; (3) the same above, or the same below;
(4) blocks between matched neighbours; (5) kernels that equal each other and no third; (6) the longest common sequence
of kinds and shapes. Where several blocks have the same claim, kernels decide, then values on the data, and the match
says so. A block's "above" and "below" are kinds, shapes and positions of all that leads to it or follows, through
operators with constants and activations, which converters move and fuse.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used

from edgekd.runtime.layers.graph import AFFINE, Kernel
from edgekd.verify.layers.blocks import INPUT, Block, readers_of

Array = np.ndarray[Any, Any]

_COMMUTATIVE = frozenset({"add", "multiply", "maximum", "minimum", "average"})
_FAMILIES = {
    "pool": frozenset({"pool_average", "pool_max", "mean", "max"}),
    "join": frozenset({"add", "subtract", "multiply", "divide", "maximum", "minimum", "average"}),
    "activation": frozenset(
        {
            "relu",
            "relu6",
            "relu_n1_to_1",
            "clip",
            "leaky_relu",
            "prelu",
            "elu",
            "selu",
            "sigmoid",
            "tanh",
            "silu",
            "gelu",
        }
        | {"hard_sigmoid", "hard_swish", "softplus", "softsign"}
    ),
}
_SAME_KERNEL = 0.99  # mean cosine of the output channels' kernels; rounding to 8 bits leaves more than 0.999
_OTHER_KERNEL = 0.9


@dataclasses.dataclass(frozen=True)
class Match:
    """A block of the reference and the candidate's that does the same work, by number, and what told so."""

    reference: int
    candidate: int
    by: str


@dataclasses.dataclass(frozen=True)
class Side:
    """What the alignment knows of one model.

    Attributes:
      blocks: in an order in which they can run.
      shapes: of each block's output, in an order that no layout changes: sorted, without ones.
      kernels: of the blocks that have one, by number.
      values: of each block's output on the data, flattened and sorted, for ties.
    """

    blocks: tuple[Block, ...]
    shapes: tuple[tuple[int, ...], ...]
    kernels: Mapping[int, Kernel]
    values: Callable[[int], Array]


def align(reference: Side, candidate: Side, *, order: Sequence[int] | None = None) -> tuple[Match, ...]:
    """Returns the matches in the reference's order; each block is in one at most.

    Args:
      reference: one model.
      candidate: the other.
      order: which of the candidate's inputs belongs to each of the reference's; by default the one at its position.
    """
    return _Aligning(reference, candidate, order).matches()


def kernel_similarity(first: Kernel | None, second: Kernel | None) -> float | None:
    """Returns the mean cosine of two kernels' output channels, whatever their signs; None if their sizes differ.

    A folded batch normalisation changes a channel's scale and sign alone.
    """
    if first is None or second is None or first.values.size != second.values.size:
        return None
    if len(first.values) != len(second.values):
        return None
    rows = [each.values.reshape(len(each.values), -1).astype(np.float64) for each in (first, second)]
    norms = np.linalg.norm(rows[0], axis=1) * np.linalg.norm(rows[1], axis=1)
    products = np.abs(np.sum(rows[0] * rows[1], axis=1))
    return float(np.mean(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)))


class _Aligning:
    def __init__(self, reference: Side, candidate: Side, order: Sequence[int] | None) -> None:
        self._sides = (reference, candidate)
        self._matched: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._by: dict[int, str] = {}
        labels: dict[Hashable, int] = {}
        first, second = (
            [number for number, block in enumerate(side.blocks) if block.kind == INPUT] for side in self._sides
        )
        order = range(len(first)) if order is None else order
        self._inputs = [(first[at], second[other]) for at, other in enumerate(order)]
        places = [{pair[side]: at for at, pair in enumerate(self._inputs)} for side in (0, 1)]
        self._above = tuple(_above(side, labels, where) for side, where in zip(self._sides, places, strict=True))
        self._below = tuple(_below(side, labels) for side in self._sides)
        self._readers = tuple(readers_of(side.blocks) for side in self._sides)

    def matches(self) -> tuple[Match, ...]:
        for first, second in self._inputs:
            self._pair(first, second, "position")
        self._twins()
        above, below = self._above, self._below
        self._by_label(lambda side, number: (above[side][number], below[side][number]))
        self._by_label(lambda side, number: above[side][number])
        self._by_label(lambda side, number: below[side][number])
        self._neighbours()
        self._equal_kernels()
        self._neighbours()
        self._in_order()
        self._neighbours()
        pairs = self._matched[0].items()
        return tuple(Match(first, second, self._by[first]) for first, second in sorted(pairs))

    def _pair(self, first: int, second: int, by: str) -> None:
        self._matched[0][first] = second
        self._matched[1][second] = first
        self._by[first] = by

    def _left(self, side: int) -> list[int]:
        return [number for number in range(len(self._sides[side].blocks)) if number not in self._matched[side]]

    def _groups(self, label: Callable[[int, int], Hashable]) -> Iterator[tuple[list[int], list[int]]]:
        """Yields the blocks left of both sides that share a label."""
        found: tuple[dict[Hashable, list[int]], ...] = (defaultdict(list), defaultdict(list))
        for side in (0, 1):
            for number in self._left(side):
                found[side][label(side, number)].append(number)
        for key, first in found[0].items():
            if key in found[1]:
                yield first, found[1][key]

    def _by_label(self, label: Callable[[int, int], Hashable]) -> None:
        for first, second in list(self._groups(label)):
            if len(first) == len(second) == 1:
                self._pair(first[0], second[0], "structure")
            elif len(first) == len(second):
                self._break_tie(first, second)

    def _twins(self) -> None:
        for first, second in list(self._groups(lambda side, number: self._above[side][number])):
            if len(first) != len(second) or len(first) == 1:
                continue
            likeness = self._kernel_table(first, second)
            if likeness is None:
                continue
            rows, columns = scipy.optimize.linear_sum_assignment(-likeness)
            chosen = likeness[rows, columns]
            others = likeness.copy()
            others[rows, columns] = 0
            if chosen.min() > _SAME_KERNEL and others.max() < _OTHER_KERNEL:
                for row, column in zip(rows, columns, strict=True):
                    self._pair(first[row], second[column], "kernels")

    def _break_tie(self, first: Sequence[int], second: Sequence[int]) -> None:
        likeness, by = self._kernel_table(first, second), "kernels"
        if likeness is None:
            by = "values"
            likeness = np.array([[-self._distance(one, other) for other in second] for one in first])
        for row, column in zip(*scipy.optimize.linear_sum_assignment(-likeness), strict=True):
            self._pair(first[row], second[column], by)

    def _kernel_table(self, first: Sequence[int], second: Sequence[int]) -> Array | None:
        table = [
            [kernel_similarity(self._sides[0].kernels.get(one), self._sides[1].kernels.get(other)) for other in second]
            for one in first
        ]
        return None if any(each is None for row in table for each in row) else np.array(table, np.float64)

    def _distance(self, first: int, second: int) -> float:
        one, other = self._sides[0].values(first), self._sides[1].values(second)
        return float(np.linalg.norm(one - other)) if one.shape == other.shape else np.inf

    def _neighbours(self) -> None:
        """Matches blocks whose inputs, or whose readers, are matched with each other."""
        changed = True
        while changed:
            changed = False
            for number in self._left(0):
                found = self._between(number)
                if found is not None:
                    self._pair(number, found, "neighbours")
                    changed = True

    def _between(self, number: int) -> int | None:
        """Returns the only block that has a block's neighbours: above or below if it is of its kind, else both."""
        sources, readers = self._sources(0, number), self._reading(0, number)
        fits = []
        for each in self._left(1):
            above = bool(sources) and self._sources(1, each) == sources
            below = bool(readers) and self._reading(1, each) == readers
            both = above and readers is not None and self._reading(1, each) == readers
            if self._alike(number, each) and (both or (self._same_kind(number, each) and (above or below))):
                fits.append(each)
        for closer in (self._same_kind, self._same_shape):
            nearer = [each for each in fits if closer(number, each)]
            fits = nearer or fits
        return fits[0] if len(fits) == 1 else None

    def _sources(self, side: int, number: int) -> tuple[Any, ...] | None:
        """Returns the reference's blocks that a block reads, sorted; None while one is not matched."""
        sources = self._sides[side].blocks[number].sources
        known = [each if side == 0 else self._matched[1].get(each) for each in sources]
        if any(each is None or each not in self._matched[0] for each in known):
            return None
        return tuple(sorted(each for each in known if each is not None))

    def _reading(self, side: int, number: int) -> tuple[Any, ...] | None:
        readers = [(each if side == 0 else self._matched[1].get(each), at) for each, at in self._readers[side][number]]
        if any(each is None or each not in self._matched[0] for each, _ in readers):
            return None
        return tuple(sorted((each, at) for each, at in readers if each is not None))

    def _alike(self, first: int, second: int) -> bool:
        return _family(self._sides[0].blocks[first].kind) == _family(self._sides[1].blocks[second].kind)

    def _same_kind(self, first: int, second: int) -> bool:
        return self._sides[0].blocks[first].kind == self._sides[1].blocks[second].kind

    def _same_shape(self, first: int, second: int) -> bool:
        return self._sides[0].shapes[first] == self._sides[1].shapes[second]

    def _equal_kernels(self) -> None:
        first, second = ([each for each in self._left(side) if each in self._sides[side].kernels] for side in (0, 1))
        table = np.zeros((len(first), len(second)))
        for row, one in enumerate(first):
            for column, other in enumerate(second):
                similarity = kernel_similarity(self._sides[0].kernels[one], self._sides[1].kernels[other])
                table[row, column] = similarity or 0.0
        for row, one in enumerate(first):
            for column, other in enumerate(second):
                rivals = np.concatenate([np.delete(table[row], column), np.delete(table[:, column], row)])
                if table[row, column] > _SAME_KERNEL and rivals.max(initial=0) < _OTHER_KERNEL:
                    self._pair(one, other, "kernels")

    def _in_order(self) -> None:
        """Matches the longest common sequence of the blocks left that crosses no match."""
        first, second = self._left(0), self._left(1)
        best = np.zeros((len(first) + 1, len(second) + 1), int)
        fits = np.array(
            [[self._same_kind(one, other) and self._same_shape(one, other) for other in second] for one in first]
        ).reshape(len(first), len(second))
        for row in reversed(range(len(first))):
            for column in reversed(range(len(second))):
                taken = best[row + 1, column + 1] + 1 if fits[row, column] else 0
                best[row, column] = max(taken, best[row + 1, column], best[row, column + 1])
        row = column = 0
        while row < len(first) and column < len(second):
            if fits[row, column] and best[row, column] == best[row + 1, column + 1] + 1:
                if not self._crosses(first[row], second[column]):
                    self._pair(first[row], second[column], "order")
                row, column = row + 1, column + 1
            elif best[row + 1, column] >= best[row, column + 1]:
                row += 1
            else:
                column += 1

    def _crosses(self, first: int, second: int) -> bool:
        """Whether something above one of two blocks is matched with something below the other."""
        above = [_ancestors(self._sides[side].blocks, number) for side, number in ((0, first), (1, second))]
        below = [_followers(self._readers[side], number) for side, number in ((0, first), (1, second))]
        return any(self._matched[0].get(each) in below[1] for each in above[0]) or any(
            self._matched[0].get(each) in above[1] for each in below[0]
        )


def _above(side: Side, labels: dict[Hashable, int], places: Mapping[int, int]) -> list[int]:
    """Returns a label of all that leads to each block, of the block itself too."""
    found: list[int] = []
    for number, block in enumerate(side.blocks):
        read: Sequence[int] = [found[_firm(side.blocks, source)] for source in block.sources]
        if block.kind in _COMMUTATIVE:
            read = sorted(read)
        position = places.get(number, -1)
        found.append(_label(labels, ("above", block.kind, side.shapes[number], position, *read)))
    return found


def _below(side: Side, labels: dict[Hashable, int]) -> list[int]:
    """Returns a label of all that follows each block, of the block itself too."""
    readers = readers_of(side.blocks)
    found: dict[int, int] = {}

    def entries(number: int) -> list[tuple[int, int]]:
        made = []
        for reader, position in readers[number]:
            block = side.blocks[reader]
            if _is_soft(block):
                made += entries(reader)
            else:
                made.append((found[reader], 0 if block.kind in _COMMUTATIVE else position))
        return sorted(made)

    for number in reversed(range(len(side.blocks))):
        block = side.blocks[number]
        found[number] = _label(labels, ("below", block.kind, side.shapes[number], *entries(number)))
    return [found[number] for number in range(len(side.blocks))]


def _label(labels: dict[Hashable, int], key: Hashable) -> int:
    return labels.setdefault(key, len(labels))


def _is_soft(block: Block) -> bool:
    """Whether converters fold or split such blocks, so that others are told apart without them."""
    return block.kind in AFFINE or block.kind == "pad" or block.kind in _FAMILIES["activation"]


def _firm(blocks: tuple[Block, ...], number: int) -> int:
    while _is_soft(blocks[number]) and blocks[number].sources:
        number = blocks[number].sources[0]
    return number


def _family(kind: str) -> str:
    if kind in AFFINE:
        return "affine"
    return next((name for name, kinds in _FAMILIES.items() if kind in kinds), kind)


def _ancestors(blocks: tuple[Block, ...], number: int) -> set[int]:
    found, open_ = set(), [number]
    while open_:
        for source in blocks[open_.pop()].sources:
            if source not in found:
                found.add(source)
                open_.append(source)
    return found


def _followers(readers: Mapping[int, tuple[tuple[int, int], ...]], number: int) -> set[int]:
    found, open_ = set(), [number]
    while open_:
        for reader, _ in readers[open_.pop()]:
            if reader not in found:
                found.add(reader)
                open_.append(reader)
    return found
