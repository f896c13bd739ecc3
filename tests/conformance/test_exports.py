"""Every network family survives every export: what was trained is what the file computes."""

import functools
import math

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd import architectures, flatbuffer, quantize, registry
from edgekd.export import _edge_quantizer, export_model
from edgekd.export._graph import frozen_function
from edgekd.export._tflite_converter import convert
from edgekd.runtime import litert, open_runner, predict
from edgekd.verify import metrics
from edgekd.verify.tolerances import float_tolerance

FAMILIES = "edgekd.architectures"
NAMES = registry.discover(FAMILIES)
KINDS = [(name, scheme.name) for scheme in quantize.all_schemes() for name in scheme.formats]
TFLITE = [scheme for name, scheme in KINDS if name == "tflite"]
INTEGER = [each.name for each in quantize.all_schemes() if each.arithmetic == "integer"]
# Large families, made small: the layers are the same.
SMALL = {
    "autoencoder": {"width": 32, "depth": 2},
    "ds_cnn": {"filters": 32, "blocks": 2},
    "mobilenet_v2": {"alpha": 0.35},
    "resnet": {"width": 8},
    "scaled_cnn": {"scale": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
}
# Deep ones, made shallow: the blocks of each kind once, since the others repeat them.
SHALLOW = {
    "mobilenet_v1": {"_BLOCKS": ((64, 1), (128, 2), (128, 1))},
    "mobilenet_v2": {"_STAGES": ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 1, 2))},
}
TYPES = {4: schema.TensorType.INT4, 8: schema.TensorType.INT8, 16: schema.TensorType.INT16}
# The schemes' 4 bits have kernels for these; other operators' weights have 8.
FOUR_BITS = {"CONV_2D", "FULLY_CONNECTED"}
WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"}
# Flattening a batch that may vary computes the new shape.
SHAPE_OPERATORS = {"SHAPE", "STRIDED_SLICE", "PACK"}
PEAK_OF_WEIGHTS = math.sqrt(3)  # a uniform distribution's largest value over its root mean square: Keras' initialiser
PEAK_OF_ACTIVATIONS = 4  # the largest of some thousand numbers that are distributed normally
MAGNIFICATION = 8  # an untrained network passes noise on louder than signal
LEAST_DB = 3  # what computes something else has no signal at all


def noise(bits, peak):
    """Returns the power of rounding, relative to that of what is rounded.

    Steps of size d make noise of power d²/12. Numbers whose largest is `peak` times their root mean square, stored in b
    bits, have d = 2 peak / 2^b relative to it. A float of b bits of significand has d = 2 / 2^b relative to itself.
    """
    return (2 * peak / 2**bits) ** 2 / 12


def least_sqnr_db(layers, *noises):
    """Returns the least signal-to-noise ratio after so many layers with weights, each of which adds the noises."""
    return max(LEAST_DB, -10 * math.log10(MAGNIFICATION * layers * sum(noises)))


def noises_of(scheme):
    if scheme.weight_bits == 16:
        return [noise(11, 1)]
    weights = noise(scheme.weight_bits, PEAK_OF_WEIGHTS)
    if scheme.arithmetic == "float":
        return [weights]
    return [
        weights,
        noise(min(scheme.activation_bits, 8 if scheme.arithmetic == "dynamic" else 16), PEAK_OF_ACTIVATIONS),
    ]


def weighted_layers(model):
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    return sum(isinstance(layer, kinds) for layer in model.layers)


def plugin(name):
    return registry.describe(FAMILIES, name, entry="build").constants


@functools.cache
def settled(name):
    """Returns a small network whose activations have unit size, samples, and its outputs for them.

    With the initial statistics of batch normalisation the activations of a deep network fade to nothing. With those
    of a batch they do not, but centring makes an untrained network chaotic: it magnifies rounding a thousandfold,
    as no trained one does. So only the scale is normalised.
    """
    natural = plugin(name)["INPUT_SHAPE"]
    shape = (20, 20, 3) if len(natural) == 3 and natural[2] == 3 else natural
    with pytest.MonkeyPatch.context() as patch:
        for constant, blocks in SHALLOW.get(name, {}).items():
            patch.setattr(registry.load(FAMILIES, name), constant, blocks)
        model = architectures.create(name, input_shape=shape, num_classes=6, seed=0, arguments=SMALL.get(name, {}))
    samples = np.random.default_rng(0).standard_normal((16, *shape)).astype(np.float32)
    normalisations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalisations:
        layer.momentum = 0.0
    model(samples, training=True)
    for layer in normalisations:
        mean = layer.moving_mean.numpy()
        layer.moving_variance.assign(layer.moving_variance.numpy() + mean**2)
        layer.moving_mean.assign(np.zeros_like(mean))
    return model, samples, keras.ops.convert_to_numpy(model(samples, training=False))


