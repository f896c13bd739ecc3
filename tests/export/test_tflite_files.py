"""What is inside a TFLite file: names, operators, signatures, and what becomes of operators that TFLite lacks."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from edgekd import flatbuffer
from edgekd.errors import ModelError
from edgekd.export import export_model
from edgekd.runtime import open_runner, predict


def export(model, path, **changes):
    arguments = {"format": "tflite", "scheme": "float32", "name": "student", "source": "student", **changes}
    return export_model(model, path, **arguments)


class Determinant(keras.layers.Layer):
    """TFLite has no operator for a determinant; TensorFlow's can stand in on a runtime that includes it."""

    def call(self, inputs):
        import tensorflow as tf

        return tf.linalg.det(tf.reshape(inputs, (-1, 2, 2)))[:, None]


class HyperbolicSine(keras.layers.Layer):
    """The converter offers no stand-in for this one."""

    def call(self, inputs):
        import tensorflow as tf

        return tf.math.asinh(inputs)


def four_numbers(layer):
    inputs = keras.Input((4,), name="numbers")
    return keras.Model(inputs, layer(inputs))


def test_an_operator_that_tflite_lacks_is_named_with_the_option_that_allows_it(tmp_path):
    with pytest.raises(ModelError, match=r"no built-in operator for MatrixDeterminant.*allow_select_tf_ops: true"):
        export(four_numbers(Determinant()), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_allowed_tensorflow_operators_are_written_with_a_warning_and_refused_by_the_runner(tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.warns(UserWarning, match=r"written but not run.*FlexMatrixDeterminant"):
        artifact = export(four_numbers(Determinant()), path, allow_select_tf_ops=True)
    assert artifact.outputs[0].shape == (1, 1)
    with pytest.raises(ModelError, match=r"contains TensorFlow operators \(FlexMatrixDeterminant\)"):
        open_runner(path)


def test_an_operator_without_any_stand_in_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"TFLite has no operator for Asinh"):
        export(four_numbers(HyperbolicSine()), tmp_path / "model.tflite", allow_select_tf_ops=True)


def test_the_option_changes_nothing_for_a_model_of_built_in_operators(model, tmp_path):
    plain = export(model, tmp_path / "plain.tflite")
    assert export(model, tmp_path / "allowed.tflite", allow_select_tf_ops=True).sha256 == plain.sha256


def test_tensors_are_named_after_layers_whatever_the_model_is_called(model, tmp_path):
    renamed = keras.Model(model.inputs, model.outputs, name="another_name")
    first = export(model, tmp_path / "first.tflite")
    second = export(renamed, tmp_path / "second.tflite")
    assert first.sha256 == second.sha256
    interpreter = Interpreter(str(tmp_path / "first.tflite"))
    names = {detail["name"] for detail in interpreter.get_tensor_details()}
    assert {"image", "logits", "block_add/Add", "pool/Mean"} <= names


def test_what_became_one_operator_is_named_after_its_layers(model, images, tmp_path):
    export(model, tmp_path / "model.tflite", scheme="int8", calibration=images)
    (graph,) = flatbuffer.read((tmp_path / "model.tflite").read_bytes()).subgraphs
    names = [tensor.name.decode() for tensor in graph.tensors]
    assert {"image", "logits", "stem_relu/Relu;stem", "stem/convolution", "pool/Mean"} <= set(names)
    assert len(set(names)) == len(names)


def test_only_what_is_stored_has_a_buffer(model, images, tmp_path):
    export(model, tmp_path / "model.tflite", scheme="int8", calibration=images)
    found = flatbuffer.read((tmp_path / "model.tflite").read_bytes())
    assert [number for number, buffer in enumerate(found.buffers) if buffer.data is None] == [0]
    stored = {tensor.buffer for tensor in found.subgraphs[0].tensors} | {entry.buffer for entry in found.metadata}
    assert stored == set(range(len(found.buffers)))


def test_an_int8_file_is_no_larger_than_the_stock_converters(model, images, tmp_path):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        stock = converter.convert()
    artifact = export(model, tmp_path / "model.tflite", scheme="int8", calibration=images)
    assert artifact.size_bytes <= len(stock)  # although it says where it comes from


def test_the_signature_names_input_and_output(model, tmp_path):
    export(model, tmp_path / "model.tflite", output_name="scores")
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["scores"]}}
    scores = interpreter.get_signature_runner()(image=np.zeros((1, 8, 8, 3), np.float32))["scores"]
    np.testing.assert_allclose(scores, model(np.zeros((1, 8, 8, 3))), atol=1e-5)


@pytest.mark.parametrize(
    ("input_name", "options", "message"),
    [
        ("logits", {}, "input and output would both be called 'logits': set another output_name"),
        ("my input", {}, "input cannot be called 'my input' .* name of the keras.Input"),
        ("numbers", {"output_name": "class scores"}, "output cannot be called 'class scores' .* as the output_name"),
        ("numbers", {"output_name": ""}, "output cannot be called ''"),
    ],
)
@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_names_that_a_file_cannot_hold_are_refused(format_name, input_name, options, message, tmp_path):
    inputs = keras.Input((4,), name=input_name)
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ModelError, match=message):
        export(model, tmp_path / f"model.{format_name}", format=format_name, **options)
    assert not list(tmp_path.iterdir())


