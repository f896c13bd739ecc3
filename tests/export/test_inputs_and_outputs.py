"""Names, order, shapes and number of a file's inputs and outputs are the user's, whatever library the model is of."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from edgekd import quantize
from edgekd.errors import ModelError, RecipeError
from edgekd.export import export_model
from edgekd.quantize import aware
from edgekd.runtime import open_runner, predict_outputs
from edgekd.verify.tolerances import float_tolerance

FORMATS = ["tflite", "onnx"]


def export(model, path, **changes):
    arguments = {"format": path.suffix[1:], "scheme": "float32", "name": "m", "source": "m", **changes}
    return export_model(model, path, **arguments)


def two_by_two():
    """Returns image and scalar -> (their weighted sum, twice the image's mean), so that no two are alike."""
    image, scalar = keras.Input((2, 3), name="image"), keras.Input((1,), name="scalar")
    mean = layers.GlobalAveragePooling1D(name="mean")(image)
    weighted = layers.Add(name="weighted")([layers.Dense(3, name="dense")(mean), scalar])
    return keras.Model([image, scalar], [weighted, layers.Rescaling(2.0, name="doubled")(mean)])


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return two_by_two()


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return {"image": rng.random((1, 2, 3), np.float32), "scalar": rng.random((1, 1), np.float32)}


def run(path, arrays):
    """Returns the file's input names, and its outputs by name, in its own order."""
    with open_runner(path, check=False) as runner:
        outputs = runner.run([arrays[spec.name] for spec in runner.inputs])
        return [spec.name for spec in runner.inputs], dict(
            zip([spec.name for spec in runner.outputs], outputs, strict=True)
        )


@pytest.mark.parametrize("suffix", FORMATS)
def test_several_inputs_and_outputs_keep_the_models_order_and_names(suffix, model, arrays, tmp_path):
    artifact = export(model, tmp_path / f"m.{suffix}")
    names, outputs = run(tmp_path / f"m.{suffix}", arrays)
    assert names == ["image", "scalar"]
    assert list(outputs) == ["weighted", "doubled"]
    assert [spec.shape for spec in artifact.inputs] == [(1, 2, 3), (1, 1)]
    weighted, doubled = model([arrays["image"], arrays["scalar"]])
    np.testing.assert_allclose(outputs["weighted"], weighted, atol=1e-6)
    np.testing.assert_allclose(outputs["doubled"], 2 * arrays["image"].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(doubled, outputs["doubled"], atol=1e-6)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_mapping_sets_names_and_order_and_leaves_outputs_out(suffix, model, arrays, tmp_path):
    path = tmp_path / f"m.{suffix}"
    export(model, path, input_names={"scalar": "offset", "image": "picture"}, output_names={"doubled": "mean_2"})
    names, outputs = run(path, {"offset": arrays["scalar"], "picture": arrays["image"]})
    assert names == ["offset", "picture"]
    assert list(outputs) == ["mean_2"]
    np.testing.assert_allclose(outputs["mean_2"], 2 * arrays["image"].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("suffix", FORMATS)
def test_outputs_can_be_turned_round(suffix, model, arrays, tmp_path):
    path = tmp_path / f"m.{suffix}"
    export(model, path, input_names=["a", "b"], output_names={"doubled": "x", "weighted": "y"})
    names, outputs = run(path, {"a": arrays["image"], "b": arrays["scalar"]})
    assert names == ["a", "b"]
    assert list(outputs) == ["x", "y"]
    np.testing.assert_allclose(outputs["x"], 2 * arrays["image"].mean(axis=1), atol=1e-6)


def test_the_signature_has_the_names_and_binds_them_to_the_right_tensors(model, arrays, tmp_path):
    path = tmp_path / "m.tflite"
    export(model, path, input_names={"scalar": "offset", "image": "picture"})
    interpreter = Interpreter(str(path))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["offset", "picture"], "outputs": ["doubled", "weighted"]}
    }
    outputs = interpreter.get_signature_runner("serving_default")(offset=arrays["scalar"], picture=arrays["image"])
    np.testing.assert_allclose(outputs["doubled"], 2 * arrays["image"].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(outputs["weighted"], model([arrays["image"], arrays["scalar"]])[0], atol=1e-6)


def test_every_scheme_keeps_the_names(tmp_path):
    image = keras.Input((16,), name="image")
    network = keras.Model(image, layers.Dense(80, name="dense")(image))  # large enough for every scheme
    samples = np.random.default_rng(0).random((8, 16), np.float32)
    schemes = [scheme for scheme in quantize.all_schemes() if "tflite" in scheme.formats]
    assert len(schemes) > 5
    for scheme in schemes:
        calibration = samples if scheme.needs_calibration else None
        names = {"input_names": ["features"], "output_names": ["scores"]}
        artifact = export(network, tmp_path / "m.tflite", scheme=scheme.name, calibration=calibration, **names)
        assert [spec.name for spec in (*artifact.inputs, *artifact.outputs)] == ["features", "scores"], scheme.name


def test_dictionaries_of_inputs_and_outputs_are_taken_by_name(arrays, tmp_path):
    inputs = {"scalar": keras.Input((1,), name="scalar"), "image": keras.Input((2, 3), name="image")}
    total = layers.GlobalAveragePooling1D()(inputs["image"]) + inputs["scalar"]
    export(keras.Model(inputs, {"total": total, "again": total * 3.0}), tmp_path / "m.tflite")
    _, outputs = run(tmp_path / "m.tflite", arrays)
    expected = arrays["image"].mean(axis=1) + arrays["scalar"]
    assert set(outputs) == {"total", "again"}
    np.testing.assert_allclose(outputs["total"], expected, atol=1e-6)
    np.testing.assert_allclose(outputs["again"], 3 * expected, atol=1e-6)


REFUSED = {
    "unknown input": ({"input_names": {"imag": "x", "scalar": "y"}}, RecipeError, "'imag'. Did you mean 'image'"),
    "an input left out": ({"input_names": {"image": "x"}}, RecipeError, "leaves out scalar: name every input"),
    "too few names": ({"output_names": ["x"]}, RecipeError, r"expected 2 name\(s\), for weighted, doubled"),
    "a text for names": ({"input_names": "ab"}, RecipeError, "input_names is 'ab'"),
    "no outputs": ({"output_names": {}}, RecipeError, "leaves out weighted, doubled"),
    "one name twice": ({"input_names": ["x", "x"]}, ModelError, "several inputs would be called 'x'"),
    "one name for both": ({"input_names": ["x", "doubled"]}, ModelError, "both be called 'doubled'"),
    "unknown shape": ({"shape": {"picture": [2, 3]}}, RecipeError, "'picture'.*Known: image, scalar"),
    "one shape for two": ({"shape": [2, 3]}, RecipeError, "has 2 inputs: give shape as a mapping"),
    "another shape": ({"shape": {"image": [4, 3]}}, ModelError, r"shape \[2, 3\], which \[4, 3\] does not fit"),
    "two ways to name": ({"output_names": ["x", "y"], "output_name": "z"}, RecipeError, "give one of them"),
    "calibration": ({"scheme": "int8"}, ModelError, r"has 2 inputs \(image, scalar\), and scheme 'int8' is calibrated"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_does_not_fit_before_it_writes(case, model, tmp_path):
    changes, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        export(model, tmp_path / "m.tflite", **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_open_image_size_is_fixed_by_shape(suffix, tmp_path):
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(image)
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(x))
    artifact = export(model, tmp_path / f"m.{suffix}", shape=[8, 6, 3])
    assert artifact.inputs[0].shape == (1, 8, 6, 3)
    sample = np.random.default_rng(0).random((1, 8, 6, 3), np.float32)
    _, outputs = run(tmp_path / f"m.{suffix}", {"image": sample})
    np.testing.assert_allclose(outputs["logits"], model(sample), atol=1e-5)
    with pytest.raises(ModelError, match=r"\[None, None, 3\], which \[8, 6, 1\] does not fit"):
        export(model, tmp_path / f"m.{suffix}", shape=[8, 6, 1])


@keras.saving.register_keras_serializable("edgekd_tests")
class Subclassed(keras.Model):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.hidden, self.last = layers.Dense(8, activation="relu", name="hidden"), layers.Dense(2, name="last")

    def call(self, inputs):
        return self.last(self.hidden(inputs))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_subclassed_model_that_was_called_once_is_exported(suffix, tmp_path):
    model, sample = Subclassed(), np.random.default_rng(0).random((1, 5), np.float32)
    expected = model(sample)
    artifact = export(model, tmp_path / f"m.{suffix}", input_names=["features"], output_names=["scores"])
    assert artifact.inputs[0].shape == (1, 5)
    _, outputs = run(tmp_path / f"m.{suffix}", {"features": sample})
    np.testing.assert_allclose(outputs["scores"], expected, atol=1e-5)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_saved_models_signature_is_exported_with_its_own_names(suffix, tmp_path):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(np.random.default_rng(0).random((4, 3), np.float32))

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="features")])
        def serve(self, features):
            return {"product": features @ self.kernel, "norm": tf.reduce_sum(features**2, axis=1, keepdims=True)}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.serve)
    loaded, again = (tf.saved_model.load(str(tmp_path / "saved")) for _ in range(2))
    sample = np.random.default_rng(1).random((1, 4), np.float32)
    first = export(loaded.signatures["serving_default"], tmp_path / f"m.{suffix}")
    _, outputs = run(tmp_path / f"m.{suffix}", {"features": sample})
    np.testing.assert_allclose(outputs["product"], sample @ module.kernel.numpy(), atol=1e-5)
    np.testing.assert_allclose(outputs["norm"], (sample**2).sum(axis=1, keepdims=True), atol=1e-5)
    assert export(again.signatures["serving_default"], tmp_path / f"m.{suffix}").sha256 == first.sha256


