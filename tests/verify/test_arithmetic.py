"""How a file computes is read from its graph."""

import numpy as np
import onnx
import pytest

from edgekd.runtime import open_runner
from edgekd.verify.arithmetic import arithmetic_of, integer_range


@pytest.mark.parametrize("name", ["int8.tflite", "integers.tflite", "int8.onnx"])
def test_an_integer_file_tells_the_step_of_its_output_and_the_range_of_its_input(kinds, name):
    found = arithmetic_of(kinds / name)
    with open_runner(kinds / "integers.tflite", check=False) as runner:
        (source,), (target,) = runner.inputs, runner.outputs
    assert found.kind == "integer"
    assert found.steps == {"logits": pytest.approx(target.scale, rel=1e-6)}
    assert found.ranges == {"image": pytest.approx(integer_range("int8", source.scale, source.zero_point), rel=1e-6)}


@pytest.mark.parametrize(("name", "kind"), [("float32", "float32"), ("float16", "float16")])
def test_a_float_file_has_neither(kinds, name, kind):
    found = arithmetic_of(kinds / f"{name}.tflite")
    assert (found.kind, found.steps, found.ranges) == (kind, {}, {})


def test_weights_alone_may_be_quantised(tmp_path):
    value, node, types = onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [node("DequantizeLinear", ["w", "scale"], ["weights"]), node("MatMul", ["x", "weights"], ["y"])],
        "g",
        [value("x", types.FLOAT, [1, 3])],
        [value("y", types.FLOAT, [1, 2])],
        [
            onnx.numpy_helper.from_array(np.ones((3, 2), np.int8), "w"),
            onnx.numpy_helper.from_array(np.float32(0.5), "scale"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "weights.onnx")
    found = arithmetic_of(tmp_path / "weights.onnx")
    assert (found.kind, found.steps, found.ranges) == ("weights", {}, {})


def test_the_range_of_integers_by_hand():
    assert integer_range("int8", 0.5, -28) == (-50, 77.5)
    assert integer_range("uint8", 0.25, 128) == (-32, 31.75)
