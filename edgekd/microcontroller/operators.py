"""What TensorFlow Lite for Microcontrollers (TFLM) calls TFLite's operators."""

from collections.abc import Iterable

from edgekd.errors import ModelError

# The built-in operators that TFLM registers, by their names in the schema.
_OPERATORS = frozenset(
    """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV
    DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
    GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG
    LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
    NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE
    TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
    """.split()  # noqa: SIM905
)
# Its methods are called as the operators, word by word, but for these.
_IRREGULAR = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}


def lacking(operators: Iterable[str]) -> list[str]:
    """Returns those of the operators that TFLM does not have, sorted."""
    return sorted(set(operators) - _OPERATORS)


def methods(operators: Iterable[str]) -> tuple[str, ...]:
    """Returns the methods of a `MicroMutableOpResolver` that register the operators, sorted, each once.

    Args:
      operators: names in TFLite's schema, such as CONV_2D.

    Raises:
      ModelError: TFLM does not have some of them.
    """
    names = set(operators)
    missing = lacking(names)
    if missing:
        raise ModelError(
            f"TensorFlow Lite for Microcontrollers has no operator {', '.join(missing)}: rebuild the model with other "
            "layers."
        )
    return tuple(sorted(map(_method, names)))


def _method(operator: str) -> str:
    words = (word if word[:1].isdigit() else word.capitalize() for word in operator.split("_"))
    return _IRREGULAR.get(operator, f"Add{''.join(words)}")
