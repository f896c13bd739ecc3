"""ONNX's fused operators of integers written out: dequantise, compute, quantise, as in the form called QDQ."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from edgekd.errors import ModelError

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class _Fused:
    """What a fused operator stands for, and at which inputs its numbers are.

    Attributes:
      type: the operator of floats.
      arrays: where each array stands; its scale and zero point follow it.
      result: where the output's scale stands; its zero point follows it.
      bias: where a bias of int32 stands, whose scale is the product of the arrays' scales.
    """

    type: str
    arrays: tuple[int, ...]
    result: int
    bias: int | None = None


_FUSED = {
    "QGemm": _Fused("Gemm", (0, 3), 7, 6),
    "QLinearAdd": _Fused("Add", (0, 3), 6),
    "QLinearAveragePool": _Fused("AveragePool", (0,), 3),
    "QLinearConv": _Fused("Conv", (0, 3), 6, 8),
    "QLinearGlobalAveragePool": _Fused("GlobalAveragePool", (0,), 3),
    "QLinearLeakyRelu": _Fused("LeakyRelu", (0,), 3),
    "QLinearMatMul": _Fused("MatMul", (0, 3), 6),
    "QLinearMul": _Fused("Mul", (0, 3), 6),
    "QLinearSigmoid": _Fused("Sigmoid", (0,), 3),
}
_CONCAT = "QLinearConcat"  # scale and zero point of the result, then any number of arrays


def written_out(model: Any, name: str) -> Any:
    """Returns a model with its fused operators of integers written out; the model itself where it has none.

    Args:
      model: a `ModelProto`, which stays as it is.
      name: the file's, for messages.

    Raises:
      ModelError: a fused operator that is not known, or whose scales are no constants.
    """
    if not any(_is_fused(node) for node in model.graph.node):
        return model
    found = onnx.ModelProto()
    found.CopyFrom(model)
    del found.graph.node[:]
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        if _is_fused(node):
            nodes, scales = _parts(node, number, constants, name)
            found.graph.node.extend(nodes)
            found.graph.initializer.extend(scales)
        else:
            found.graph.node.append(node)
    return found


def _is_fused(node: Any) -> bool:
    return node.op_type.startswith("QLinear") or node.op_type == "QGemm"


def _parts(node: Any, number: int, constants: Mapping[str, Array], name: str) -> tuple[list[Any], list[Any]]:
    """Returns the operators that a fused one stands for, and new constants that these read."""
    inputs = list(node.input)
    fused = _known(node, len(inputs))
    if fused is None:
        raise ModelError(
            f"{name!r} has the operator {node.op_type}, which cannot be compared operator by operator: write the file "
            "in the QDQ form (quant_format=QuantFormat.QDQ of onnxruntime's quantize_static)."
        )
    before = f"{node.output[0]}/{number}"
    made, read, scales = [], [], []
    for at in fused.arrays:
        read.append(f"{before}/{at}")
        axis = _channel_axis(node) if inputs[at] in constants and at != fused.arrays[0] else 1
        made.append(_dequantise(inputs[at : at + 3], read[-1], axis))
    if fused.bias is not None and len(inputs) > fused.bias and inputs[fused.bias]:
        factors = [constants.get(inputs[at + 1]) for at in fused.arrays]
        if any(each is None for each in factors):
            raise ModelError(f"{name!r}: the scales of {node.op_type} {node.output[0]!r} are no constants.")
        scales = [onnx.numpy_helper.from_array(_product(factors, node), f"{before}/bias scale")]
        read.append(f"{before}/bias")
        made.append(_dequantise([inputs[fused.bias], scales[0].name], read[-1], 0))
    result = inputs[fused.result : fused.result + 2]
    target = f"{before}/exact" if result else node.output[0]  # QGemm may give floats
    computing = onnx.helper.make_node(fused.type, read, [target], name=node.name)
    computing.attribute.extend(each for each in node.attribute if each.name != "channels_last")
    made.append(computing)
    if result:
        made.append(onnx.helper.make_node("QuantizeLinear", [target, *result], [node.output[0]]))
    return made, scales


def _known(node: Any, inputs: int) -> _Fused | None:
    if any(each.name == "channels_last" and each.i for each in node.attribute):
        return None
    if node.op_type == _CONCAT:
        return _Fused("Concat", tuple(range(2, inputs, 3)), 0)
    return _FUSED.get(node.op_type)


def _channel_axis(node: Any) -> int:
    """Returns the axis of a kernel's output channels."""
    transposed = any(each.name == "transB" and each.i for each in node.attribute)
    return 0 if node.op_type == "QLinearConv" or transposed else 1


def _product(factors: list[Any], node: Any) -> Array:
    """Returns the scale of a bias: of a Gemm it counts what the product is multiplied with, too."""
    alpha = next((each.f for each in node.attribute if each.name == "alpha"), 1.0)
    return np.asarray(alpha * np.prod(np.broadcast_arrays(*map(np.ravel, factors)), axis=0), np.float32)


def _dequantise(inputs: list[str], output: str, axis: int) -> Any:
    return onnx.helper.make_node("DequantizeLinear", inputs, [output], axis=axis)
