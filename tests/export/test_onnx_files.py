"""What is inside an ONNX file: opset, layout, names, integers, and an order that depends on the model alone."""

import contextlib
import io

import keras
import numpy as np
import onnx
import onnx.reference
import pytest
import tf2onnx.utils

from edgekd.errors import ModelError, RecipeError
from edgekd.export import export_model
from edgekd.export._onnx_order import canonical
from edgekd.runtime import open_runner, predict
from edgekd.runtime.native_output import captured_stderr


def export(model, path, **changes):
    arguments = {"format": "onnx", "scheme": "float32", "name": "student", "source": "student", **changes}
    return export_model(model, path, **arguments)


@pytest.mark.parametrize("opset", [17.0, True, "17"])
def test_an_opset_that_is_not_a_whole_number_is_refused(opset, model, tmp_path):
    with pytest.raises(RecipeError, match="opset must be a whole number, got"):
        export(model, tmp_path / "model.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [12, 19])
def test_an_opset_out_of_range_is_refused(opset, model, tmp_path):
    with pytest.raises(RecipeError, match=r"opset .* cannot be written: choose 13 to 18"):
        export(model, tmp_path / "model.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [13, 18])
def test_the_file_has_the_opset_asked_for(opset, model, tmp_path):
    export(model, tmp_path / "model.onnx", opset=opset)
    imports = onnx.load(tmp_path / "model.onnx").opset_import
    assert {each.domain: each.version for each in imports}[""] == opset


def test_images_stay_channels_last_and_the_varying_batch_has_a_name(model, tmp_path):
    artifact = export(model, tmp_path / "model.onnx", batch=None)
    assert artifact.inputs[0].shape == (None, 8, 8, 3)
    (source,) = onnx.load(tmp_path / "model.onnx").graph.input
    assert source.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_int8_returns_the_same_integers_as_the_tflite_file(model, images, tmp_path):
    for format_name in ("tflite", "onnx"):
        export(
            model,
            tmp_path / f"model.{format_name}",
            format=format_name,
            scheme="int8",
            calibration=images,
            input_dtype="int8",
            output_dtype="int8",
        )
    paths = [tmp_path / f"model.{suffix}" for suffix in ("tflite", "onnx")]
    with open_runner(paths[0], check=False) as first, open_runner(paths[1], check=False) as second:
        assert first.inputs == second.inputs
        assert first.outputs == second.outputs
        np.testing.assert_array_equal(predict(first, images), predict(second, images))


def test_an_int8_file_is_no_larger_than_that_of_onnxruntimes_own_quantiser(model, images, tmp_path):
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [{"image": image[None]} for image in images]

        def get_next(self):
            return self.left.pop() if self.left else None

    export(model, tmp_path / "float32.onnx")
    quant_pre_process(str(tmp_path / "float32.onnx"), str(tmp_path / "prepared.onnx"), skip_symbolic_shape=True)
    with contextlib.redirect_stdout(io.StringIO()), captured_stderr():
        quantize_static(
            str(tmp_path / "prepared.onnx"),
            str(tmp_path / "theirs.onnx"),
            Reader(),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    ours = export(model, tmp_path / "ours.onnx", scheme="int8", calibration=images)
    assert ours.size_bytes <= (tmp_path / "theirs.onnx").stat().st_size  # although it says where it comes from


def test_grouped_convolutions_become_convolutions_with_groups(tmp_path):
    # Keras wraps them in a function of their own, which no ONNX file can hold.
    image = keras.Input((6, 6, 4), name="image")
    grouped = keras.Model(image, keras.layers.Conv2D(8, 3, groups=2, name="grouped")(image))
    export(grouped, tmp_path / "model.onnx")
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    (convolution,) = [node for node in nodes if node.op_type == "Conv"]
    assert {each.name: each.i for each in convolution.attribute}["group"] == 2
    sample = np.random.default_rng(0).random((1, 6, 6, 4), np.float32)
    with open_runner(tmp_path / "model.onnx", check=False) as runner:
        (received,) = runner.run([sample])
    np.testing.assert_allclose(received, grouped(sample), atol=1e-5)


def test_no_transposes_stand_around_a_quantised_batch_normalisation(images, tmp_path):
    # Normalisation before a convolution multiplies by a quantised constant, where tf2onnx leaves two of them.
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(8, 3, padding="same", name="stem")(image)
    for block in ("a", "b"):
        y = keras.layers.ReLU(name=f"{block}_relu")(keras.layers.BatchNormalization(name=f"{block}_bn")(x))
        y = keras.layers.Conv2D(8, 3, padding="same", name=f"{block}_conv")(y)
        x = keras.layers.Add(name=f"{block}_add")([x, y])
    residual = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pool")(x))
    for kind in ("onnx", "tflite"):
        export(
            residual, tmp_path / f"model.{kind}", format=kind, scheme="int8", calibration=images, output_dtype="int8"
        )
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert sum(node.op_type == "Transpose" for node in nodes) <= 1  # of the image
    assert {node.domain for node in nodes} == {""}
    assert len({node.name for node in nodes}) == len(nodes)
    with (
        open_runner(tmp_path / "model.tflite", check=False) as first,
        open_runner(tmp_path / "model.onnx", check=False) as second,
    ):
        assert first.outputs == second.outputs
        np.testing.assert_allclose(predict(first, images), predict(second, images), atol=1.001 * first.outputs[0].scale)


def test_an_operator_that_onnx_lacks_is_named(tmp_path):
    class LogGamma(keras.layers.Layer):
        def call(self, inputs):
            import tensorflow as tf

            return tf.math.lgamma(inputs)

    inputs = keras.Input((4,), name="numbers")
    with pytest.raises(ModelError, match="ONNX has no operator for Lgamma"):
        export(keras.Model(inputs, LogGamma()(inputs)), tmp_path / "model.onnx")


def test_the_converters_own_counter_is_put_back(model, tmp_path):
    before = tf2onnx.utils.INTERNAL_NAME
    export(model, tmp_path / "model.onnx")
    after = tf2onnx.utils.INTERNAL_NAME
    assert after == before


def graph(order, names):
    """Returns relu(a) + transpose(a) * weight, with nodes in the given order and the given internal names."""
    helper = onnx.helper
    weight = onnx.numpy_helper.from_array(np.float32([2.0]), names["weight"])
    nodes = {
        "relu": helper.make_node("Relu", ["a"], [names["relu"]], name=names["relu"]),
        "transpose": helper.make_node("Transpose", ["a"], [names["transpose"]], name=names["transpose"], perm=[1, 0]),
        "multiply": helper.make_node("Mul", [names["transpose"], names["weight"]], [names["mul"]], name=names["mul"]),
        "add": helper.make_node("Add", [names["relu"], names["mul"]], ["b"], name="add"),
    }
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [nodes[key] for key in order],
        "g",
        [value("a", onnx.TensorProto.FLOAT, [2, 2])],
        [value("b", onnx.TensorProto.FLOAT, [2, 2])],
        [weight],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])


def test_the_canonical_order_and_names_depend_on_the_structure_alone():
    first = graph(
        ["relu", "transpose", "multiply", "add"],
        {"relu": "relu__7", "transpose": "x__1", "mul": "mul__3", "weight": "const__9"},
    )
    second = graph(
        ["transpose", "multiply", "relu", "add"],
        {"relu": "relu__2", "transpose": "other__5", "mul": "mul__8", "weight": "duplicate"},
    )
    assert first != second
    result = canonical(first)
    assert result.SerializeToString(deterministic=True) == canonical(second).SerializeToString(deterministic=True)
    assert [node.name for node in result.graph.node] == ["relu", "Transpose", "mul", "add"]
    assert [each.name for each in result.graph.initializer] == ["mul.B"]
    onnx.checker.check_model(result, full_check=True)
    a = np.float32([[-1, 2], [3, -4]])
    (b,) = onnx.reference.ReferenceEvaluator(result).run(None, {"a": a})
    np.testing.assert_array_equal(b, np.maximum(a, 0) + a.T * 2)
