"""Real files, broken in one place each: the operator at fault is named first, and the healthy file passes."""

import re

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from edgekd import flatbuffer, runtime
from edgekd.verify import comparing
from edgekd.verify.arithmetic import arithmetic_of
from edgekd.verify.comparing import Subject
from edgekd.verify.identity import identity_of
from edgekd.verify.samples import Samples
from edgekd.verify.tolerances import MIN_SQNR_DB


def operator(model, layer):
    """Returns the TFLite operator whose output is named after a layer."""
    (graph,) = model.subgraphs
    wanted = layer.encode()
    (found,) = [
        each
        for each in graph.operators
        if wanted in graph.tensors[each.outputs[0]].name.replace(b";", b"/").split(b"/")
    ]
    return found


def tensor(model, layer, position):
    return model.subgraphs[0].tensors[operator(model, layer).inputs[position]]


def data(model, found, dtype):
    """Returns a constant tensor's values, which may be written to."""
    buffer = model.buffers[found.buffer]
    buffer.data = np.array(np.frombuffer(bytes(buffer.data), np.uint8))
    return buffer.data.view(dtype).reshape(found.shape)


def kernel_scale(model):
    found = tensor(model, "second", 1).quantization
    found.scale = found.scale * np.float32([1, 1, 1.5, 1])


def bias_zeroed(model):
    found = tensor(model, "third", 2)
    data(model, found, np.float32 if found.type == schema.TensorType.FLOAT32 else np.int32)[:] = 0


def one_bias_zeroed(model):
    data(model, tensor(model, "strided", 2), np.int32)[1] = 0


def difference_swapped(model):
    found = operator(model, "difference")
    found.inputs = found.inputs[::-1].copy()


def joined_swapped(model):
    found = operator(model, "joined")
    found.inputs = found.inputs[::-1].copy()


def zero_point_shifted(model):
    (graph,) = model.subgraphs
    found = graph.tensors[operator(model, "second").outputs[0]].quantization
    found.zeroPoint = found.zeroPoint + 160


def channel_zeroed(model):
    found = tensor(model, "depthwise", 1)
    data(model, found, np.float32 if found.type == schema.TensorType.FLOAT32 else np.int8)[..., 3] = 0


def activation_removed(model):
    operator(model, "second").builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE


def pool_of_means(model):
    for code in model.operatorCodes:
        if flatbuffer.operator_name(code) == "MAX_POOL_2D":
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.AVERAGE_POOL_2D


def stride_of_one(model):
    options = operator(model, "strided").builtinOptions
    options.strideW = options.strideH = 1


def no_padding(model):
    operator(model, "strided").builtinOptions.padding = schema.Padding.VALID


def kernels_exchanged(model):
    second, third = operator(model, "second"), operator(model, "third")
    second.inputs, third.inputs = (
        np.array([read[0], other[1], read[2]])
        for read, other in ((second.inputs, third.inputs), (third.inputs, second.inputs))
    )


def leaky_slope(model):
    operator(model, "leaky").builtinOptions.alpha = 2.0


def weights_truncated(model):
    """As if the converter cut weights off instead of rounding them: all are up to a step too low."""
    found = tensor(model, "strided", 1)
    values = data(model, found, np.int8)
    exact = REFERENCE_KERNEL["strided"]
    steps = np.asarray(found.quantization.scale).reshape(-1, 1, 1, 1)
    values[:] = np.clip(np.floor(exact / steps), -127, 127)


def all_weights_truncated(model):
    """As a wrong conversion by another tool: it rounds every kernel down, and records nothing of its making."""
    model.metadata = []
    rng = np.random.default_rng(0)
    for found in int8_kernels(model):
        values = data(model, found, np.int8)
        values[:] = np.maximum(values - rng.integers(0, 2, values.shape), -127)


KERNEL_OPERATORS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


def int8_kernels(model):
    (graph,) = model.subgraphs
    for each in graph.operators:
        if flatbuffer.operator_name(model.operatorCodes[each.opcodeIndex]) in KERNEL_OPERATORS:
            yield graph.tensors[each.inputs[1]]


REFERENCE_KERNEL = {}


@pytest.fixture(autouse=True)
def reference_kernel(files):
    model = flatbuffer.read((files / "float32.tflite").read_bytes())
    REFERENCE_KERNEL["strided"] = data(model, tensor(model, "strided", 1), np.float32)


