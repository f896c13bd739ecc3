"""Which tensors of matched blocks are the same: their outputs, and those inside that both models show."""

import dataclasses
from collections.abc import Iterator, Sequence

from edgekd.runtime.layers.graph import FUSED
from edgekd.verify.layers.alignment import Match
from edgekd.verify.layers.blocks import Block, Point


@dataclasses.dataclass(frozen=True)
class Pair:
    """A tensor of the reference and the candidate's that should hold the same values.

    Attributes:
      kind: of the operator that gives it.
      reference: the reference's.
      candidate: the candidate's.
      by: what told that their blocks belong together.
    """

    kind: str
    reference: Point
    candidate: Point
    by: str

    @property
    def keys(self) -> tuple[str, str]:
        """The keys of the two tensors."""
        return self.reference.key, self.candidate.key


def pairs_of(matches: Sequence[Match], reference: Sequence[Block], candidate: Sequence[Block]) -> tuple[Pair, ...]:
    """Returns the pairs of all matches, in the reference's order."""
    return tuple(
        pair for match in matches for pair in _pairs(reference[match.reference], candidate[match.candidate], match.by)
    )


def _pairs(reference: Block, candidate: Block, by: str) -> Iterator[Pair]:
    first, second = reference.points, candidate.points
    if [each.kinds for each in first] == [each.kinds for each in second]:
        for one, other in zip(first, second, strict=True):
            yield Pair(_kind(one, reference), one, other, by)
        return
    before = reference.before_activation, candidate.before_activation
    if before[0] is not None and (before[1] is not None or not _is_activated(candidate)):
        yield Pair(reference.kind, before[0], before[1] or second[-1], by)
        yield Pair(_kind(first[-1], reference), first[-1], second[-1], by)
    elif before[1] is not None and not _is_activated(reference):
        yield Pair(reference.kind, first[-1], before[1], by)
        yield Pair(_kind(second[-1], candidate), first[-1], second[-1], by)
    else:
        yield Pair(reference.kind, first[-1], second[-1], by)


def _is_activated(block: Block) -> bool:
    return bool(FUSED & set(block.points[-1].kinds))


def _kind(point: Point, block: Block) -> str:
    return block.kind if point.operator is None else point.operator.kind
