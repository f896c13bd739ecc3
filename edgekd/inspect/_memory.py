"""How much memory activations take, by their lifetimes in the order in which operators stand in the file."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from edgekd.inspect.records import Memory

Key = TypeVar("Key", str, int)

METHOD = (
    "operators in file order; a tensor lives from the operator that makes it to the last one that reads it, inputs "
    "from the start, outputs to the end; no sharing in place, scratch memory or alignment"
)


def estimate(
    steps: Sequence[tuple[Sequence[Key], Sequence[Key]]],
    sizes: Mapping[Key, int | None],
    *,
    inputs: Sequence[Key],
    outputs: Sequence[Key],
) -> Memory | None:
    """Returns the estimate for a graph, or None where the size of a tensor is not known.

    Args:
      steps: for each operator, in order, the tensors that it reads and the ones that it makes.
      sizes: bytes of every tensor that counts; others, such as constants, are left out of it.
      inputs: of the graph.
      outputs: of the graph.
    """
    born = {key: 0 for key in inputs if key in sizes}
    dies = dict(born)
    for position, (read, made) in enumerate(steps):
        for key in made:
            if key in sizes:
                born.setdefault(key, position)
                dies[key] = position
        for key in read:
            if key in born:
                dies[key] = position
    for key in outputs:
        if key in born:
            dies[key] = len(steps)
    known = {key: size for key in born if (size := sizes[key]) is not None}
    if len(known) < len(born):
        return None
    live = [
        sum(size for key, size in known.items() if born[key] <= position <= dies[key])
        for position in range(max(len(steps), 1))
    ]
    return Memory(activations_bytes=sum(known.values()), peak_bytes=max(live), method=METHOD)


def tensor_bytes(shape: Sequence[int], dtype: str) -> int | None:
    """Returns the bytes of a tensor, packed where an element is less than a byte; None for texts and handles."""
    if dtype == "bool":
        return math.prod(shape)
    bits = re.match(r"[a-z]+(\d+)", dtype)
    return None if bits is None else -(-math.prod(shape) * int(bits[1]) // 8)
