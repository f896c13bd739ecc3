"""What each tensor of a model file takes, beside its latency."""

from edgekd.inspect import Inspection
from edgekd.records import TensorSize


def sizes(name: str, found: Inspection) -> tuple[TensorSize, ...]:
    """Returns the bytes of each tensor of a file, the largest first.

    Args:
      name: what records call the file.
      found: what it holds.
    """
    tensors = [
        TensorSize(
            artifact=name,
            tensor=each.name,
            role=each.role,
            shape=each.shape,
            dtype=each.dtype,
            size_bytes=each.size_bytes,
        )
        for each in found.tensors
    ]
    return tuple(sorted(tensors, key=lambda each: -(each.size_bytes or 0)))
