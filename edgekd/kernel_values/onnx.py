"""The kernels that an ONNX file stores: constants that its convolutions and products multiply with."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

# By operator: which input is the kernel, and the axis of its output channels.
_KERNELS: dict[str, tuple[int, Callable[[Mapping[str, int]], int]]] = {
    "Conv": (1, lambda _: 0),
    "ConvTranspose": (1, lambda _: 1),
    "Gemm": (1, lambda attributes: 0 if attributes.get("transB") else 1),
    "MatMul": (1, lambda _: -1),
    "QLinearConv": (3, lambda _: 0),
    "ConvInteger": (1, lambda _: 0),
    "MatMulInteger": (1, lambda _: -1),
    "QLinearMatMul": (3, lambda _: -1),
}


def kernels(graph: Any) -> list[tuple[np.ndarray[Any, Any], int]]:
    """Returns each kernel, as numbers of the type that it is stored in, with the axis of its output channels.

    A kernel that several operators share counts once. Those that are computed while the graph runs, or kept in another
    file, are left out.

    Args:
      graph: a `GraphProto`.
    """
    nodes = graph.node
    constants = {each.name: each for each in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in nodes
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.HasField("t")
    }
    sources = {node.output[0]: node.input[0] for node in nodes if node.op_type in {"DequantizeLinear", "Cast"}}
    found = {}
    for node in nodes:
        if node.op_type not in _KERNELS:
            continue
        place, axis = _KERNELS[node.op_type]
        name = sources.get(node.input[place], node.input[place])
        constant = constants.get(name)
        if constant is None or constant.data_location == onnx.TensorProto.EXTERNAL:
            continue
        if len(constant.dims) > 1:
            attributes = {each.name: each.i for each in node.attribute if each.type == onnx.AttributeProto.INT}
            found[name] = onnx.numpy_helper.to_array(constant), axis(attributes)
    return list(found.values())
