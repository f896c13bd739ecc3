"""Every kind of source gives what its own library gives for the same images."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from edgekd.errors import ModelError, ShapeError
from edgekd.runtime import predict
from edgekd.teachers import saved_model

pytestmark = pytest.mark.usefixtures("kept_children")


@pytest.mark.parametrize(
    ("name", "loader", "tolerance"),
    [
        ("network.keras", "Keras 3", 1e-5),
        ("network.h5", "Keras 3", 1e-5),
        ("exported", "TensorFlow 2", 1e-5),
        ("two_outputs", "TensorFlow 2", 1e-5),
        ("varying.tflite", "LiteRT", 1e-5),
        ("batch_of_4.tflite", "LiteRT", 1e-5),
        ("varying.onnx", "ONNX Runtime", 1e-5),
        ("batch_of_4.onnx", "ONNX Runtime", 1e-5),
        ("int8.tflite", "LiteRT", 0.1),
        ("int8.onnx", "ONNX Runtime", 0.1),
    ],
)
def test_a_file_gives_the_logits_of_the_network_that_was_saved(
    name, loader, tolerance, folder, opened, images, reference
):
    teacher = opened(folder / name)
    logits = np.asarray(teacher.outputs(images)["logits"])
    assert logits.dtype == np.float32
    assert logits.shape == (7, 3)
    np.testing.assert_allclose(logits, reference[0], rtol=tolerance, atol=tolerance)
    assert teacher.loader.startswith(loader)
    assert len(teacher.sha256) == 64
    assert teacher.uncacheable == ""


def test_a_network_in_memory_gives_its_logits_and_maps(network, opened, images, reference):
    outputs = opened(network, wanted=["relu", "logits", "logits:input"]).outputs(images)
    assert list(outputs) == ["logits", "relu", "logits:input"]
    np.testing.assert_allclose(outputs["logits"], reference[0], rtol=1e-5)
    np.testing.assert_allclose(outputs["relu"], reference[1], rtol=1e-5)
    np.testing.assert_allclose(outputs["logits:input"], reference[1].mean(axis=(1, 2)), rtol=1e-5)


def test_tf_keras_reads_the_h5_file_that_keras_3_cannot_and_keras_stays_what_it_was(folder, legacy, opened, images):
    before = keras.Model
    with pytest.raises(ValueError, match="TFOpLambda"):
        keras.saving.load_model(folder / "legacy.h5", compile=False)
    teacher = opened(folder / "legacy.h5", wanted=["relu", "norm:input"])
    expected = legacy(images, training=False)
    assert teacher.loader.startswith("tf_keras 2")
    outputs = teacher.outputs(images)
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["norm:input"], legacy.get_layer("conv")(images / 0.5), rtol=1e-4, atol=1e-5)
    assert outputs["relu"].shape == (7, 2, 2, 4)
    assert keras.Model is before
    assert issubclass(keras.Model, keras.layers.Layer)


def test_a_tf_keras_network_in_memory_teaches(legacy, folder, opened, images):
    teacher = opened(legacy)
    np.testing.assert_allclose(teacher.outputs(images)["logits"], legacy(images, training=False), rtol=1e-5)
    assert teacher.sha256 == opened(folder / "legacy.h5").sha256


def test_further_outputs_of_a_saved_model_are_taps(folder, opened, images, reference):
    outputs = opened(str(folder / "two_outputs"), wanted=["relu"]).outputs(images)
    np.testing.assert_allclose(outputs["relu"], reference[1], rtol=1e-5)


def test_a_saved_object_without_signatures_is_called_in_inference_mode(tmp_path, images):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(np.random.default_rng(0).normal(size=(72, 3)).astype("float32"))

        @tf.function
        def __call__(self, x, training=False):
            x = tf.reshape(x, (-1, 72))
            return tf.matmul(tf.nn.dropout(x, 0.5) if training else x, self.kernel)

    module = Module()
    for training in (True, False):
        module.__call__.get_concrete_function(tf.TensorSpec((None, 6, 6, 2)), training=training)
    tf.saved_model.save(module, tmp_path / "saved")
    expected = images.reshape(7, 72) @ module.kernel.numpy()
    with saved_model.open_runner(tmp_path / "saved") as runner:
        np.testing.assert_allclose(predict(runner, images), expected, rtol=1e-4, atol=1e-5)


def with_second_output(source, target):
    """Makes the result of an ONNX file's first convolution an output, as other exporters do for feature maps."""
    model = onnx.load(source)
    (first, *_) = [node for node in model.graph.node if node.op_type == "Conv"]
    value = onnx.helper.make_tensor_value_info(first.output[0], onnx.TensorProto.FLOAT, ["batch", 4, 4, 4])
    model.graph.output.append(value)
    onnx.save(model, target)
    return first.output[0]


