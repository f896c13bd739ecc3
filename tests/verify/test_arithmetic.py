"""How a file computes is read from its graph."""

import numpy as np
import onnx
import pytest

from edgekd import flatbuffer
from edgekd.errors import ModelError
from edgekd.runtime import open_runner
from edgekd.teachers.runnable import open_runnable
from edgekd.verify.activations import Activation
from edgekd.verify.arithmetic import arithmetic_of, integer_range
from edgekd.verify.identity import identity_of


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


def with_a_step_beside_it(folder, step, *, name="q.onnx"):
    """Writes y = dequantise(quantise(x)) with one scale, which is kept in q.bin beside the file."""
    folder.mkdir(exist_ok=True)
    value, node, types = onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [
            node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        "g",
        [value("x", types.FLOAT, [1, 3])],
        [value("y", types.FLOAT, [1, 3])],
        [
            onnx.numpy_helper.from_array(np.float32(step), "scale"),
            onnx.numpy_helper.from_array(np.int8(0), "zero"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    beside = {"save_as_external_data": True, "location": "q.bin", "size_threshold": 0}
    onnx.save_model(model, folder / name, **beside)
    return folder / name


def test_constants_beside_a_file_are_read_from_its_own_folder_only(tmp_path, monkeypatch):
    path = with_a_step_beside_it(tmp_path / "own", 0.25)
    with_a_step_beside_it(tmp_path / "elsewhere", 0.5)
    monkeypatch.chdir(tmp_path / "elsewhere")
    opened = open_runnable(path)
    opened.runner.close()
    assert opened.arithmetic.steps == {"y": 0.25}
    assert opened.arithmetic.ranges == {"x": (-32, 31.75)}
    (tmp_path / "own" / "q.bin").unlink()
    with pytest.raises(ModelError, match=r"q\.bin', which is missing"):
        arithmetic_of(path)
    with pytest.raises(ModelError):
        open_runnable(path)
    outside = onnx.load_model(tmp_path / "elsewhere" / "q.onnx", load_external_data=False)
    for each in outside.graph.initializer:
        each.external_data[0].value = "../elsewhere/q.bin"
    onnx.save(outside, tmp_path / "own" / "q.onnx")
    with pytest.raises(ModelError, match="no file beside it"):
        identity_of(path)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_file_that_is_damaged_is_one_error(suffix, tmp_path):
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(b"\x08\xff\xff\xff" * 9)
    for read in (arithmetic_of, identity_of):
        with pytest.raises(ModelError, match=r"is damaged|is not a TFLite model"):
            read(path)


@pytest.mark.parametrize("name", ["int8.tflite", "int8.onnx", "int8.tflite@tflite_micro"])
def test_files_are_read_in_a_child_process_only(name, kinds, monkeypatch):
    path = kinds / name.partition("@")[0]
    arithmetic, identity = arithmetic_of(path), identity_of(path)

    def refuse(*_, **__):
        raise AssertionError("a file from outside was read here")

    monkeypatch.setattr(flatbuffer, "read", refuse)
    monkeypatch.setattr(onnx, "load_model", refuse)
    opened = open_runnable(f"{kinds}/{name}")
    opened.runner.close()
    assert opened.arithmetic == arithmetic
    found = opened.identity
    assert (found.weights, found.scheme) == (identity.weights, "int8")
    assert {weights: rows.tolist() for weights, rows in found.channels.items()} == {
        weights: rows.tolist() for weights, rows in identity.channels.items()
    }


def test_the_range_of_integers_by_hand():
    assert integer_range("int8", 0.5, -28) == (-50, 77.5)
    assert integer_range("uint8", 0.25, 128) == (-32, 31.75)


def test_the_steep_function_of_an_output_is_found_in_tflite_files(tmp_path):
    import keras

    from edgekd.export import export_model

    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    samples = np.random.default_rng(0).random((8, 4), np.float32)
    export_model(
        network, tmp_path / "a.tflite", format="tflite", scheme="int8", calibration=samples, name="a", source="a"
    )
    (found,) = arithmetic_of(tmp_path / "a.tflite").activations.values()
    assert found.function == "softmax"
    # The logits' step: their range, with zero, in 255 steps.
    logits = samples @ network.get_weights()[0]
    assert found.step == pytest.approx((max(logits.max(), 0) - min(logits.min(), 0)) / 255, rel=0.05)


def onnx_file(path, nodes, constants):
    value, types = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node) for node in nodes],
        "g",
        [value("x", types.FLOAT, [1, 3])],
        [value("y", types.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(each, name) for name, each in constants.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


CONSTANTS = {"s": np.float32(0.25), "z": np.int8(0), "t": np.float32(1 / 256)}
QUANTISED = [("QuantizeLinear", ["x", "s", "z"], ["a"])]
RESTORED = [("DequantizeLinear", ["c", "t", "z"], ["y"])]


@pytest.mark.parametrize(
    ("nodes", "function"),
    [
        ([("DequantizeLinear", ["a", "s", "z"], ["b"]), ("Sigmoid", ["b"], ["f"])], "logistic"),
        ([("DequantizeLinear", ["a", "s", "z"], ["b"]), ("Softmax", ["b"], ["f"])], "softmax"),
    ],
)
def test_the_steep_function_of_an_output_is_found_in_onnx_files(nodes, function, tmp_path):
    rounded = [*QUANTISED, *nodes, ("QuantizeLinear", ["f", "t", "z"], ["c"]), *RESTORED]
    found = arithmetic_of(onnx_file(tmp_path / "a.onnx", rounded, CONSTANTS))
    assert found.activations == {"y": Activation(function, 0.25)}


def test_fused_operators_of_onnx_are_steep_too_and_others_are_not(tmp_path):
    fused = [*QUANTISED, ("QLinearSigmoid", ["a", "s", "z", "t", "z"], ["c"]), *RESTORED]
    found = arithmetic_of(onnx_file(tmp_path / "a.onnx", fused, CONSTANTS))
    assert found.activations == {"y": Activation("logistic", 0.25)}
    flat = [*QUANTISED, ("Relu", ["a"], ["c"]), *RESTORED]
    assert arithmetic_of(onnx_file(tmp_path / "b.onnx", flat, CONSTANTS)).activations == {}
