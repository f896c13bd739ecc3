"""The kernels that a TFLite file stores: constants that its convolutions and dense layers multiply with."""

import math
from typing import Any

import numpy as np

from edgekd import flatbuffer

# By operator: the axis of the kernel's output channels. The kernel is the second input.
_CHANNEL_AXES = {
    "CONV_2D": 0,
    "CONV_3D": 4,
    "CONV_3D_TRANSPOSE": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 0,
    "TRANSPOSE_CONV": 0,
}
_DTYPES = {"float16": np.float16, "float32": np.float32, "int8": np.int8, "int16": np.int16, "uint8": np.uint8}
_KERNEL_INPUT = 1


def kernels(model: Any) -> list[tuple[np.ndarray[Any, Any], int]]:
    """Returns each kernel, as numbers of the type that it is stored in, with the axis of its output channels.

    A kernel that several operators share counts once. Those that are computed while the graph runs are left out.

    Args:
      model: a `ModelT`.
    """
    names = [flatbuffer.operator_name(code) for code in model.operatorCodes or ()]
    found = {}
    for graph in model.subgraphs:
        operators = graph.operators or ()
        # Of weights that are stored smaller than they are computed with, an operator makes larger ones first.
        sources = {
            operator.outputs[0]: operator.inputs[0]
            for operator in operators
            if names[operator.opcodeIndex] == "DEQUANTIZE"
        }
        for operator in operators:
            axis = _CHANNEL_AXES.get(names[operator.opcodeIndex])
            if axis is None:
                continue
            index = operator.inputs[_KERNEL_INPUT]
            tensor = graph.tensors[sources.get(index, index)]
            values = _values(tensor, model.buffers[tensor.buffer].data)
            if values is not None:
                found[tensor.buffer] = values, axis
    return list(found.values())


def _values(tensor: Any, data: Any) -> np.ndarray[Any, Any] | None:
    """Returns a constant's elements; None of what is no constant, or does not fill its shape."""
    name, shape = flatbuffer.type_name(tensor.type), () if tensor.shape is None else tuple(tensor.shape)
    if data is None:
        return None
    content: Any = np.ascontiguousarray(data, np.uint8)
    if name == "int4":
        # Two to a byte, the first in the lower half; the shift to the right makes each a signed number again.
        content = np.stack([content << 4, content & 0xF0], axis=-1).reshape(-1).view(np.int8) >> 4
        content = content[: math.prod(shape)]
    elif name in _DTYPES and content.size % np.dtype(_DTYPES[name]).itemsize == 0:
        content = content.view(_DTYPES[name])
    else:
        return None
    return content.reshape(shape) if content.size == math.prod(shape) else None