def test_a_layer_whose_name_no_graph_can_hold_is_named_on_one_line(tmp_path):
    inputs = keras.Input((4,), name="numbers")
    model = keras.Model(inputs, keras.layers.Dense(2, name="my layer")(inputs))
    with pytest.raises(
        ModelError, match=r"cannot be traced as a TensorFlow graph: .*'my layer' is not a valid"
    ) as caught:
        export(model, tmp_path / "model.tflite")
    assert not {"\n", "\x1b"} & set(str(caught.value))
    later = keras.layers.Dense(2, name="later")
    later.build((None, 4))
    assert later.kernel.path == "later/kernel"  # Keras itself leaves the name scopes of the refused network open


def test_dynamic_int8_says_so_when_every_weight_is_too_small(build_model, tmp_path):
    with pytest.raises(ModelError, match="would quantise nothing: no weight of this model has the 1024 elements"):
        export(build_model(filters=4), tmp_path / "model.tflite", scheme="dynamic_int8")


def test_every_sample_counts_in_calibration(model, images, tmp_path):
    wide = np.concatenate([images, images[:1] * 10])
    narrow = export(model, tmp_path / "narrow.tflite", scheme="int8", calibration=images)
    widest = export(model, tmp_path / "wide.tflite", scheme="int8", calibration=wide, input_dtype="int8")
    assert narrow.inputs[0].scale is None
    assert widest.inputs[0].scale == pytest.approx(wide.max() / 255, rel=1e-3)


@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_calibration_takes_place_in_the_files_own_batch_and_gives_the_same_ranges(format_name, images, tmp_path):
    # Flattening a static batch stores its size: calibrating such a file sample by sample fails.
    image = keras.Input((8, 8, 3), name="image")
    flat = keras.Model(image, keras.layers.Dense(5, name="logits")(keras.layers.Flatten(name="flatten")(image)))
    outputs, scales = [], []
    for batch in (1, 5):  # of 12 images
        path = tmp_path / f"{batch}.{format_name}"
        export(flat, path, format=format_name, scheme="int8", calibration=images, batch=batch, output_dtype="int8")
        with open_runner(path, check=False) as runner:
            assert runner.inputs[0].shape[0] == batch
            outputs.append(predict(runner, images))
            scales.append(runner.outputs[0].scale)
    assert scales[0] == pytest.approx(scales[1], rel=1e-6)
    assert np.max(np.abs(outputs[0] - outputs[1])) <= 1.001 * scales[0]


def test_batch_normalisation_runs_in_inference_mode(build_model, images, tmp_path):
    trained = build_model(seed=3)
    trained.get_layer("stem_bn").moving_mean.assign(np.linspace(-1, 1, 16))
    export(trained, tmp_path / "model.tflite", batch=None)
    with open_runner(tmp_path / "model.tflite", check=False) as runner:
        received = predict(runner, images)
    np.testing.assert_allclose(received, trained(images, training=False), atol=1e-5)


@pytest.fixture
def by_chance(images, tmp_path, monkeypatch):
    """Returns a function that exports a recurrent network as int8, where the first tries are to go wrong.

    A try that goes wrong is the converter's own file in float. It returns how many tries there were.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.LSTM(2, unroll=True, name="lstm")(keras.layers.Reshape((4, 48), name="rows")(image))
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x))
    export(model, tmp_path / "float.tflite")
    convert = tf.lite.TFLiteConverter.convert
    tries = []

    def export_with(wrong):
        def chance(converter):
            tries.append(converter)
            return (tmp_path / "float.tflite").read_bytes() if len(tries) <= wrong else convert(converter)

        monkeypatch.setattr(tf.lite.TFLiteConverter, "convert", chance)
        export(model, tmp_path / "int8.tflite", scheme="int8", calibration=images)
        return len(tries)

    return export_with


def test_what_the_converter_leaves_in_float_by_chance_is_converted_again(by_chance, tmp_path):
    assert by_chance(2) >= 3
    content = flatbuffer.read((tmp_path / "int8.tflite").read_bytes())
    (graph,) = content.subgraphs
    assert {flatbuffer.type_name(tensor.type) for tensor in graph.tensors} == {"float32", "int8", "int32"}
    outside = {*graph.inputs, *graph.outputs}
    assert all(
        flatbuffer.type_name(tensor.type) != "float32" or index in outside for index, tensor in enumerate(graph.tensors)
    )


def test_what_stays_in_float_however_often_it_is_converted_is_refused(by_chance, tmp_path):
    with pytest.raises(ModelError, match=r"SPLIT lstm/"):
        by_chance(100)
    assert not (tmp_path / "int8.tflite").exists()
