"""An inspected file as a graph that can be walked."""

from collections.abc import Iterator

import numpy as np

from edgekd.inspect import Contents, Inspection, Operator, Tensor

TRANSPARENT = frozenset(("QUANTIZE", "DEQUANTIZE", "CAST", "QuantizeLinear", "DequantizeLinear", "Cast", "Identity"))
"""Operators that change how numbers are kept, not which: they come and go with quantisation."""


_TELLING = 8  # elements: fewer may be equal by chance


class Graph:
    """Nodes with their neighbours, by positions among an inspection's `nodes` and `tensors`.

    Attributes:
      nodes: the operators.
      tensors: the tensors.
      inspection: both, and more.
      contents: what is stored.
    """

    def __init__(self, inspection: Inspection, contents: Contents) -> None:
        self.inspection = inspection
        self.contents = contents
        self.nodes: tuple[Operator, ...] = inspection.nodes
        self.tensors: tuple[Tensor, ...] = inspection.tensors
        self.maker: dict[int, tuple[int, int]] = {}
        self.readers: dict[int, list[tuple[int, int]]] = {}
        for position, node in enumerate(self.nodes):
            for slot, tensor in enumerate(node.outputs):
                if tensor is not None:
                    self.maker.setdefault(tensor, (position, slot))
            for slot, tensor in enumerate(node.inputs):
                if tensor is not None:
                    self.readers.setdefault(tensor, []).append((position, slot))

    def is_constant(self, tensor: int) -> bool:
        """Returns whether a tensor is stored in the file."""
        return self.tensors[tensor].role == "constant"

    def constants(self, position: int) -> Iterator[tuple[int, int]]:
        """Yields (slot, tensor) of the constants that an operator reads, also through operators that keep numbers."""
        for slot, tensor in enumerate(self.nodes[position].inputs):
            stored = self.stored(tensor)
            if stored is not None:
                yield slot, stored

    def stored(self, tensor: int | None) -> int | None:
        """Returns the constant that a tensor is, or is merely another form of; None where it is computed."""
        seen: set[int] = set()
        while tensor is not None and tensor not in seen:
            if self.is_constant(tensor):
                return tensor
            seen.add(tensor)
            made_by = self.maker.get(tensor)
            if made_by is None or self.nodes[made_by[0]].operator not in TRANSPARENT:
                return None
            tensor = next(iter(self.nodes[made_by[0]].inputs), None)
        return None

    def digest(self, tensor: int) -> tuple[str, bytes] | None:
        """Returns a constant's dtype and bytes, where it holds enough, and not all alike, to be told from others."""
        content = self.contents.tensors[tensor]
        if content is None or content.dtype == object or content.size < _TELLING or np.all(content == content.flat[0]):
            return None
        return str(content.dtype), content.tobytes()

    def name(self, position: int) -> str:
        """Returns what an operator is called: its first output."""
        node = self.nodes[position]
        made = [self.tensors[tensor].name for tensor in node.outputs if tensor is not None]
        return made[0] if made else node.name or f"{position} {node.operator}"