def test_a_signature_that_outlived_its_module_is_an_error_in_words(tmp_path):
    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
        def serve(self, features):
            return features * self.scale

    def signature():
        module = Module()
        return module.serve.get_concrete_function()

    function = signature()
    gc.collect()
    with pytest.raises(
        ModelError, match=r"variables of function .* are gone: keep what tf\.saved_model\.load returned"
    ):
        export(function, tmp_path / "m.tflite")


def test_a_function_for_one_batch_size_says_which(tmp_path):
    function = tf.function(lambda x: 2.0 * x, input_signature=[tf.TensorSpec((3, 4), tf.float32, name="x")])
    with pytest.raises(ModelError, match="was made for batches of 3: export it with batch=3"):
        export(function.get_concrete_function(), tmp_path / "m.tflite")
    artifact = export(function.get_concrete_function(), tmp_path / "m.tflite", batch=3)
    assert artifact.inputs[0].shape == (3, 4)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_tf_keras_model_is_exported(suffix, tmp_path):
    import tf_keras

    image = tf_keras.Input((6, 6, 2), name="image")
    x = tf_keras.layers.Conv2D(3, 3, activation="relu", name="conv")(image)
    model = tf_keras.Model(image, tf_keras.layers.GlobalAveragePooling2D(name="pool")(x))
    artifact = export(model, tmp_path / f"m.{suffix}", batch=None)
    sample = np.random.default_rng(0).random((4, 6, 6, 2), np.float32)
    with open_runner(tmp_path / f"m.{suffix}", check=False) as runner:
        (received,) = runner.run([sample])
    assert [artifact.inputs[0].name, artifact.outputs[0].name] == ["image", "logits"]
    np.testing.assert_allclose(received, model(sample), atol=1e-5)


