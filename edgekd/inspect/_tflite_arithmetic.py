"""Multiply-accumulates of TFLite's operators, by the shapes of their tensors."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_Shapes = Sequence[Sequence[int]]


def macs(operator: str, options: Any, inputs: _Shapes, outputs: _Shapes) -> int | None:
    """Returns the multiply-accumulates of one operator, padded positions counted, or None where they are not known.

    As in `edgekd.cost`, element-wise work, pooling and activations count as none.

    Args:
      operator: its name in the schema.
      options: its `builtinOptions`.
      inputs: shapes of its inputs; of a missing optional one, [].
      outputs: shapes of its outputs.
    """
    if operator in _FREE:
        return 0
    count = _COUNTED.get(operator)
    return None if count is None else count(options, inputs, outputs)


def _convolution(options: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """The kernel is [made, height, width, channels of a group]."""
    return math.prod(outputs[0]) * math.prod(inputs[1][1:])


def _depthwise(options: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """The kernel is [1, height, width, made]."""
    return math.prod(outputs[0]) * math.prod(inputs[1][1:3])


def _transposed(options: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """Inputs are the output's shape, the kernel [made, height, width, channels] and the image."""
    return math.prod(inputs[2]) * math.prod(inputs[1][:3])


def _convolution_3d(options: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """The kernel is [depth, height, width, channels, made]."""
    return math.prod(outputs[0]) * math.prod(inputs[1][:4])


def _transposed_3d(options: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """Inputs are the output's shape, the kernel [depth, height, width, made, channels] and the volume."""
    return math.prod(inputs[2]) * math.prod(inputs[1][:4])


def _dense(options: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    """The kernel is [made, read]."""
    return math.prod(outputs[0]) * inputs[1][-1]


def _product(options: Any, inputs: _Shapes, outputs: _Shapes) -> int:
    return math.prod(outputs[0]) * inputs[0][-2 if options is not None and options.adjX else -1]


_COUNTED: Mapping[str, Callable[[Any, _Shapes, _Shapes], int]] = {
    "BATCH_MATMUL": _product,
    "CONV_2D": _convolution,
    "CONV_3D": _convolution_3d,
    "CONV_3D_TRANSPOSE": _transposed_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transposed,
}

_FREE = frozenset(
    """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE ATAN2 AVERAGE_POOL_2D BATCH_TO_SPACE_ND BITCAST BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION COS CUMSUM DENSIFY DEPTH_TO_SPACE DEQUANTIZE DIV
    DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FAKE_QUANT FILL FLOOR FLOOR_DIV FLOOR_MOD GATHER
    GATHER_ND GELU GREATER GREATER_EQUAL HARD_SWISH L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL
    LOCAL_RESPONSE_NORMALIZATION LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MATRIX_DIAG
    MATRIX_SET_DIAG MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU
    QUANTIZE RANGE RANK READ_VARIABLE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELATIVE_ERROR RELU
    RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE REVERSE_V2
    RIGHT_SHIFT ROUND RSQRT SCATTER_ND SEGMENT_SUM SELECT SELECT_V2 SHAPE SIGN SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPARSE_TO_DENSE SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH
    TILE TOPK_V2 TRANSPOSE UNIQUE UNPACK VAR_HANDLE WHERE ZEROS_LIKE
    """.split()  # noqa: SIM905
)
