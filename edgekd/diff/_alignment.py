"""Which operator of one graph is which of another: by structure and weights, not by position or luck of names."""

from collections.abc import Callable, Hashable, Sequence

from edgekd.diff._graph import TRANSPARENT, Graph

_Labels = Sequence[Hashable]


class _Pairs:
    """A growing one-to-one map between positions."""

    def __init__(self) -> None:
        self.new_of: dict[int, int] = {}
        self.old_of: dict[int, int] = {}

    def add(self, old: int, new: int) -> bool:
        """Adds a pair, and returns whether neither was taken."""
        if old in self.new_of or new in self.old_of:
            return False
        self.new_of[old], self.old_of[new] = new, old
        return True


def align(old: Graph, new: Graph) -> dict[int, int]:
    """Returns positions in the newer graph's `nodes` by those in the older one's, for the operators that both have.

    In this order, each step on what the earlier ones left: operators of one kind with the same, telling weights; those
    with the same settings all the way up and down to inputs and outputs; all the way up; all the way down; neighbours
    of matched ones, of one kind and at the same place; those of one kind with constants of the same shapes, in order.
    Operators that only change how numbers are kept are seen through. Kinds always agree.
    """
    pairs = _Pairs()
    numbers: dict[Hashable, int] = {}  # equal labels, equal numbers
    up = _upward(old, numbers), _upward(new, numbers)
    down = _downward(old, numbers), _downward(new, numbers)
    both = tuple([*zip(up[side], down[side], strict=True)] for side in (0, 1))
    _match_unique(pairs, old, new, _weights)
    for before, after in (both, up, down):
        _match_in_order(pairs, before, after)
    _spread(pairs, old, new)
    shapes = [[_shapes(graph, position) for position in range(len(graph.nodes))] for graph in (old, new)]
    _match_in_order(pairs, *shapes)
    _spread(pairs, old, new)
    return pairs.new_of


def replacements(old: Graph, new: Graph, pairs: dict[int, int]) -> dict[int, int]:
    """Returns pairs of unmatched operators that stand at the same place: between the same neighbours, or ends."""
    old_of = {after: before for before, after in pairs.items()}

    def places(graph: Graph, renumbered: Callable[[int], int | None]) -> dict[Hashable, list[int]]:
        found: dict[Hashable, list[int]] = {}
        for position, node in enumerate(graph.nodes):
            if renumbered(position) is not None or node.operator in TRANSPARENT:
                continue
            makers = [graph.maker[tensor][0] for tensor in node.inputs if tensor in graph.maker]
            outputs = [tensor for tensor in node.outputs if tensor is not None]
            readers = [reader for tensor in outputs for reader, _ in graph.readers.get(tensor, [])]
            around = (tuple(map(renumbered, makers)), frozenset(map(renumbered, readers)))
            if not any(None in side for side in around):
                found.setdefault((node.subgraph, *around), []).append(position)
        return found

    before = places(old, pairs.get)
    after = places(new, lambda position: position if position in old_of else None)
    return {
        positions[0]: after[place][0]
        for place, positions in before.items()
        if len(positions) == len(after.get(place, ())) == 1
    }


def _upward(graph: Graph, numbers: dict[Hashable, int]) -> list[int]:
    """Returns labels: equal where operators, settings and shapes of constants are, all the way up to the inputs."""
    of_tensor: dict[int, int] = {}
    sources = [tensor for tensor, each in enumerate(graph.tensors) if each.role == "input"]
    for position, source in enumerate(sources):
        of_tensor[source] = _number(numbers, ("input", position))

    def label(tensor: int | None) -> int:
        if tensor is None:
            return _number(numbers, "none")
        if tensor in of_tensor:
            return of_tensor[tensor]
        stored = graph.stored(tensor)
        return _number(numbers, ("constant", graph.tensors[stored].shape) if stored is not None else "open")

    found = []
    for position, node in enumerate(graph.nodes):
        inputs = [label(tensor) for tensor in node.inputs]
        mine = _number(numbers, ("up", *_own(graph, position), tuple(inputs)))
        found.append(mine)
        for slot, tensor in enumerate(node.outputs):
            if tensor is not None:
                through = node.operator in TRANSPARENT and inputs
                of_tensor[tensor] = inputs[0] if through else _number(numbers, ("made", mine, slot))
    return found


