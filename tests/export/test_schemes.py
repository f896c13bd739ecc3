"""What stands in a TFLite file of each scheme, against numbers made by hand from the network's own weights."""

import functools

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from edgekd import flatbuffer, quantize
from edgekd.errors import DataError, ModelError
from edgekd.export import export_model, tflite
from edgekd.runtime import open_runner, predict
from edgekd.verify import metrics

BATCH = 16
DTYPES = {
    schema.TensorType.INT4: np.int8,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.FLOAT32: np.float32,
}
# Where the kernels of the network below lie in a file, and how Keras' axes are ordered there.
KERNELS = {
    "conv": ("CONV_2D", (3, 0, 1, 2)),
    "depthwise": ("DEPTHWISE_CONV_2D", (3, 0, 1, 2)),
    "logits": ("FULLY_CONNECTED", (1, 0)),
}


@functools.cache
def network():
    """Returns a network without batch normalisation, so that its weights are the file's; 7 filters: an odd number."""
    keras.utils.set_random_seed(5)
    image = keras.Input((9, 9, 5), name="image")
    x = layers.Conv2D(7, 3, activation="relu", bias_initializer="random_normal", name="conv")(image)
    x = layers.DepthwiseConv2D(3, bias_initializer="random_normal", name="depthwise")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, bias_initializer="random_normal", name="logits")(x))


@functools.cache
def images():
    return np.random.default_rng(0).uniform(-1.5, 1, (BATCH, 9, 9, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schemes")

    @functools.cache
    def export(scheme, batch=1, dtype="float32"):
        path = folder / f"{scheme}-{batch}-{dtype}.tflite"
        tflite.export(network(), path, images(), scheme=scheme, batch=batch, input_dtype=dtype, output_dtype=dtype)
        return path

    return export


def opened(path):
    model = flatbuffer.read(path.read_bytes())
    (graph,) = model.subgraphs
    return model, graph


def operators(path):
    """Returns (operator, its input tensors, its output tensors) in the order in which they run."""
    model, graph = opened(path)
    return [
        (
            flatbuffer.operator_name(model.operatorCodes[each.opcodeIndex]),
            [graph.tensors[index] for index in each.inputs],
            [graph.tensors[index] for index in each.outputs],
        )
        for each in graph.operators
    ]


def stored(path, operator):
    """Returns an operator's weights as stored, their type and their scale for each output channel, and the bias."""
    model, graph = opened(path)
    producers = {index: each for each in graph.operators for index in each.outputs}
    (found,) = [
        each for each in graph.operators if flatbuffer.operator_name(model.operatorCodes[each.opcodeIndex]) == operator
    ]
    index = found.inputs[1]
    if model.buffers[graph.tensors[index].buffer].data is None:  # an explicit DEQUANTIZE stands before it
        assert flatbuffer.operator_name(model.operatorCodes[producers[index].opcodeIndex]) == "DEQUANTIZE"
        (index,) = producers[index].inputs
    weights, bias = graph.tensors[index], graph.tensors[found.inputs[2]]
    return weights.type, values(model, weights), np.array(weights.quantization.scale), values(model, bias)


def values(model, tensor):
    """Returns a constant's numbers; of int4 the first of two lies in the lower half of a byte."""
    raw = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.uint8)
    if tensor.type == schema.TensorType.INT4:
        nibbles = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)[: np.prod(tensor.shape)].astype(np.int8)
        return np.where(nibbles > 7, nibbles - 16, nibbles).reshape(tensor.shape)
    return raw.view(DTYPES[tensor.type]).reshape(tensor.shape)


def rounded_by_hand(layer, bits):
    """Returns a Keras kernel in the file's order, rounded to nearest per output channel: integers and their scales."""
    operator, order = KERNELS[layer]
    kernel = network().get_layer(layer).kernel.numpy().transpose(order)
    axis = kernel.ndim - 1 if operator == "DEPTHWISE_CONV_2D" else 0
    largest = np.abs(kernel).max(axis=tuple(each for each in range(kernel.ndim) if each != axis), keepdims=True)
    scale = largest / (2 ** (bits - 1) - 1)
    return np.rint(kernel / scale), scale


def weight_kind(scheme, layer):
    bits = 4 if scheme.endswith("4") and layer != "depthwise" else 8
    return bits, {4: schema.TensorType.INT4, 8: schema.TensorType.INT8}[bits]


INTEGER_WEIGHTS = [
    each.name for each in quantize.all_schemes() if each.weight_bits < 16 and each.name != "dynamic_int8"
]


@pytest.mark.parametrize("layer", KERNELS)
@pytest.mark.parametrize("scheme", INTEGER_WEIGHTS)
def test_weights_are_rounded_to_nearest_with_a_scale_for_each_output_channel(scheme, layer, exported):
    bits, kind = weight_kind(scheme, layer)
    integers, scale = rounded_by_hand(layer, bits)
    found, weights, scales, _ = stored(exported(scheme), KERNELS[layer][0])
    assert found == kind
    np.testing.assert_allclose(scales, scale.reshape(-1), rtol=1e-6)
    np.testing.assert_array_equal(weights, integers)


