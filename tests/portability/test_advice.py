"""What is advised was converted: the layer is refused with that advice, and what is advised in its place is not."""

import keras
import pytest
from keras import layers, ops

from edgekd import portability


def sequence(x):
    return layers.Reshape((8, 32), name="rows")(x)


def activation(name):
    return layers.Activation(name, name="act")


def gelu(x):
    return keras.activations.gelu(x, approximate=True)


BATCH_NORM = layers.BatchNormalization
HARD_SILU = activation("hard_silu")
U55, U85 = "ethos-u55-128", "ethos-u85-256"

# What is refused by whom, the operator, words of the advice, and what it advises.
CASES = {
    "elu in integers": ("tflite", "int8", activation("elu"), "ELU", "hard_silu", HARD_SILU),
    "layer normalisation in integers": (
        "tflite",
        "int8",
        layers.LayerNormalization(name="act"),
        "NEG",
        "BatchNormalization",
        BATCH_NORM(name="act"),
    ),
    "group normalisation in integers": (
        "tflite",
        "int8",
        layers.GroupNormalization(2, name="act"),
        "SQUARE",
        "BatchNormalization",
        BATCH_NORM(name="act"),
    ),
    "negation in integers": ("tflite", "int8", ops.negative, "NEG", "multiply by -1", lambda x: x * -1.0),
    "square in integers": ("tflite", "int8", ops.square, "SQUARE", "by itself", lambda x: ops.multiply(x, x)),
    "a loop in integers": (
        "tflite",
        "int8",
        lambda x: layers.GRU(2, name="act")(sequence(x)),
        "WHILE",
        "unroll=True",
        lambda x: layers.GRU(2, unroll=True, name="act")(sequence(x)),
    ),
    "erf": ("tflite", "float32", ops.erf, "Erf", "keras.activations.gelu", keras.activations.gelu),
    "bicubic": (
        "tflite",
        "float32",
        layers.Resizing(16, 16, interpolation="bicubic", name="act"),
        "ResizeBicubic",
        "bilinear",
        layers.Resizing(16, 16, interpolation="bilinear", name="act"),
    ),
    "exact gelu in onnx": ("onnx", "float32", activation("gelu"), "Erfc", "gelu(x, approximate=True)", gelu),
    "gelu in integer onnx": ("onnx", "int8", gelu, "TFL_GELU", "hard_silu", HARD_SILU),
    "a loop in onnx": (
        "onnx",
        "float32",
        lambda x: layers.LSTM(2, name="act")(sequence(x)),
        "TensorListReserve",
        "unroll=True",
        lambda x: layers.LSTM(2, unroll=True, name="act")(sequence(x)),
    ),
    "gelu on a microcontroller": ("tflite-micro", "int8", gelu, "GELU", "hard_silu", HARD_SILU),
    "selu on a microcontroller": ("tflite-micro", "int8", activation("selu"), "SELECT", "hard_silu", HARD_SILU),
    "nearest upsampling on a microcontroller": (
        "tflite-micro",
        "int8",
        layers.UpSampling2D(2, name="act"),
        "TILE",
        'interpolation="bilinear"',
        layers.UpSampling2D(2, interpolation="bilinear", name="act"),
    ),
    "elu on an NPU": (U55, "int8", activation("elu"), "ELU", "hard_silu", HARD_SILU),
    "selu on an NPU": (U55, "int8", activation("selu"), "GREATER", "hard_silu", HARD_SILU),
    "layer normalisation on an NPU": (
        U85,
        "int8",
        layers.LayerNormalization(name="act"),
        "MEAN",
        "BatchNormalization",
        BATCH_NORM(name="act"),
    ),
    "strides of 3 on an NPU": (
        U55,
        "int8",
        layers.Conv2DTranspose(2, 3, strides=3, padding="same", name="act"),
        "TRANSPOSE_CONV",
        "strides of 1 or 2",
        layers.Conv2DTranspose(2, 3, strides=2, padding="same", name="act"),
    ),
    "resizing by 3 on an NPU": (
        U85,
        "int8",
        layers.UpSampling2D(3, interpolation="bilinear", name="act"),
        "RESIZE_BILINEAR",
        "a factor of 2",
        layers.UpSampling2D(2, interpolation="bilinear", name="act"),
    ),
    "elu in training": ("qat", "int8", activation("elu"), "Activation", "silu or hard_silu", activation("silu")),
    "prelu in training": (
        "qat",
        "int8",
        layers.PReLU(name="act"),
        "PReLU",
        "LeakyReLU",
        layers.LeakyReLU(name="act"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_advice_is_given_and_what_it_advises_converts(case, build):
    keras.utils.set_random_seed(0)
    target, scheme, offender, operator, words, advised = CASES[case]
    found = portability.check_model(build(offender), targets=(target,), schemes=(scheme,)).findings
    (about,) = [each for each in found if each.operator == operator]
    assert words in about.advice
    assert about.targets == (target,)
    check = portability.check_model(build(advised), targets=(target,), schemes=(scheme,))
    assert check.findings == ()


def test_an_activity_regularizer_is_what_keeps_a_layer_from_training(build):
    def middle(x, **settings):
        return layers.Conv2D(2, 1, activation="relu", name="act", **settings)(x)

    check = portability.check_model(build(lambda x: middle(x, activity_regularizer="l2")), targets=("qat",))
    (about,) = check.findings
    assert "remove activity_regularizer" in about.advice
    assert not portability.check_model(build(middle), targets=("qat",)).findings
