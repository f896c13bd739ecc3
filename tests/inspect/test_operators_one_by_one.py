"""Every operator with its version, arithmetic and bytes; state; delegates; microcontrollers."""

import numpy as np
import onnx
import pytest

from edgekd import flatbuffer
from edgekd.errors import ModelError
from edgekd.inspect import _delegation, inspect_model

MAP = 8 * 8 * 16 * 4


def by_name(found, name):
    return next(node for node in found.nodes if node.operator == name)


def test_a_tflite_operator_has_its_kernel_version_attributes_and_bytes(files):
    found = inspect_model(files / "float32.tflite", check=False)
    depthwise = by_name(found, "DEPTHWISE_CONV_2D")
    assert depthwise.macs == 64 * 16 * 9
    assert depthwise.weights_bytes == 4 * (9 * 16 + 16)
    assert depthwise.made_bytes == MAP
    assert depthwise.version == 1
    assert depthwise.attributes["padding"] == "SAME"
    assert depthwise.attributes["strideW"] == 1
    assert by_name(found, "CONV_2D").attributes["fusedActivationFunction"] == "RELU"
    kernel, bias = (found.tensors[index] for index in depthwise.inputs[1:])
    assert (kernel.shape, kernel.role, bias.shape) == ((1, 3, 3, 16), "constant", (16,))
    # Each operator reads what an earlier one made.
    made = {found.tensors.index(found.tensors[index]) for node in found.nodes for index in node.outputs}
    activations = {index for index, each in enumerate(found.tensors) if each.role in ("activation", "output")}
    assert made == activations
    assert sum(node.macs for node in found.nodes) == found.macs
    assert [graph.operators for graph in found.subgraphs] == [len(found.nodes)]


def test_an_onnx_operator_has_the_opset_that_defined_it(files):
    found = inspect_model(files / "float32.onnx", check=False)
    conv = by_name(found, "Conv")
    assert conv.version == onnx.defs.get_schema("Conv", 13).since_version
    assert conv.attributes["kernel_shape"] == [3, 3]
    assert conv.name
    assert found.tensors[conv.inputs[1]].role == "constant"
    assert conv.weights_bytes == sum(found.tensors[index].size_bytes for index in conv.inputs[1:])
    assert sum(node.macs for node in found.nodes) == found.macs


def test_shapes_that_follow_from_values_are_found(tmp_path):
    """[batch, 12] is reshaped to what is computed from its own shape: only then has the product sizes."""
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["batch"]),
        helper.make_node("Concat", ["batch", "four"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["rows"]),
        helper.make_node("MatMul", ["rows", "kernel"], ["y"]),
    ]
    initial = [
        onnx.numpy_helper.from_array(np.array([0], np.int64), "zero"),
        onnx.numpy_helper.from_array(np.array([3, 4], np.int64), "four"),
        onnx.numpy_helper.from_array(np.zeros((4, 5), np.float32), "kernel"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", kinds.FLOAT, ["n", 12])], [value("y", kinds.FLOAT, ["m", 3, 5])], initial
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "shapes.onnx"
    )
    found = inspect_model(tmp_path / "shapes.onnx", check=False)
    assert found.macs == 3 * 4 * 5
    assert found.memory is not None
    assert found.outputs[0].shape == (None, 3, 5)


def test_state_is_shown_and_lives_always(stateful):
    found = inspect_model(stateful, check=False)
    (variable,) = found.variables
    assert (variable.shape, variable.dtype, variable.size_bytes) == ((1, 4), "float32", 16)
    assert found.macs == 0
    assert min(found.memory.live_bytes) >= 16 + 16
    assert len(found.subgraphs) == 2
    assert {node.subgraph for node in found.nodes} == {0, 1}


@pytest.fixture(scope="module")
def stateful(tmp_path_factory):
    """A sum over all that was ever put in, as a resource variable."""
    import tensorflow as tf

    class Sum(tf.Module):
        def __init__(self):
            super().__init__()
            self.total = tf.Variable(tf.zeros((1, 4)), name="total")

        @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32)])
        def add(self, x):
            self.total.assign_add(x)
            return self.total.read_value() + 0.0 * x

    module = Sum()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.add.get_concrete_function()], module)
    converter.experimental_enable_resource_variables = True
    path = tmp_path_factory.mktemp("stateful") / "stateful.tflite"
    path.write_bytes(converter.convert())
    return path


def test_litert_tells_which_operators_its_delegate_took(files):
    """XNNPACK takes the whole float network."""
    found = inspect_model(files / "float32.tflite", delegates=True)
    assert found.delegation.delegate == "XNNPACK"
    assert found.delegation.operators == tuple(range(len(found.nodes)))
    assert found.delegation.partitions == 1
    assert found.delegation.note is None


def test_a_file_that_litert_cannot_prepare_is_inspected_with_delegates_unknown(files, tmp_path):
    model = flatbuffer.read((files / "float32.tflite").read_bytes())
    add = next(code for code in model.operatorCodes if flatbuffer.operator_name(code) == "ADD")
    add.builtinCode = add.deprecatedBuiltinCode = 32  # CUSTOM
    add.customCode = b"Nowhere"
    (tmp_path / "own.tflite").write_bytes(flatbuffer.pack(model))
    found = inspect_model(tmp_path / "own.tflite", delegates=True)
    assert found.delegation.operators is None
    assert "Nowhere" in found.delegation.note
    assert found.microcontroller.lacking == ("Nowhere",)


def step(inputs, outputs):
    return {"inputs": inputs, "outputs": outputs}


def test_replaced_operators_are_found_by_what_a_delegate_reads_and_makes():
    # 0 -> a -> 1 -> b -> 2 -> c; the side effect d reads 1, which never leaves the delegate.
    operators = [step([0], [1]), step([1], [2]), step([2], [3]), step([1], [])]
    assert _delegation.replaced(operators, [step([0], [2])]) == ({0, 1, 3}, set())
    # Two partitions around an operator that stays.
    chain = [step([0], [1]), step([1], [2]), step([2], [3])]
    assert _delegation.replaced(chain, [step([0], [1]), step([2], [3])]) == ({0, 2}, set())
    assert _delegation.replaced(chain, []) == (set(), set())


def test_a_side_effect_on_what_anyone_may_read_is_not_guessed():
    operators = [step([0], [1]), step([0], [])]
    assert _delegation.replaced(operators, [step([0], [1])]) == ({0}, {1})
    assert _delegation.replaced([step([0], [1]), step([], [])], [step([0], [1])]) == ({0}, set())


def test_the_arena_is_measured_where_it_is_asked_for(files):
    found = inspect_model(files / "int8.tflite", arena=True)
    assert found.microcontroller.lacking == ()
    assert 1024 < found.microcontroller.arena_bytes < 64 * 1024
    assert found.microcontroller.arena_bytes % 16 == 0
    assert inspect_model(files / "int8.tflite", check=False).microcontroller.arena_bytes is None
    with pytest.raises(ModelError, match="only TFLite files have an arena"):
        inspect_model(files / "float32.onnx", arena=True)
