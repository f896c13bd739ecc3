"""How much memory activations take, by their lifetimes in the order in which operators stand in the file."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from edgekd.inspect.records import Memory

Key = TypeVar("Key", str, int)

METHOD = (
    "operators in file order; a tensor lives from the operator that makes it to the last one that reads it, inputs "
    "from the start, outputs to the end, variables always; no sharing in place, scratch memory or alignment"
)


def estimate(
    steps: Sequence[tuple[Sequence[Key], Sequence[Key]]],
    sizes: Mapping[Key, int | None],
    *,
    inputs: Sequence[Key],
    outputs: Sequence[Key],
    variables: Sequence[Key] = (),
    always: int = 0,
) -> Memory | None:
    """Returns the estimate for a graph, or None where the size of a tensor is not known.

    Args:
      steps: for each operator, in order, the tensors that it reads and the ones that it makes.
      sizes: bytes of every tensor that counts; others, such as constants, are left out of it.
      inputs: of the graph.
      outputs: of the graph.
      variables: tensors that live from the first operator to the last.
      always: bytes of what lives always and is no tensor of the graph.
    """
    always_there = list(variables)
    born = {key: 0 for key in list(inputs) + always_there if key in sizes}
    dies = dict(born)
    for position, (read, made) in enumerate(steps):
        for key in made:
            if key in sizes:
                born.setdefault(key, position)
                dies[key] = max(position, dies.get(key, position))
        for key in read:
            if key in born:
                dies[key] = position
    for key in list(outputs) + always_there:
        if key in born:
            dies[key] = len(steps)
    known = {key: size for key in born if (size := sizes[key]) is not None}
    if len(known) < len(born):
        return None
    changes = [0] * (len(steps) + 2)
    for key, size in known.items():
        changes[born[key]] += size
        changes[dies[key] + 1] -= size
    live = [always + size for size in accumulate(changes[: max(len(steps), 1)])]
    return Memory(
        activations_bytes=always + sum(known.values()),
        peak_bytes=max(live),
        peak_operator=live.index(max(live)) if steps else None,
        live_bytes=tuple(live[: len(steps)]),
        method=METHOD,
    )


def tensor_bytes(shape: Sequence[int], dtype: str) -> int | None:
    """Returns the bytes of a tensor, packed where an element is less than a byte; None for texts and handles."""
    if dtype == "bool":
        return math.prod(shape)
    bits = re.match(r"[a-z]+(\d+)", dtype)
    return None if bits is None else -(-math.prod(shape) * int(bits[1]) // 8)
