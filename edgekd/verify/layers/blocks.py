"""What formats cut differently, cut alike: an operator with the constants and the activation that may be part of it."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping

from edgekd.runtime.layers.graph import AFFINE, DEQUANTISE, FUSED, LINEAR, MOVING, QUANTISE, Graph, Operator

INPUT = "input"
"""Kind of the blocks that stand for the model's inputs."""
_PASSING = frozenset({MOVING, DEQUANTISE})
_RESHAPING = ("reshape", "flatten")


@dataclasses.dataclass(frozen=True)
class Point:
    """A tensor inside a block or at its end.

    Attributes:
      key: of the tensor.
      kinds: of the block's operators up to there.
      operator: the one that gives it; None for a model's input.
    """

    key: str
    kinds: tuple[str, ...]
    operator: Operator | None


@dataclasses.dataclass(frozen=True)
class Block:
    """An operator, the multiplications and additions of constants that follow it, and its activation.

    Attributes:
      kind: the first operator's, or INPUT.
      points: its tensors that can be seen, in order; the last one is its output. Where nothing but a rounding reads the
        output, that is the rounded tensor.
      sources: the blocks whose outputs it reads, in order.
      kernel: the key of its kernel, if it has one.
    """

    kind: str
    points: tuple[Point, ...]
    sources: tuple[int, ...]
    kernel: str | None = None

    @property
    def output(self) -> str:
        """The key of its output."""
        return self.points[-1].key

    @property
    def operator(self) -> Operator | None:
        """Its first operator, None for an input."""
        return self.points[0].operator

    @property
    def before_activation(self) -> Point | None:
        """The last tensor before its activation, where it has one that is an operator of its own."""
        for point, after in itertools.pairwise(self.points):
            if not FUSED & set(point.kinds) and after.operator is not None and after.operator.kind in FUSED:
                return point
        return None


def blocks_of(graph: Graph) -> tuple[Block, ...]:
    """Returns a graph's blocks, in an order in which they can run: first the inputs."""
    return tuple(_Building(graph).blocks())


class _Building:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._readers = Counter(key for operator in graph.operators for key in operator.inputs)
        self._readers.update(graph.outputs)
        self._blocks: list[Block] = []
        self._roots: dict[str, int] = {}  # the block of whose output a tensor holds the values
        self._ends: dict[int, str] = {}  # the last tensor on the only way out of a block
        self._reshaped: set[int] = set()  # blocks of which that tensor has another shape than the output

    def blocks(self) -> list[Block]:
        for key in self._graph.inputs:
            self._start(INPUT, (Point(key, (INPUT,), None),), ())
        for operator in self._graph.operators:
            self._add(operator)
        return self._blocks

    def _add(self, operator: Operator) -> None:
        if operator.kind in _PASSING or (operator.kind == QUANTISE and operator.inputs[0] not in self._roots):
            self._pass(operator)
            return
        if operator.kind == QUANTISE:
            self._round(operator)
            return
        sources = tuple(self._roots[key] for key in operator.inputs if key in self._roots)
        if len(operator.inputs) == 1 and sources and self._joins(operator, sources[0]):
            number = sources[0]
            block = self._blocks[number]
            last = block.points[-1]
            point = Point(operator.outputs[0], (*last.kinds, operator.kind, *_fused(operator)), operator)
            self._blocks[number] = dataclasses.replace(block, points=(*block.points, point))
            self._moved(number, operator.outputs[0])
            return
        for index, key in enumerate(operator.outputs):
            kind = operator.kind if index == 0 else f"{operator.kind} {index}"
            self._start(kind, (Point(key, (operator.kind, *_fused(operator)), operator),), sources, operator.kernel)

    def _start(self, kind: str, points: tuple[Point, ...], sources: tuple[int, ...], kernel: str | None = None) -> None:
        self._blocks.append(Block(kind, points, sources, kernel))
        self._moved(len(self._blocks) - 1, points[-1].key)

    def _moved(self, number: int, key: str) -> None:
        self._roots[key] = number
        self._ends[number] = key
        self._reshaped.discard(number)

    def _pass(self, operator: Operator) -> None:
        number = self._roots.get(operator.inputs[0])
        if number is None:
            return
        for key in operator.outputs:
            self._roots[key] = number
            if self._only_way(number, operator):
                self._ends[number] = key
                if any(word in operator.type.lower() for word in _RESHAPING):
                    self._reshaped.add(number)

    def _round(self, operator: Operator) -> None:
        """A rounding that alone reads a block's output becomes part of the block, unless that has a range already."""
        number = self._roots[operator.inputs[0]]
        block = self._blocks[number]
        specs = self._graph.tensors
        rounded = specs[block.output].zero_point is not None
        if self._only_way(number, operator) and not rounded and number not in self._reshaped:
            last = block.points[-1]
            point = dataclasses.replace(last, key=operator.outputs[0])
            self._blocks[number] = dataclasses.replace(block, points=(*block.points[:-1], point))
            self._moved(number, operator.outputs[0])
            return
        self._pass(operator)

    def _only_way(self, number: int, operator: Operator) -> bool:
        return self._ends[number] == operator.inputs[0] and self._readers[operator.inputs[0]] == 1

    def _joins(self, operator: Operator, number: int) -> bool:
        block = self._blocks[number]
        if not self._only_way(number, operator) or block.kind == INPUT:
            return False
        kinds = block.points[-1].kinds
        if operator.kind in AFFINE:
            return block.kind in LINEAR | AFFINE and not FUSED & set(kinds)
        return operator.kind in FUSED


def _fused(operator: Operator) -> tuple[str, ...]:
    return () if operator.fused is None else (operator.fused,)


def readers_of(blocks: tuple[Block, ...]) -> Mapping[int, tuple[tuple[int, int], ...]]:
    """Returns, for each block, the blocks that read its output, each with the position at which it does."""
    found: dict[int, list[tuple[int, int]]] = {number: [] for number in range(len(blocks))}
    for number, block in enumerate(blocks):
        for position, source in enumerate(block.sources):
            found[source].append((number, position))
    return {number: tuple(entries) for number, entries in found.items()}