@pytest.fixture(scope="module")
def int8_network():
    """Returns a fake-quantised network with outputs of three ranges, and its samples."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    scores = layers.Dense(5, name="scores")(layers.GlobalAveragePooling2D(name="pool")(x))
    outputs = [layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x), scores, layers.Softmax(name="shares")(scores)]
    samples = np.random.default_rng(0).random((16, 6, 6, 3), np.float32)
    return aware.quantize_aware(keras.Model(image, outputs), samples), samples


@pytest.mark.parametrize(
    ("suffix", "dtype", "names", "expected"),
    [
        ("tflite", "int8", None, {"mask": 0, "scores": 1, "shares": 2}),
        ("onnx", "uint8", {"shares": "p", "mask": "where"}, {"p": 2, "where": 0}),
        ("tflite", "float32", ["a", "b", "c"], {"a": 0, "b": 1, "c": 2}),
    ],
)
def test_several_outputs_of_an_int8_network_keep_their_layers_names_or_get_the_users(
    suffix, dtype, names, expected, int8_network, tmp_path
):
    model, samples = int8_network
    path = tmp_path / f"m.{suffix}"
    artifact = export(
        model, path, scheme="int8", input_dtype=dtype, output_dtype=dtype, input_names=["picture"], output_names=names
    )
    assert [(spec.name, spec.dtype) for spec in artifact.inputs] == [("picture", dtype)]
    assert [(spec.name, spec.dtype) for spec in artifact.outputs] == [(name, dtype) for name in expected]
    steps = [model.get_layer(f"{layer}_range").scale() for layer in ("mask", "scores", "shares")]
    real = [output.numpy() for output in model(samples, training=False)]
    with open_runner(path, check=False) as runner:
        found = predict_outputs(runner, samples, names=list(expected))
    for name, position in expected.items():
        assert np.abs(found[name] - real[position]).max() <= 1.01 * steps[position]
    if suffix == "tflite":
        signature = Interpreter(str(path)).get_signature_list()["serving_default"]
        assert signature == {"inputs": ["picture"], "outputs": sorted(expected)}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_sequential_network_that_was_never_called_is_exported(suffix, tmp_path):
    model = keras.Sequential([keras.Input((4,), name="features"), layers.Dense(3, name="scores")])
    path = tmp_path / f"m.{suffix}"
    artifact = export(model, path)
    assert ([each.name for each in artifact.inputs], artifact.outputs[0].name) == (["features"], "logits")
    sample = np.random.default_rng(0).random((1, 4), np.float32)
    with open_runner(path, check=False) as runner:
        (received,) = runner.run([sample])
    kernel, bias = model.get_weights()
    expected = sample @ kernel + bias
    assert np.abs(received - expected).max() <= float_tolerance(expected)
