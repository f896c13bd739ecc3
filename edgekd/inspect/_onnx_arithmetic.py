"""Multiply-accumulates of ONNX's operators, by the shapes of their tensors."""

import math
from collections.abc import Callable, Mapping, Sequence

_Shapes = Sequence[Sequence[int]]


def is_free(operator: str) -> bool:
    """Returns whether an operator of ONNX's own domain has no multiply-accumulates, as `edgekd.cost` counts them."""
    return operator in _FREE


def macs(operator: str, attributes: Mapping[str, int], inputs: _Shapes, outputs: _Shapes) -> int | None:
    """Returns the multiply-accumulates of one operator, padded positions counted, or None where they are not known.

    Args:
      operator: its `op_type`, of ONNX's own domain.
      attributes: its whole-number attributes.
      inputs: shapes of its inputs.
      outputs: shapes of its outputs.
    """
    count = _COUNTED.get(operator)
    return None if count is None else count(attributes, inputs, outputs)


def _convolution(attributes: Mapping[str, int], inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """The kernel is [made, channels of a group, ...]."""
    return math.prod(outputs[0]) * math.prod(inputs[1][1:])


def _quantised_convolution(attributes: Mapping[str, int], inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """The kernel stands fourth, after the image with its scale and zero point."""
    return math.prod(outputs[0]) * math.prod(inputs[3][1:])


def _transposed(attributes: Mapping[str, int], inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """The kernel is [channels, made in a group, ...]."""
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _product(attributes: Mapping[str, int], inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    return math.prod(outputs[0]) * inputs[0][-1]


def _gemm(attributes: Mapping[str, int], inputs: _Shapes, outputs: _Shapes) -> int:
    return math.prod(outputs[0]) * inputs[0][0 if attributes.get("transA", 0) else 1]


_COUNTED: Mapping[str, Callable[[Mapping[str, int], _Shapes, _Shapes], int]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearConv": _quantised_convolution,
    "QLinearMatMul": _product,
}

_FREE = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast CastLike Ceil Celu
    Clip Concat Constant ConstantOfShape Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual HardSigmoid HardSwish Hardmax Identity
    InstanceNormalization IsInf IsNan LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
    LpPool Max MaxPool Mean Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Relu Reshape Resize ReverseSequence Round ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose
    Trilu Unique Unsqueeze Where Xor
    """.split()  # noqa: SIM905
)