@functools.cache
def frozen(name):
    return frozen_function(settled(name)[0], batch=None, output_name="logits")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports each file once; the TFLite files of a family share one trace, which is most of what they cost."""
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def export(name, format_name, scheme):
        model, samples, _ = settled(name)
        path = folder / f"{name}_{scheme}.{format_name}"
        if format_name == "onnx":
            export_model(
                model, path, format=format_name, scheme=scheme, name=name, source=name, calibration=samples, batch=None
            )
            return path
        chosen = quantize.scheme(scheme)
        options = {"scheme": chosen, "calibration": samples, "input_dtype": "float32", "output_dtype": "float32"}
        if _edge_quantizer.is_written_by_it(chosen):
            floats = export(name, format_name, "float32").read_bytes()
            path.write_bytes(_edge_quantizer.quantise(floats, batch=1, **options))
        else:
            path.write_bytes(convert(frozen(name), allow_select_tf_ops=False, **options))
        return path

    return export


def test_the_suite_finds_families_and_kinds():
    assert "resnet" in NAMES
    assert set(KINDS) >= {("tflite", "int8"), ("onnx", "int8")}


@pytest.mark.parametrize(("format_name", "scheme"), KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_file_computes_what_the_network_computes(name, format_name, scheme, exported):
    model, samples, expected = settled(name)
    with open_runner(exported(name, format_name, scheme), check=False) as runner:
        received = predict(runner, samples)
    assert received.dtype == np.float32
    assert received.shape == expected.shape
    if scheme == "float32":
        assert metrics.max_abs(expected, received) <= float_tolerance(expected)
    else:
        noises = noises_of(quantize.scheme(scheme))
        assert metrics.sqnr_db(expected, received) >= least_sqnr_db(weighted_layers(model), *noises)


@pytest.mark.parametrize("scheme", TFLITE)
@pytest.mark.parametrize("name", NAMES)
def test_accelerated_and_built_in_kernels_compute_the_same(name, scheme, exported):
    model, samples, _ = settled(name)
    received = []
    for xnnpack in (True, False):
        with litert.open_runner(exported(name, "tflite", scheme), xnnpack=xnnpack) as runner:
            received.append(predict(runner, samples))
    if quantize.scheme(scheme).arithmetic == "float":
        assert metrics.max_abs(*received) <= float_tolerance(received[0])
    elif not np.array_equal(*received):  # their weights are the same, their activations are rounded in their own ways
        least = least_sqnr_db(weighted_layers(model), noise(8, PEAK_OF_ACTIVATIONS))
        assert metrics.sqnr_db(*received) >= least


def graph_of(path):
    """Returns a TFLite file's model, its graph, and its operators with their names."""
    model = flatbuffer.read(path.read_bytes())
    (graph,) = model.subgraphs
    return (
        model,
        graph,
        [(flatbuffer.operator_name(model.operatorCodes[each.opcodeIndex]), each) for each in graph.operators],
    )


def is_constant(model, tensor):
    return model.buffers[tensor.buffer].data is not None


def expected_type(scheme, operator, tensor):
    if scheme.weight_bits > 8:
        return {16: schema.TensorType.FLOAT16, 32: schema.TensorType.FLOAT32}[scheme.weight_bits]
    if scheme.name == "dynamic_int8" and math.prod(tensor.shape) < 1024:
        return schema.TensorType.FLOAT32
    return TYPES[scheme.weight_bits if operator in FOUR_BITS else scheme.other_weight_bits]


@pytest.mark.parametrize("scheme", TFLITE)
@pytest.mark.parametrize("name", NAMES)
def test_every_weight_of_a_tflite_file_is_stored_as_the_scheme_says(name, scheme, exported):
    model, graph, operators = graph_of(exported(name, "tflite", scheme))
    sources = {operator.outputs[0]: operator.inputs[0] for kind, operator in operators if kind == "DEQUANTIZE"}
    wrong, count = [], 0
    for kind, operator in operators:
        assert kind in vars(schema.BuiltinOperator), f"{kind} is not a built-in operator"
        if kind in WEIGHTED:
            index = operator.inputs[1]
            weights = graph.tensors[sources.get(index, index)]
            assert is_constant(model, weights)
            count += 1
            if weights.type != expected_type(quantize.scheme(scheme), kind, weights):
                wrong.append((kind, weights.name, flatbuffer.type_name(weights.type)))
    assert wrong == []
    assert count


@pytest.mark.parametrize("scheme", INTEGER)
@pytest.mark.parametrize("name", NAMES)
def test_files_of_integer_schemes_compute_with_integers_only(name, scheme, exported):
    model, graph, operators = graph_of(exported(name, "tflite", scheme))
    outside = {*graph.inputs, *graph.outputs}
    shapes = {index for kind, operator in operators if kind in SHAPE_OPERATORS for index in operator.outputs}
    shapes |= {operator.inputs[0] for kind, operator in operators if kind == "SHAPE"}  # whatever it is: it is not read
    activations = {
        tensor.type
        for index, tensor in enumerate(graph.tensors)
        if not is_constant(model, tensor) and index not in outside | shapes
    }
    assert activations == {TYPES[quantize.scheme(scheme).activation_bits]}
    assert schema.TensorType.FLOAT32 not in {each.type for each in graph.tensors if is_constant(model, each)}
    assert {graph.tensors[index].type for index in outside} == {schema.TensorType.FLOAT32}


@pytest.mark.parametrize("name", NAMES)
def test_int8_onnx_files_multiply_dequantised_integers_only(name, exported):
    graph = onnx.load(exported(name, "onnx", "int8")).graph
    producers = {output: node for node in graph.node for output in node.output}
    integers = {each.name for each in graph.initializer if each.data_type in {onnx.TensorProto.INT8}}
    products = [node for node in graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
    assert products
    for node in products:
        assert producers[node.input[0]].op_type == producers[node.input[1]].op_type == "DequantizeLinear"
        assert producers[node.input[1]].input[0] in integers


@pytest.mark.parametrize("name", NAMES)
def test_both_int8_files_return_the_same_numbers(name, exported):
    _, samples, _ = settled(name)
    results = []
    for format_name in ("tflite", "onnx"):
        with open_runner(exported(name, format_name, "int8"), check=False) as runner:
            results.append(predict(runner, samples))
            scale = runner.outputs[0].scale
    assert scale is None
    assert metrics.sqnr_db(*results) > 30