TFLITE = [
    ("int8.tflite", kernel_scale, "second"),
    ("int8.tflite", bias_zeroed, "third"),
    ("float32.tflite", bias_zeroed, "third"),
    ("int8.tflite", one_bias_zeroed, "strided"),
    ("float32.tflite", difference_swapped, "difference"),
    ("int8.tflite", difference_swapped, "difference"),
    ("float32.tflite", joined_swapped, "joined"),
    ("int8.tflite", joined_swapped, "joined"),
    ("int8.tflite", zero_point_shifted, "second"),
    ("float32.tflite", channel_zeroed, "depthwise"),
    ("int8.tflite", channel_zeroed, "depthwise"),
    ("float32.tflite", activation_removed, "second"),
    ("float32.tflite", pool_of_means, "pool"),
    ("int8.tflite", pool_of_means, "pool"),
    ("float32.tflite", stride_of_one, "strided"),
    ("float32.tflite", no_padding, "strided"),
    ("float32.tflite", kernels_exchanged, "second"),
    ("float32.tflite", leaky_slope, "leaky"),
    ("int8.tflite", leaky_slope, "leaky"),
    ("int8.tflite", weights_truncated, "strided"),
]


def is_same(reference, candidate, images):
    """Returns whether a comparison of the whole models passes."""
    runners = [runtime.open_runner(path, check=False) for path in (reference, candidate)]
    subjects = [
        Subject(name, str(path), "built in", runner, arithmetic_of(path), identity_of(path))
        for name, path, runner in zip(("healthy", "broken"), (reference, candidate), runners, strict=True)
    ]
    return comparing.verify(subjects, Samples((images,), None, "random", seeded=False, inputs=()), matrix=False)


def layer_of(row):
    """Returns the layer that gives a row's tensor of the Keras network, or of a file made from it."""
    name = re.split("[,/]", row.reference_tensor)[0]
    return {"activated": "strided", "norm": "strided"}.get(name, name)  # fused, so one operator in the file


@pytest.mark.parametrize(("name", "change", "layer"), TFLITE, ids=lambda each: getattr(each, "__name__", each))
def test_the_operator_at_fault_is_named_first_in_tflite_files(name, change, layer, compared, changed, files, images):
    broken = changed(name, change)
    assert not is_same(files / name, broken, images)
    found = compared("float32.tflite", broken)
    assert not found.passed
    assert layer_of(found.rows[found.first]) == layer
    assert found.rows[found.first].reason
    failed = [layer_of(row) for row in found.rows if row.passed is False]
    assert set(failed) <= {layer, *(("third",) if change is kernels_exchanged else ())}  # and no healthy one is blamed
    assert layer_of(found.rows[found.ranking[0]]) in failed


def node(model, layer, operator_type):
    (found,) = [
        each
        for each in model.graph.node
        if each.op_type == operator_type and layer in each.output[0].replace(";", "/").split("/")
    ]
    return found


def rewrite(model, name, change):
    (found,) = [each for each in model.graph.initializer if each.name == name]
    found.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(found).copy()), name))


def onnx_activation_removed(model):
    gone = node(model, "second", "Relu")
    model.graph.node.remove(gone)
    for each in model.graph.node:
        each.input[:] = [gone.input[0] if name == gone.output[0] else name for name in each.input]


def onnx_difference_swapped(model):
    found = node(model, "difference", "Sub")
    found.input[:] = list(found.input)[::-1]


def onnx_bias_zeroed(model):
    rewrite(model, node(model, "third", "Conv").input[2], np.zeros_like)


def onnx_slope(model):
    node(model, "leaky", "LeakyRelu").attribute[0].f = 2.0


def onnx_pool_of_means(model):
    found = node(model, "pool", "MaxPool")
    found.op_type = "AveragePool"


def onnx_weights_truncated(model):
    """To bfloat16 by cutting off the lower half of each number."""

    def cut(values):
        return (values.view(np.uint32) & 0xFFFF0000).view(np.float32)

    rewrite(model, node(model, "second", "Conv").input[1], cut)


def onnx_kernel_scale(model):
    kernel = node(model, "second", "Conv").input[1]
    (made,) = [each for each in model.graph.node if each.output[0] == kernel]

    def wider(scales):
        scales[1] *= 2
        return scales

    rewrite(model, made.input[1], wider)