@pytest.mark.parametrize("scheme", ["weight_only_int8", "weight_only_int4"])
def test_a_weight_only_file_computes_like_the_network_with_rounded_weights(scheme, exported):
    by_hand = keras.models.clone_model(network())
    for layer, (_, order) in KERNELS.items():
        integers, scale = rounded_by_hand(layer, weight_kind(scheme, layer)[0])
        rounded = (integers * scale).transpose(np.argsort(order))
        by_hand.get_layer(layer).set_weights([rounded, network().get_layer(layer).bias])
    expected = by_hand(images()).numpy()
    with open_runner(exported(scheme), check=False) as runner:
        received = predict(runner, images())
    np.testing.assert_allclose(received, expected, atol=64 * np.finfo(np.float32).eps * np.abs(expected).max())


def test_16_bit_activations_are_symmetric_and_span_what_calibration_showed(exported):
    conversions = {"QUANTIZE", "DEQUANTIZE"}
    inside = [each for each in operators(exported("int16x8")) if each[0] not in conversions]
    activations = [tensor for _, inputs, outputs in inside for tensor in (inputs[0], *outputs)]
    assert {tensor.type for tensor in activations} == {schema.TensorType.INT16}
    assert {tuple(tensor.quantization.zeroPoint) for tensor in activations} == {(0,)}
    first = inside[0][1][0].quantization.scale
    np.testing.assert_allclose(first, [np.abs(images()).max() / 32767], rtol=1e-4)


@pytest.mark.parametrize(("scheme", "kind"), [("int8", np.int32), ("int8x4", np.int32), ("int16x8", np.int64)])
def test_biases_have_the_scale_of_the_products(scheme, kind, exported):
    path = exported(scheme)
    (convolution,) = [inputs for name, inputs, _ in operators(path) if name == "CONV_2D"]
    input_scale = convolution[0].quantization.scale[0]
    _, _, scales, bias = stored(path, "CONV_2D")
    assert bias.dtype == kind
    expected = network().get_layer("conv").bias.numpy() / (input_scale * scales)
    np.testing.assert_allclose(bias, expected, atol=0.51, rtol=1e-5)


def test_8_bit_activations_of_int8x4_span_what_all_calibration_samples_showed(exported):
    (scale,) = operators(exported("int8x4"))[1][1][0].quantization.scale
    assert scale == pytest.approx((images().max() - images().min()) / 255, rel=1e-5)


@pytest.mark.parametrize(("scheme", "dtype"), [("int16x8", "int16"), ("int8x4", "int8")])
def test_a_file_can_take_and_return_its_own_integers(scheme, dtype, exported):
    kinds = [name for name, _, _ in operators(exported(scheme, dtype=dtype))]
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(kinds)
    with (
        open_runner(exported(scheme, dtype=dtype), check=False) as integers,
        open_runner(exported(scheme), check=False) as floats,
    ):
        assert integers.inputs[0].dtype == integers.outputs[0].dtype == dtype
        np.testing.assert_array_equal(predict(integers, images()), predict(floats, images()))


@pytest.mark.parametrize("scheme", ["int16x8", "int8x4"])
def test_the_batch_changes_no_range_and_no_output(scheme, exported):
    received = []
    for batch in (1, 5, None):  # of 16 images: the last batch of 5 is not full
        with open_runner(exported(scheme, batch=batch), check=False) as runner:
            assert runner.inputs[0].shape[0] == batch
            received.append(predict(runner, images()))
    np.testing.assert_array_equal(received[1], received[0])
    np.testing.assert_array_equal(received[2], received[0])


def functional(*stages, shape=(8, 8, 3)):
    image = keras.Input(shape, name="image")
    tensor = image
    for stage in stages:
        tensor = stage(tensor)
    return keras.Model(image, tensor)


def small(activation):
    return functional(
        layers.Conv2D(4, 3, name="conv"), activation, layers.GlobalAveragePooling2D(name="pool"), layers.Dense(2)
    )


def samples(count=4):
    return np.random.default_rng(0).standard_normal((count, 8, 8, 3)).astype(np.float32)


def convert(model, path, **options):
    return tflite.export(model, path, samples(), **options)


ELU, HARD_SWISH, LEAKY = (
    (layers.ELU, {"name": "elu"}),
    (layers.Activation, {"activation": "hard_silu", "name": "swish"}),
    (layers.LeakyReLU, {"name": "leaky"}),
)


