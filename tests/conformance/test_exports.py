"""Every network family survives every export: what was trained is what the file computes."""

import functools

import keras
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd import architectures, quantize, registry
from edgekd.export import export_model
from edgekd.runtime import open_runner, predict
from edgekd.verify import metrics
from edgekd.verify.tolerances import float_tolerance

FAMILIES = "edgekd.architectures"
NAMES = registry.discover(FAMILIES)
KINDS = [(name, scheme.name) for scheme in quantize.all_schemes() for name in scheme.formats]
# The least ratio in decibels for outputs of an untrained network on 16 samples of noise. Rounding once to 11 bits
# leaves about 66 dB, to 8 bits about 48 dB; each layer adds its own noise, which deep networks feel most.
LEAST_SQNR_DB = {"float16": 45, "dynamic_int8": 20, "int8": 16}
# Large families, made small: the layers are the same.
SMALL = {
    "mobilenet_v2": {"alpha": 0.35},
    "scaled_cnn": {"scale": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
}
CONSTANTS = {schema.TensorType.INT32, schema.TensorType.INT8}
# Flattening a batch that may vary computes the new shape.
SHAPE_OPERATORS = {
    schema.BuiltinOperator.SHAPE,
    schema.BuiltinOperator.STRIDED_SLICE,
    schema.BuiltinOperator.PACK,
}


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


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def export(name, format_name, scheme):
        model, samples, _ = settled(name)
        path = folder / f"{name}_{scheme}.{format_name}"
        export_model(
            model, path, format=format_name, scheme=scheme, name=name, source=name, calibration=samples, batch=None
        )
        return path

    return export


def test_the_suite_finds_families_and_kinds():
    assert "resnet" in NAMES
    assert set(KINDS) >= {("tflite", "int8"), ("onnx", "int8")}


@pytest.mark.parametrize(("format_name", "scheme"), KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_file_computes_what_the_network_computes(name, format_name, scheme, exported):
    _, samples, expected = settled(name)
    with open_runner(exported(name, format_name, scheme), check=False) as runner:
        received = predict(runner, samples)
    assert received.dtype == np.float32
    assert received.shape == expected.shape
    if scheme == "float32":
        assert metrics.max_abs(expected, received) <= float_tolerance(expected)
    else:
        assert metrics.sqnr_db(expected, received) >= LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", [scheme for name, scheme in KINDS if name == "tflite"])
@pytest.mark.parametrize("name", NAMES)
def test_tflite_files_have_built_in_operators_only(name, scheme, exported):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(exported(name, "tflite", scheme).read_bytes(), 0))
    codes = {code.builtinCode for code in model.operatorCodes}
    assert codes
    assert schema.BuiltinOperator.CUSTOM not in codes


@pytest.mark.parametrize("name", NAMES)
def test_int8_tflite_files_compute_with_integers_only(name, exported):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(exported(name, "tflite", "int8").read_bytes(), 0))
    (graph,) = model.subgraphs
    outside = {*graph.inputs, *graph.outputs}
    constant = [model.buffers[tensor.buffer].data is not None for tensor in graph.tensors]
    weights = [tensor.type for tensor, is_constant in zip(graph.tensors, constant, strict=True) if is_constant]
    shapes = {
        index
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode in SHAPE_OPERATORS
        for index in operator.outputs
    }
    activations = [
        tensor.type
        for index, (tensor, is_constant) in enumerate(zip(graph.tensors, constant, strict=True))
        if not is_constant and index not in outside | shapes
    ]
    assert schema.TensorType.INT8 in weights
    assert set(weights) <= CONSTANTS
    assert set(activations) == {schema.TensorType.INT8}


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
