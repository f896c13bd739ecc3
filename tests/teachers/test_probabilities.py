"""Logits are wanted: probabilities are found wherever they come from, and their logarithm is as good."""

import keras
import numpy as np
import onnx
import pytest
import scipy.special
import tf_keras

from edgekd.errors import ModelError, RecipeError
from edgekd.export import export_model

pytestmark = pytest.mark.usefixtures("kept_children")


@pytest.fixture(scope="module")
def softmax(build_network):
    model = build_network(keras, activation="softmax")
    model.get_layer("logits").kernel.assign(0.05 * model.get_layer("logits").kernel)  # probabilities far from 0 and 1
    return model


@pytest.fixture(scope="module")
def files(softmax, tmp_path_factory, images):
    place = tmp_path_factory.mktemp("softmax")
    for name, scheme in (("float.tflite", "float32"), ("int8.tflite", "int8"), ("float.onnx", "float32")):
        export_model(
            softmax, place / name, format=name.rpartition(".")[2], scheme=scheme, batch=None, calibration=images,
            name=name, source="softmax", output_dtype="uint8" if scheme == "int8" else "float32",
        )  # fmt: skip
    return place


@pytest.mark.parametrize("name", ["float.tflite", "int8.tflite", "float.onnx"])
def test_a_file_that_gives_probabilities_is_refused_and_the_advice_mends_it(name, files, opened, images, softmax):
    with pytest.raises(ModelError, match=r"sums to (0\.99|1).*outputs to 'probabilities'"):
        opened(files / name)
    teacher = opened(files / name, outputs="probabilities")
    soft = scipy.special.softmax(np.asarray(teacher.outputs(images)["logits"]) / 4.0, axis=1)
    before_softmax = keras.Model(softmax.input, softmax.get_layer("dropout").output)(images, training=False)
    logits = np.asarray(before_softmax) @ np.asarray(softmax.layers[-1].kernel) + np.asarray(softmax.layers[-1].bias)
    expected = scipy.special.softmax(logits / 4.0, axis=1)
    np.testing.assert_allclose(soft, expected, atol=0.01 if name == "int8.tflite" else 1e-5)


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_network_that_ends_in_probabilities_is_refused_by_its_last_activation(
    library, activation, opened, build_network
):
    model = build_network(library, activation=activation)
    with pytest.raises(ModelError, match=f"teacher 'network' ends in {activation}: its outputs are not logits"):
        opened(model)


def test_probabilities_of_a_function_are_refused(opened):
    def teach(images):
        return scipy.special.softmax(images.reshape(len(images), -1)[:, :3], axis=1)

    with pytest.raises(ModelError, match=r"teacher '.*teach' sums to 1 and 1 per image.*To go on"):
        opened(teach)


def test_the_logarithm_of_a_probability_that_was_rounded_to_zero_is_finite(opened, images):
    teacher = opened(lambda images: np.tile(np.float32([1, 0, 0]), (len(images), 1)), outputs="probabilities")
    logits = np.asarray(teacher.outputs(images)["logits"])
    np.testing.assert_allclose(logits[0], [0.0, np.log(np.finfo(np.float32).tiny), np.log(np.finfo(np.float32).tiny)])


def test_logarithms_of_probabilities_are_logits(network, opened, images, reference):
    logits = keras.ops.log_softmax(network.output)
    found = opened(keras.Model(network.input, logits)).outputs(images)["logits"]
    np.testing.assert_allclose(found, scipy.special.log_softmax(reference[0], axis=1), rtol=1e-4, atol=1e-5)


def test_logits_that_are_called_probabilities_are_refused(network, folder, opened):
    for source in (network, folder / "varying.onnx"):
        with pytest.raises(ModelError, match=r"said to return probabilities, but .* leave outputs at 'logits'"):
            opened(source, outputs="probabilities")


def test_integer_logits_without_a_scale_are_refused(folder, tmp_path, opened):
    model = onnx.load(folder / "int8.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "int8.onnx")
    with pytest.raises(ModelError, match="has no scale and zero point"):
        opened(tmp_path / "int8.onnx")


def test_an_unknown_choice_is_answered_with_the_known_ones(network, opened):
    with pytest.raises(RecipeError, match=r"unknown teacher outputs 'probs'.*probabilities"):
        opened(network, outputs="probs")
    with pytest.raises(RecipeError, match=r"unknown teacher layout 'nchw'.*channels_first"):
        opened(network, layout="nchw")