def _downward(graph: Graph, numbers: dict[Hashable, int]) -> list[int]:
    """Returns labels: equal where operators, settings and shapes of constants are, all the way down to the outputs."""
    of_tensor: dict[int, tuple[int, ...]] = {}
    outputs = [tensor for tensor, each in enumerate(graph.tensors) if each.role == "output"]
    for position, target in enumerate(outputs):
        of_tensor[target] = (_number(numbers, ("output", position)),)
    found = [0] * len(graph.nodes)
    for position in reversed(range(len(graph.nodes))):
        node = graph.nodes[position]
        below = tuple(tuple(sorted(of_tensor.get(tensor, ()))) if tensor is not None else () for tensor in node.outputs)
        mine = _number(numbers, ("down", *_own(graph, position), below))
        found[position] = mine
        for slot, tensor in enumerate(node.inputs):
            if tensor is not None and not graph.is_constant(tensor):
                through = node.operator in TRANSPARENT and slot == 0
                added = below[0] if through and below else (_number(numbers, ("read", mine, slot)),)
                of_tensor[tensor] = of_tensor.get(tensor, ()) + added
    return found


def _own(graph: Graph, position: int) -> tuple[Hashable, ...]:
    node = graph.nodes[position]
    return node.subgraph, node.operator, repr(sorted(node.attributes.items())), _constant_shapes(graph, position)


def _constant_shapes(graph: Graph, position: int) -> tuple[Hashable, ...]:
    return tuple((slot, graph.tensors[stored].shape) for slot, stored in graph.constants(position))


def _weights(graph: Graph, position: int) -> Hashable:
    """Returns an operator's kind with its weights, or None where they tell nothing."""
    node = graph.nodes[position]
    digests = [(slot, digest) for slot, tensor in graph.constants(position) if (digest := graph.digest(tensor))]
    return None if not digests or node.operator in TRANSPARENT else (node.subgraph, node.operator, tuple(digests))


def _shapes(graph: Graph, position: int) -> Hashable:
    """Returns an operator's kind with the shapes of its constants, or None where it has none."""
    node, shapes = graph.nodes[position], _constant_shapes(graph, position)
    return None if not shapes or node.operator in TRANSPARENT else (node.subgraph, node.operator, shapes)


def _number(numbers: dict[Hashable, int], label: Hashable) -> int:
    return numbers.setdefault(label, len(numbers))


def _match_unique(pairs: _Pairs, old: Graph, new: Graph, key: Callable[[Graph, int], Hashable]) -> None:
    found = []
    for graph in (old, new):
        positions: dict[Hashable, list[int]] = {}
        for position in range(len(graph.nodes)):
            positions.setdefault(key(graph, position), []).append(position)
        found.append({each: where[0] for each, where in positions.items() if each is not None and len(where) == 1})
    for each, position in found[0].items():
        if each in found[1]:
            pairs.add(position, found[1][each])


def _match_in_order(pairs: _Pairs, before: _Labels, after: _Labels) -> None:
    waiting: dict[Hashable, list[int]] = {}
    for position, label in enumerate(after):
        if position not in pairs.old_of and label is not None:
            waiting.setdefault(label, []).append(position)
    for position, label in enumerate(before):
        if position not in pairs.new_of and waiting.get(label):
            pairs.add(position, waiting[label].pop(0))


def _spread(pairs: _Pairs, old: Graph, new: Graph) -> None:
    """Matches neighbours of matched operators that are of one kind and at the same place."""
    waiting = list(pairs.new_of.items())
    while waiting:
        before, after = waiting.pop()
        for first, second in _neighbours(pairs, old, new, before, after):
            same = old.nodes[first].operator == new.nodes[second].operator
            if same and old.nodes[first].subgraph == new.nodes[second].subgraph and pairs.add(first, second):
                waiting.append((first, second))


def _neighbours(pairs: _Pairs, old: Graph, new: Graph, before: int, after: int) -> list[tuple[int, int]]:
    found = []
    for first, second in zip(old.nodes[before].inputs, new.nodes[after].inputs, strict=False):
        if first in old.maker and second in new.maker:
            made_before, made_after = old.maker[first], new.maker[second]
            if made_before[1] == made_after[1]:
                found.append((made_before[0], made_after[0]))
    for first, second in zip(old.nodes[before].outputs, new.nodes[after].outputs, strict=False):
        readers = [
            [each for each in graph.readers.get(-1 if tensor is None else tensor, []) if each[0] not in taken]
            for graph, tensor, taken in ((old, first, pairs.new_of), (new, second, pairs.old_of))
        ]
        kinds = {(old.nodes[position].operator, slot) for position, slot in readers[0]}
        for kind in kinds:
            same = [
                [position for position, slot in each if (graph.nodes[position].operator, slot) == kind]
                for graph, each in zip((old, new), readers, strict=True)
            ]
            if len(same[0]) == len(same[1]) == 1:
                found.append((same[0][0], same[1][0]))
    return found
