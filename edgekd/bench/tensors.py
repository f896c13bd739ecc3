"""What each tensor of a model file takes, beside its latency."""

from pathlib import Path

from edgekd import inspect
from edgekd.records import TensorSize


def sizes(name: str, path: Path) -> tuple[TensorSize, ...]:
    """Returns the bytes of each tensor of a file, the largest first.

    Args:
      name: what records call the file.
      path: the file.

    Raises:
      ModelError: the file cannot be read.
    """
    found = [
        TensorSize(
            artifact=name,
            tensor=each.name,
            role=each.role,
            shape=each.shape,
            dtype=each.dtype,
            size_bytes=each.size_bytes,
        )
        for each in inspect.inspect_model(path).tensors
    ]
    return tuple(sorted(found, key=lambda each: -(each.size_bytes or 0)))