def onnx_rounding_shifted(model):
    """Rounded with one zero point and read with another, so that what reads the values is off by three steps."""
    (found,) = [each for each in model.graph.node if each.op_type == "QuantizeLinear" and "leaky" in each.output[0]]
    (initial,) = [each for each in model.graph.initializer if each.name == found.input[2]]
    copied = onnx.TensorProto()
    shifted = numpy_helper.to_array(initial) + np.int8(3)
    copied.CopyFrom(numpy_helper.from_array(np.asarray(shifted, np.int8), "shifted"))
    model.graph.initializer.append(copied)
    found.input[2] = "shifted"


ONNX = [
    ("float32.onnx", onnx_activation_removed, "second"),
    ("float32.onnx", onnx_difference_swapped, "difference"),
    ("int8.onnx", onnx_difference_swapped, "difference"),
    ("float32.onnx", onnx_bias_zeroed, "third"),
    ("float32.onnx", onnx_slope, "leaky"),
    ("int8.onnx", onnx_slope, "leaky"),
    ("float32.onnx", onnx_pool_of_means, "pool"),
    ("float32.onnx", onnx_weights_truncated, "second"),
    ("int8.onnx", onnx_kernel_scale, "second"),
    ("int8.onnx", onnx_rounding_shifted, "difference"),
]


@pytest.mark.parametrize(("name", "change", "layer"), ONNX, ids=lambda each: getattr(each, "__name__", each))
def test_the_operator_at_fault_is_named_first_in_onnx_files(name, change, layer, compared, changed, files, images):
    broken = changed(name, change)
    assert not is_same(files / name, broken, images)
    found = compared("network.keras", broken)
    assert not found.passed
    assert layer_of(found.rows[found.first]) == layer
    assert {layer_of(row) for row in found.rows if row.passed is False} == {layer}


@pytest.mark.parametrize(
    ("reference", "change", "layer"),
    [
        ("float32.tflite", kernel_scale, "second"),
        ("float32.tflite", weights_truncated, "strided"),
        ("float32.onnx", weights_truncated, "strided"),
        ("int8.onnx", kernel_scale, "second"),
    ],
)
def test_any_healthy_file_can_be_the_reference(reference, change, layer, compared, changed):
    found = compared(reference, changed("int8.tflite", change))
    assert found.first is not None
    assert layer in found.rows[found.first].candidate_tensor


def test_a_layer_of_a_keras_network_is_named(network, compared, tmp_path):
    import keras

    from edgekd.architectures import save_model

    broken = keras.models.clone_model(network)
    broken.set_weights(network.get_weights())
    layer = broken.get_layer("third")
    layer.bias.assign(0 * layer.bias)
    save_model(broken, tmp_path / "broken.keras")
    found = compared("int8.tflite", tmp_path / "broken.keras")
    assert found.rows[found.first].candidate_tensor == "third"


def test_a_file_whose_kernels_were_all_rounded_down_is_held_to_the_network_that_it_was(changed, files):
    """No kernel is what it was and nothing is recorded, and its outputs are near enough for another network's."""
    broken = changed("int8.tflite", all_weights_truncated)
    found = is_same(files / "int8.onnx", broken, np.random.default_rng(1).random((256, 8, 8, 1), np.float32))
    assert found.status == "failed"
    assert found.comparisons[0].outputs[0].sqnr_db > MIN_SQNR_DB
    assert "one network (100 % of the kernels' channels" in found.verdicts[0].tolerance.origin


HEALTHY = [
    *(("network.keras", each) for each in ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")),
    *(("float32.tflite", each) for each in ("int8.tflite", "float32.onnx", "int8.onnx")),
    ("float32.onnx", "int8.onnx"),
    ("int8.tflite", "int8.onnx"),
    ("int8.tflite", "float32.onnx"),
    ("int8.onnx", "int8.tflite"),
    ("int8.onnx", "network.keras"),
]


@pytest.mark.parametrize(("reference", "candidate"), HEALTHY)
def test_healthy_files_pass_in_every_direction(reference, candidate, compared, files, images):
    found = compared(reference, candidate)
    assert [row.reason for row in found.rows if not row.passed] == []
    assert found.passed
    assert found.first is None
    assert len(found.rows) >= 12
    if "network.keras" not in (reference, candidate):  # whole networks are test_every_kind.py's
        assert is_same(files / reference, files / candidate, images)
    assert not found.unmatched_reference
    assert not found.unmatched_candidate
