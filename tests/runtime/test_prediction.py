"""predict(): real numbers in and out, whatever batch and dtypes the file has."""

import logging
import os

import numpy as np
import onnx
import pytest

from edgekd.errors import ModelError, NonFiniteError, ShapeError
from edgekd.records import TensorSpec
from edgekd.runtime import dequantise, open_runner, predict, quantise
from edgekd.runtime.native_output import captured_stderr

pytestmark = pytest.mark.usefixtures("kept_children")

INPUT = TensorSpec(name="x", shape=(1,), dtype="int8", scale=0.5, zero_point=-3)


@pytest.mark.parametrize(
    "name", ["static.tflite", "batch_of_5.tflite", "varying.tflite", "static.onnx", "varying.onnx"]
)
@pytest.mark.parametrize("batch_size", [4, 100])
def test_every_batch_gives_one_row_per_sample(name, batch_size, files, network, images):
    with open_runner(files / name, check=False) as runner:
        received = predict(runner, images, batch_size=batch_size)
    assert received.shape == (13, 4)
    np.testing.assert_allclose(received, network(images), atol=1e-6)


@pytest.mark.parametrize("name", ["int8_inputs.tflite", "int8_inputs.onnx"])
def test_integer_inputs_give_exactly_what_float_inputs_give(name, files):
    """The float file quantises its inputs itself (QUANTIZE), so a rounding of our own that differs would show."""
    many = np.random.default_rng(1).random((200, 6, 6, 3), dtype=np.float32)
    with open_runner(files / "int8.tflite", check=False) as floats, open_runner(files / name, check=False) as integers:
        np.testing.assert_array_equal(predict(floats, many), predict(integers, many))


def test_quantise_rounds_half_to_even_and_saturates():
    real = np.float32([-0.75, -0.25, 0.25, 0.75, 1.25, 0.24, 1000, -1000])
    # real / 0.5 = -1.5 -0.5 0.5 1.5 2.5 0.48 ..., to even: -2 0 0 2 2 0, then minus 3
    np.testing.assert_array_equal(quantise(real, INPUT), np.int8([-5, -3, -3, -1, -1, -3, 127, -128]))


def test_quantise_does_as_litert_does_at_every_tie(tmp_path):
    """Max pooling keeps its input's scale, so the file's int8 output is what QUANTIZE made of the float input."""
    import keras

    from edgekd.export import export_model

    inputs = keras.Input((16, 16, 1), name="image")
    model = keras.Model(inputs, keras.layers.MaxPooling2D(1, name="same")(inputs))
    span = np.linspace(-4, 4 * 127 / 128, 256, dtype=np.float32).reshape(1, 16, 16, 1)
    path = tmp_path / "quantise.tflite"
    export_model(
        model, path, format="tflite", scheme="int8", name="q", source="q", calibration=span, output_dtype="int8"
    )
    with open_runner(path) as runner:
        (spec,) = runner.outputs
        ties = ((np.arange(256) - 128.5) * np.float32(spec.scale)).astype(np.float32).reshape(1, 16, 16, 1)
        (received,) = runner.run([ties])
    np.testing.assert_array_equal(received, quantise(ties, spec))


def test_dequantise_undoes_quantise_to_half_a_step():
    every = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(dequantise(every, INPUT), (np.arange(-128, 128) + 3) * np.float32(0.5))
    np.testing.assert_array_equal(quantise(dequantise(every, INPUT), INPUT), every)


def test_quantised_numbers_need_a_scale_and_finite_values():
    plain = TensorSpec(name="x", shape=(1,), dtype="int8")
    with pytest.raises(ModelError, match=r"'x' \(int8\) has no scale"):
        quantise(np.float32([1]), plain)
    with pytest.raises(NonFiniteError, match="'x' contain NaN"):
        quantise(np.float32([np.nan]), INPUT)
    with pytest.raises(ModelError, match="dtype int8, received uint8"):
        dequantise(np.uint8([1]), INPUT)


@pytest.mark.parametrize("shape", [(0, 6, 6, 3), ()])
def test_no_samples_are_an_error(shape, files):
    with open_runner(files / "varying.tflite") as runner, pytest.raises(ShapeError, match="no samples"):
        predict(runner, np.zeros(shape, np.float32))


def test_samples_of_another_shape_name_both_shapes(files):
    with (
        open_runner(files / "varying.tflite") as runner,
        pytest.raises(ShapeError, match=r"takes samples of shape \[6, 6, 3\], received \[8, 8, 3\]"),
    ):
        predict(runner, np.zeros((2, 8, 8, 3), np.float32))


def test_samples_that_are_not_float32_are_refused(files):
    with (
        open_runner(files / "varying.tflite") as runner,
        pytest.raises(ModelError, match="are uint8, expected float32"),
    ):
        predict(runner, np.zeros((2, 6, 6, 3), np.uint8))


def made(tmp_path, nodes, inputs, outputs):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node) for node in nodes],
        "g",
        [value(name, onnx.TensorProto.FLOAT, shape) for name, shape in inputs],
        [value(name, onnx.TensorProto.FLOAT, shape) for name, shape in outputs],
    )
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_several_inputs_where_one_is_needed_are_named(tmp_path):
    path = made(tmp_path, [("Add", ["a", "b"], ["c"])], [("a", [1, 2]), ("b", [1, 2])], [("c", [1, 2])])
    with open_runner(path) as runner, pytest.raises(ModelError, match=r"has 2 inputs \(a, b\), one is needed"):
        predict(runner, np.zeros((1, 2), np.float32))


def test_an_output_without_the_batch_is_an_error(tmp_path):
    path = made(tmp_path, [("ReduceSum", ["a"], ["b"])], [("a", [2, 2])], [("b", [1, 1])])
    with open_runner(path) as runner, pytest.raises(ShapeError, match="its first dimension is not the batch"):
        predict(runner, np.zeros((2, 2), np.float32))


def say_and_raise(words, error):
    with captured_stderr():
        os.write(2, words)
        raise error


def test_native_chatter_is_shown_only_when_something_unexpected_happens(capfd):
    with captured_stderr() as text:
        os.write(2, b"chatter\n")
        assert text() == "chatter\n"
    with pytest.raises(ModelError):
        say_and_raise(b"chatter\n", ModelError("explained"))
    with pytest.raises(KeyboardInterrupt):
        say_and_raise(b"chatter\n", KeyboardInterrupt())
    assert capfd.readouterr().err == ""
    with pytest.raises(ZeroDivisionError):
        say_and_raise(b"a clue\n", ZeroDivisionError())
    assert capfd.readouterr().err == "a clue\n"


def test_debugging_shows_all_chatter(capfd, caplog):
    with caplog.at_level(logging.DEBUG, logger="edgekd"), captured_stderr():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == "chatter\n"
