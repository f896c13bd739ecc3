"""What to write instead of what a target cannot carry. Each of these was converted: see the tests."""

from typing import Literal

Problem = Literal["qat", "flex", "tflite", "integer", "onnx", "opset", "micro", "npu", "converter"]

_NORMALISE = "use BatchNormalization, which is folded into the layer before it"
_SOFT = "use ReLU or the activation hard_silu"
_LOOPS = "build the recurrent layer with unroll=True"
_SELU = "use ReLU or the activation hard_silu: SELU becomes several operators"

# By problem and operator. First what is known of the layer's class, then what holds for all others.
_BY_LAYER: dict[tuple[Problem, str], dict[str, str]] = {
    ("integer", "NEG"): {"LayerNormalization": _NORMALISE, "GroupNormalization": _NORMALISE},
    ("integer", "SQUARE"): {"RMSNormalization": _NORMALISE, "GroupNormalization": _NORMALISE},
    ("npu", "NEG"): {"LayerNormalization": _NORMALISE, "GroupNormalization": _NORMALISE},
    ("npu", "SQUARE"): {"RMSNormalization": _NORMALISE, "GroupNormalization": _NORMALISE},
    ("npu", "MEAN"): {
        "LayerNormalization": _NORMALISE,
        "GroupNormalization": _NORMALISE,
        "RMSNormalization": _NORMALISE,
    },
    ("micro", "TILE"): {"UpSampling2D": 'use UpSampling2D(interpolation="bilinear")'},
}
_BY_OPERATOR: dict[tuple[Problem, str], str] = {
    ("integer", "ELU"): _SOFT,
    ("integer", "NEG"): "multiply by -1",
    ("integer", "SQUARE"): "multiply the tensor by itself",
    ("integer", "WHILE"): _LOOPS,
    ("flex", "Erf"): "for an exact GELU use keras.activations.gelu, which has an operator of its own",
    ("flex", "ResizeBicubic"): "use bilinear interpolation",
    ("onnx", "Erfc"): "use keras.activations.gelu(x, approximate=True)",
    ("onnx", "TFL_GELU"): "use ReLU or the activation hard_silu, which ONNX has in integers",
    ("onnx", "TensorListReserve"): _LOOPS,
    ("micro", "GELU"): _SOFT,
    ("micro", "SELECT"): _SELU,
    ("npu", "ELU"): _SOFT,
    ("npu", "NEG"): "multiply by -1",
    ("npu", "SQUARE"): "multiply the tensor by itself",
    ("npu", "SELECT"): _SELU,
    ("npu", "GREATER"): _SELU,
    ("npu", "TRANSPOSE_CONV"): "use strides of 1 or 2",
    ("npu", "RESIZE_BILINEAR"): "resize by a factor of 2, several times where it must be more",
}
_OF_LAYERS = {
    "LayerNormalization": _NORMALISE,
    "GroupNormalization": _NORMALISE,
    "RMSNormalization": _NORMALISE,
    "ELU": _SOFT,
    "PReLU": "use ReLU or LeakyReLU",
}
_OTHERWISE: dict[Problem, str] = {
    "qat": "replace the layer",
    "flex": (
        "build it of layers that TFLite has, compute it outside the network, or set allow_select_tf_ops: true where "
        "the device's runtime includes TensorFlow operators"
    ),
    "tflite": "build it of layers that TFLite has, or compute it outside the network",
    "integer": (
        "replace it, choose a scheme of float activations such as dynamic_int8, or set allow_float_operators: true "
        "where the device has floating point"
    ),
    "onnx": "replace it, or export TFLite",
    "micro": "replace it, or run the file with LiteRT on a larger device",
    "npu": "keep to what Vela asks for, or let the CPU compute it",
    "converter": "change what the message names, or choose another scheme or format",
}


def instead(problem: Problem, operator: str, layer: str | None) -> str:
    """Returns what to write instead of an operator.

    Args:
      problem: what is wrong with it.
      operator: as whoever refuses it calls it; of the problem `qat` the layer's class.
      layer: the layer's class, where it is known.
    """
    if problem == "qat":
        return _OF_LAYERS.get(operator, _OTHERWISE["qat"])
    by_layer = _BY_LAYER.get((problem, operator), {})
    if layer in by_layer:
        return by_layer[layer]
    return _BY_OPERATOR.get((problem, operator), _OTHERWISE[problem])