def test_further_outputs_of_an_onnx_file_are_taps_whose_channels_can_be_turned(folder, tmp_path, opened, images):
    # The inner maps of ONNX files have their channels first, whatever the input has.
    tap = with_second_output(folder / "varying.onnx", tmp_path / "two.onnx")
    found = np.asarray(opened(tmp_path / "two.onnx", wanted=[tap]).outputs(images)[tap])
    model = keras.saving.load_model(folder / "network.keras")
    expected = np.asarray(model.get_layer("conv")(images))
    if found.shape[1] == expected.shape[-1]:
        found = np.moveaxis(found, 1, -1)
    folded = np.asarray(model.get_layer("norm")(expected))
    assert min(np.abs(found - each).max() for each in (expected, folded)) < 1e-4


def test_a_teacher_with_its_channels_first_gets_turned_images_and_gives_turned_maps(tmp_path, opened, images):
    kernel = np.random.default_rng(3).normal(size=(3, 2, 1, 1)).astype("float32")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["map"]),
            helper.make_node("GlobalAveragePool", ["map"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["logits"]),
        ],
        "torch_like",
        [helper.make_tensor_value_info("x", float32, ["n", 2, 6, 6])],
        [
            helper.make_tensor_value_info("map", float32, ["n", 3, 6, 6]),
            helper.make_tensor_value_info("logits", float32, ["n", 3]),
        ],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "first.onnx")
    with pytest.raises(ShapeError, match=r"takes images of shape \[2, 6, 6\].*'channels_first'"):
        opened(tmp_path / "first.onnx")
    outputs = opened(tmp_path / "first.onnx", wanted=["map"], layout="channels_first").outputs(images)
    expected = np.einsum("nhwc,kc->nhwk", images, kernel[:, :, 0, 0])
    np.testing.assert_allclose(outputs["map"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs["logits"], expected.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["network.keras", "legacy.h5", "two_outputs", "varying.onnx", "int8.tflite"])
def test_a_tap_that_is_not_there_is_answered_with_those_that_are(name, folder, opened):
    known = {"network.keras": "relu", "legacy.h5": "relu", "two_outputs": "relu"}.get(name, "logits")
    with pytest.raises(ModelError, match=f"'rely'.*{known}"):
        opened(folder / name, wanted=["rely"])


def test_taps_of_files_say_which_sources_have_more(folder, opened):
    with pytest.raises(ModelError, match=r"Of a file only its outputs can be tapped.*Keras network"):
        opened(folder / "varying.tflite", wanted=["conv"])
    with pytest.raises(ModelError, match="nested networks can be tapped in Keras 3 networks only"):
        opened(folder / "legacy.h5", wanted=["inner/conv"])


def test_a_network_that_gives_back_its_images_teaches_with_its_channels_first_too(tmp_path, opened, images):
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["same"])],
        "torch_like",
        [helper.make_tensor_value_info("x", float32, ["n", 2, 6, 6])],
        [helper.make_tensor_value_info("same", float32, ["n", 2, 6, 6])],
        [onnx.numpy_helper.from_array(np.float32([[[2]], [[3]]]), "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "same.onnx")
    options = {"outputs": "reconstruction", "layout": "channels_first"}
    found = opened(tmp_path / "same.onnx", **options).outputs(images)["logits"]
    np.testing.assert_allclose(found, images * np.float32([2, 3]), rtol=1e-6)
    with pytest.raises(ShapeError, match=r"shape \[2, 6, 6\], but the data has 3 classes"):
        opened(tmp_path / "same.onnx", layout="channels_first")


@pytest.mark.parametrize("name", ["network.keras", "network.h5", "legacy.h5", "varying.tflite", "varying.onnx"])
def test_a_classifier_cannot_teach_to_give_back_images(folder, name, opened):
    with pytest.raises(ShapeError, match=r"outputs of shape \[3\] for samples of shape \[6, 6, 2\].* give back"):
        opened(folder / name, outputs="reconstruction")


def test_a_function_that_does_not_give_back_the_images_is_refused(opened, images):
    same = opened(lambda given: given, outputs="reconstruction")
    np.testing.assert_array_equal(same.outputs(images)["logits"], images)
    with pytest.raises(ShapeError, match=r"outputs of shape \[6, 6, 1\] for samples of shape \[6, 6, 2\]"):
        opened(lambda given: given[..., :1], outputs="reconstruction")
