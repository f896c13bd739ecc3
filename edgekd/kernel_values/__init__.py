"""What the kernels of a network or a file hold: how many zeros, and how many different values.

A format is a module of this package whose `kernels` finds them in a file.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.records import KernelValues


def kernel_values(kernels: Iterable[tuple[np.ndarray[Any, Any], int]]) -> KernelValues | None:
    """Returns what the kernels hold, all together; None where there is none.

    Args:
      kernels: of convolutions and dense layers, each with the axis of its output channels.
    """
    found = [(_plain(kernel), axis) for kernel, axis in kernels]
    weights = sum(kernel.size for kernel, _ in found)
    if not weights:
        return None
    zeros = sorted(int((kernel == 0).sum()) for kernel, _ in found)
    distinct = sorted(_of_a_channel(kernel, axis) for kernel, axis in found)
    return KernelValues(
        weights=weights,
        zeros=sum(zeros),
        sparsity=sum(zeros) / weights,
        distinct_values=max(len(np.unique(kernel)) for kernel, _ in found),
        distinct_per_channel=distinct[-1],
        zeros_by_kernel=tuple(zeros),
        distinct_by_kernel=tuple(distinct),
    )


def of_file(path: Path) -> KernelValues | None:
    """Returns what the kernels of a TFLite or ONNX file of one's own hold; None where it stores none."""
    if path.suffix == ".tflite":
        from edgekd import flatbuffer
        from edgekd.kernel_values import tflite

        return kernel_values(tflite.kernels(flatbuffer.read(path.read_bytes())))
    import onnx as format_

    from edgekd.kernel_values import onnx

    return kernel_values(onnx.kernels(format_.load_model(path, load_external_data=False).graph))


def _plain(kernel: np.ndarray[Any, Any]) -> np.ndarray:
    """Returns types that NumPy only knows from others, such as int4 and bfloat16, as one of its own that holds them."""
    return kernel.astype(np.float32) if kernel.dtype.kind == "V" else kernel


def _of_a_channel(kernel: np.ndarray[Any, Any], axis: int) -> int:
    """Returns the most distinct values of one output channel."""
    rows = np.sort(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1), axis=1)
    return int((np.diff(rows, axis=1) != 0).sum(axis=1).max()) + 1