@pytest.mark.parametrize(
    ("scheme", "layer", "message"),
    [
        ("int8", ELU, r"'int8' computes with integers only.*no such kernel: ELU elu/.*allow_float_operators: true"),
        ("int8x4", LEAKY, r"'int8x4' computes with integers only.*no such kernel: LEAKY_RELU leaky/"),
        ("int16x8", HARD_SWISH, r"no HARD_SWISH for scheme 'int16x8'.*allow_float_operators: true"),
    ],
)
def test_an_operator_without_integer_kernel_is_named_and_stays_float_only_when_allowed(
    scheme, layer, message, tmp_path
):
    kind, arguments = layer
    model = small(kind(**arguments))
    path = tmp_path / "model.tflite"
    with pytest.raises(ModelError, match=message):
        convert(model, path, scheme=scheme)
    assert not path.exists()
    left = convert(model, path, scheme=scheme, allow_float_operators=True)
    assert len(left) == 1
    assert left[0].split()[0] in {"ELU", "LEAKY_RELU", "HARD_SWISH"}
    assert f" {arguments['name']}/" in left[0]
    assert ";" not in left[0]
    with open_runner(path, check=False) as runner:
        received = predict(runner, samples())
    # 4-bit weights leave 24 dB in each of two layers, and a few samples may be less lucky; something else leaves none.
    assert metrics.sqnr_db(model(samples()).numpy(), received) > 12


@pytest.mark.parametrize("dtype", ["float32", "own"])
@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int8x4"])
def test_allowing_float_operators_changes_nothing_where_none_is_needed(scheme, dtype, exported, tmp_path):
    dtype = quantize.scheme(scheme).dtypes[1] if dtype == "own" else dtype
    path = tmp_path / "allowed.tflite"
    options = {"scheme": scheme, "input_dtype": dtype, "output_dtype": dtype}
    assert tflite.export(network(), path, images(), allow_float_operators=True, **options) == ()
    assert path.read_bytes() == exported(scheme, dtype=dtype).read_bytes()


def test_the_operators_whose_weights_dynamic_int8_left_in_float_are_named(tmp_path):
    model = functional(
        layers.Conv2D(4, 3, name="tiny"),  # 108 weights
        layers.Conv2D(32, 3, name="large"),  # 1152
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(2, name="logits"),  # 64
    )
    left = convert(model, tmp_path / "model.tflite", scheme="dynamic_int8")
    assert [each.split()[0] for each in left] == ["CONV_2D", "FULLY_CONNECTED"]
    assert "tiny/" in left[0]
    assert "large/" not in left[0]


@pytest.mark.parametrize("scheme", [each.name for each in quantize.all_schemes() if each.name != "dynamic_int8"])
def test_the_other_schemes_leave_nothing_in_float(scheme, tmp_path):
    assert tflite.export(network(), tmp_path / "model.tflite", images(), scheme=scheme) == ()


@pytest.mark.parametrize("scheme", ["weight_only_int4", "dynamic_int4", "int8x4", "weight_only_int8"])
def test_a_network_in_which_no_weight_can_be_stored_so_is_refused(scheme, tmp_path):
    depthwise = [] if scheme == "weight_only_int8" else [layers.DepthwiseConv2D(3, name="depthwise")]
    model = functional(*depthwise, layers.GlobalAveragePooling2D(name="pool"))
    with pytest.raises(ModelError, match=rf"{scheme}' would store no weight in {scheme[-1]} bits"):
        convert(model, tmp_path / "model.tflite", scheme=scheme)
    assert not list(tmp_path.iterdir())


def test_a_large_files_weights_lie_inside_the_flatbuffer(tmp_path):
    # ai-edge-quantizer puts them behind it from 256 KiB on, where few readers look.
    model = functional(layers.Flatten(name="flatten"), layers.Dense(1500, name="wide"), layers.Dense(2, name="logits"))
    convert(model, tmp_path / "model.tflite", scheme="weight_only_int8")
    content = (tmp_path / "model.tflite").read_bytes()
    assert len(content) > 256 * 1024
    sizes = [len(each.data) for each in flatbuffer.read(content).buffers if each.data is not None]
    assert 192 * 1500 in sizes


@pytest.mark.parametrize("scheme", ["weight_only_int4", "int8x4"])
def test_conversion_prints_nothing_and_repeats_byte_for_byte(scheme, exported, tmp_path, capfd):
    tflite.export(network(), tmp_path / "again.tflite", images(), scheme=scheme)
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "again.tflite").read_bytes() == exported(scheme).read_bytes()


@pytest.mark.parametrize("scheme", ["int16x8", "int8x4"])
@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (None, "calibration samples are missing"),
        (np.zeros((0, 8, 8, 3), np.float32), "no calibration samples"),
        (np.full((4, 8, 8, 3), 0.5, np.float32), r"every calibration value is 0\.5"),
        (np.full((4, 8, 8, 3), np.inf, np.float32), "NaN or infinity"),
    ],
    ids=["missing", "empty", "constant", "infinite"],
)
def test_calibration_that_shows_no_ranges_is_refused(scheme, calibration, message, tmp_path):
    with pytest.raises(DataError, match=message):
        export_model(
            small(layers.ReLU()),
            tmp_path / "model.tflite",
            format="tflite",
            scheme=scheme,
            name="m",
            source="m",
            calibration=calibration,
        )
    assert not list(tmp_path.iterdir())
