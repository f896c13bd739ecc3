"""The int8 file computes what the fake-quantised network computes, for every layer and with layers left out."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

from edgekd import runtime
from edgekd.errors import ModelError, RecipeError
from edgekd.export import export_model, source_of
from edgekd.quantize import aware

Tensor = keras.KerasTensor


def squeeze_excite(x: Tensor) -> Tensor:
    gate = layers.Conv2D(2, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    gate = layers.Activation("hard_sigmoid")(layers.Conv2D(4, 1)(gate))
    return layers.Multiply()([x, gate])


def branches(x: Tensor) -> Tensor:
    wide = layers.Concatenate()([x, layers.Conv2D(3, 1, activation="relu")(x), layers.MaxPooling2D(3, 1, "same")(x)])
    wide = layers.Concatenate()([wide, layers.Conv2D(2, 3, padding="same")(wide)])
    return layers.Subtract()([layers.Conv2D(4, 1)(wide), x])


def sequence(x: Tensor) -> Tensor:
    x = layers.Reshape((36, 4))(x)
    x = layers.Conv1D(6, 3, padding="causal", activation="relu")(x)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(4, 3, strides=2, padding="same")(x)))
    x = layers.AveragePooling1D(2)(layers.DepthwiseConv1D(3)(x))
    return layers.Dense(5, activation="relu")(layers.ZeroPadding1D(1)(x))


def shapes(x: Tensor) -> Tensor:
    x = layers.Cropping2D(1)(layers.ZeroPadding2D(2)(x))
    x = layers.AveragePooling2D(2)(layers.UpSampling2D(2)(x))
    x = layers.Permute((2, 1, 3))(layers.Conv2D(4, 3, activation="leaky_relu")(layers.MaxPooling2D(2, 1)(x)))
    return layers.Dropout(0.5)(x)


def curves(x: Tensor) -> Tensor:
    x = layers.Activation("silu")(layers.BatchNormalization()(layers.SeparableConv2D(6, 3)(x)))
    x = layers.Activation("hard_silu")(layers.Conv2D(4, 1, activation="tanh")(x))
    return layers.Conv2D(4, 3, activation="sigmoid")(x)


def larger(x: Tensor) -> Tensor:
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2DTranspose(5, 3, strides=2, padding="same")(x)))
    x = layers.ReLU()(layers.BatchNormalization()(layers.MaxPooling2D(2)(x)))  # normalisation after no kernel
    return layers.Conv2D(4, 3, dilation_rate=2)(layers.ReLU(1.5)(x))


def dense(x: Tensor) -> Tensor:
    x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(12)(layers.Flatten()(x))))
    return layers.Softmax()(layers.Dense(6)(x))


def sums(x: Tensor) -> Tensor:
    x = layers.Add()([x, layers.Conv2D(4, 1)(x), layers.DepthwiseConv2D(3, padding="same")(x)])
    return keras.ops.relu(x + layers.Conv2D(4, 1)(x))


def bare_norms(x: Tensor) -> Tensor:
    """Normalisations with no ReLU behind, after kernels that have one scale."""
    x = layers.BatchNormalization()(layers.Conv2DTranspose(3, 3, strides=2)(x))
    x = layers.Activation("tanh")(layers.Conv2D(4, 3)(x))
    x = layers.BatchNormalization()(layers.Dense(6)(layers.Flatten()(x)))
    return layers.Activation("silu")(x)


def pools(x: Tensor) -> Tensor:
    joined = layers.Concatenate()([layers.AveragePooling2D(3, 1, "same")(x), layers.Conv2D(3, 1)(x)])
    return layers.ReLU()(layers.AveragePooling2D(2)(layers.Conv2D(4, 1)(joined)))


def with_zeros(x: Tensor) -> Tensor:
    """Channels of zeros in every kind of kernel, and a normalisation that has been switched off."""
    x = layers.Conv2D(4, 3, padding="same", name="zeroed_conv")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="zeroed_depthwise")(x)
    x = layers.BatchNormalization(name="zeroed_bn")(x)
    x = layers.BatchNormalization(name="zeroed_alone")(layers.MaxPooling2D(2)(x))
    return layers.Dense(6, name="zeroed_dense")(layers.Flatten()(x))


def rows(x: Tensor) -> Tensor:
    """Layers of one dimension."""
    x = layers.SeparableConv1D(6, 3, padding="same", activation="relu6")(layers.Reshape((36, 4))(x))
    x = layers.UpSampling1D(2)(layers.Cropping1D(1)(layers.MaxPooling1D(2)(x)))
    ends = [layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(layers.Conv1D(6, 3, dilation_rate=2)(x))]
    return layers.Conv1D(4, 1)(layers.RepeatVector(3)(layers.Concatenate()(ends)))


def shares(x: Tensor) -> Tensor:
    """A softmax inside the network, and pooling over everything."""
    x = layers.Conv2D(6, 1, activation="softmax")(x)
    x = layers.Conv2D(6, 3)(layers.Softmax()(layers.Conv2D(5, 1)(x)))
    highest = layers.GlobalMaxPooling2D(keepdims=True)(x)
    return layers.Multiply()([x, layers.Activation("tanh")(highest)])


def resized(x: Tensor) -> Tensor:
    return layers.Conv2D(4, 3)(layers.UpSampling2D(2, interpolation="bilinear")(x))


def without_bias(x: Tensor) -> Tensor:
    """Transposed convolutions that have no bias, or a bias of zeros, before a ReLU."""
    x = layers.Conv2DTranspose(3, 2, strides=2, use_bias=False, activation="relu")(x)
    return layers.ReLU(6.0)(layers.Conv2DTranspose(4, 3, padding="same")(x))


BODIES: dict[str, Callable[[Tensor], Tensor]] = {
    body.__name__: body
    for body in (
        squeeze_excite,
        branches,
        sequence,
        shapes,
        curves,
        larger,
        dense,
        sums,
        bare_norms,
        pools,
        with_zeros,
        rows,
        shares,
        resized,
        without_bias,
    )
}


def build(body: Callable[[Tensor], Tensor]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 12, 2), name="image")
    x = layers.Normalization(mean=[0.4, 0.6], variance=[0.08, 0.1])(layers.Rescaling(2.0, -1.0)(inputs))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(x)))
    x = body(x)
    model = keras.Model(inputs, layers.Dense(8, name="logits")(layers.Flatten()(x) if len(x.shape) > 2 else x))
    generator = np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            low_high = ((-0.5, 1.5), (-0.3, 0.3), (-0.1, 0.1), (0.5, 2.0))
            layer.set_weights([generator.uniform(*each, shape) for each in low_high])
        if layer.name.startswith("zeroed_"):
            first, *others = layer.get_weights()
            first[..., 1:2] = 0  # of a kernel the second channel; of a normalisation its factor
            if isinstance(layer, layers.DepthwiseConv2D):
                first[:, :, 1] = 1e-8
            if isinstance(layer, layers.Dense):
                first[:] = 0
                others[0][:] = 1.0
            elif not isinstance(layer, layers.BatchNormalization):
                others[0][:] = 0.5
            layer.set_weights([first, *others])
    return model


def operators(path: Path) -> tuple[Counter[str], Counter[str]]:
    """Returns the file's operators that compute with integers, and those that compute with floats."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    types = {each["index"]: each["dtype"] for each in interpreter.get_tensor_details()}
    found: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for operator in interpreter._get_ops_details():
        if operator["op_name"] not in {"QUANTIZE", "DEQUANTIZE", "DELEGATE"}:
            indices = (*operator["inputs"], *operator["outputs"])
            found[any(types.get(index) is np.float32 for index in indices)][operator["op_name"]] += 1
    return found


def export(model: keras.Model, path: Path, **options: Any) -> Path:
    arguments: Mapping[str, Any] = {"scheme": "int8", "name": "m", "source": "s", **options}
    export_model(model, path, format=path.suffix[1:], **arguments)
    return path


def steps_off(model: keras.Model, path: Path, images: np.ndarray) -> np.ndarray:
    """Returns by how many quantisation steps the file's outputs differ from the network's."""
    with runtime.open_runner(path, check=False) as runner:
        found = runtime.predict(runner, images)
    scale = aware.output_scale(model)
    assert scale is not None
    return np.abs(found - model(images, training=False).numpy()) / scale


@pytest.mark.parametrize("name", BODIES)
def test_a_file_has_integer_operators_only_and_the_networks_outputs(name, samples, tmp_path):
    model = aware.quantize_aware(build(BODIES[name]), samples)
    path = export(model, tmp_path / "m.tflite")
    _, floats = operators(path)
    assert not floats
    off = steps_off(model, path, samples)
    assert np.mean(off > 1.01) <= 0.001
    assert off.max() < 2.01


def test_the_onnx_file_has_the_same_outputs(samples, tmp_path):
    model = aware.quantize_aware(build(squeeze_excite), samples)
    off = steps_off(model, export(model, tmp_path / "m.onnx"), samples)
    assert np.mean(off > 1.01) <= 0.001


def overlapping(x: Tensor) -> Tensor:
    """Windows of four, six and nine values, and then layers that would make more of every step."""
    x = layers.ReLU()(layers.AveragePooling2D(3, 1, "same")(x))
    return layers.Conv2D(4, 3)(layers.Conv2D(4, 1, activation="relu")(x))


@pytest.mark.parametrize("body", [overlapping, resized])
def test_means_of_integers_are_rounded_alike_everywhere(body, samples, tmp_path):
    # If halves went to even integers, 13 % of the outputs would be off behind the pool, 30 % behind the resizing.
    model = aware.quantize_aware(build(body), samples)
    expected = model(samples, training=False).numpy()
    for name in ("m.tflite", "m.onnx"):
        with runtime.open_runner(export(model, tmp_path / name, batch=32), check=False) as runner:
            off = np.abs(runtime.predict(runner, samples) - expected) / aware.output_scale(model)
        assert np.mean(off > 0.01) <= 0.002, name


def test_a_bias_between_the_files_steps_is_rounded_as_the_file_rounds_it(samples, tmp_path):
    model = aware.quantize_aware(build(sums), samples)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization | layers.Conv2D) and getattr(layer, "bias", None) is not None:
            layer.bias.assign_add(1e-3 * np.random.default_rng(0).random(layer.bias.shape))
    assert steps_off(model, export(model, tmp_path / "moved.tflite"), samples).max() < 0.01


def test_a_layer_that_never_fires_can_be_written(samples, tmp_path):
    def dead(x: Tensor) -> Tensor:
        x = layers.Conv2D(4, 3, activation="relu", bias_initializer=keras.initializers.Constant(-99.0))(x)
        return layers.Conv2D(3, 1, bias_initializer="normal")(x)

    model = aware.quantize_aware(build(dead), samples)
    assert steps_off(model, export(model, tmp_path / "m.tflite"), samples).max() < 0.01


def test_rounded_biases_are_whole_steps_of_input_times_kernel(samples):
    model = aware.quantize_aware(build(layers.Conv2D(3, 3, name="last", bias_initializer="normal")), samples)
    last = model.get_layer("last")
    kernel = np.abs(np.asarray(last.layer.kernel, np.float64)).max(axis=(0, 1, 2)) / 127
    steps = np.asarray(last.layer.bias, np.float64) / (kernel * model.get_layer(last.input_range).scale())
    assert np.abs(steps).max() > 10
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


def test_a_saved_network_computes_in_integers_again(samples, tmp_path):
    model = aware.quantize_aware(build(sums), samples)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded(samples, training=False), model(samples, training=False))
    for each in (model, loaded):
        exact = [layer.in_integers(False) for layer in each.layers if hasattr(layer, "in_integers")]
        assert exact.count(True) >= 8


def test_integers_have_the_gradients_of_real_numbers(samples):
    model = aware.quantize_aware(build(lambda x: layers.Add()([layers.Conv2D(4, 1)(x), x])), samples)

    def gradients() -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(samples, training=False) ** 2)
        return [each.numpy() for each in tape.gradient(loss, model.trainable_variables)]

    exact = gradients()
    for layer in model._flatten_layers():
        if hasattr(layer, "neighbours"):
            layer.neighbours = type(layer.neighbours)()  # it knows no scales: it computes in real numbers
    for found, expected in zip(exact, gradients(), strict=True):
        assert np.linalg.norm(expected) > 0
        # Not the same: what is rounded to zero before a ReLU has no gradient behind it.
        assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


def test_excluded_layers_compute_with_floats_and_nothing_else_does(network, samples, tmp_path):
    model = aware.quantize_aware(network, samples, exclude=["second_conv", "pool"])
    with pytest.raises(ModelError, match="allow_float_operators"):
        export(model, tmp_path / "m.tflite")
    path = export(model, tmp_path / "m.tflite", allow_float_operators=True)
    integers, floats = operators(path)
    assert floats == Counter(CONV_2D=1, MEAN=1)
    assert integers == Counter(CONV_2D=1, ADD=1, FULLY_CONNECTED=1)
    assert steps_off(model, path, samples).max() < 1.01


def test_a_layer_that_integers_cannot_compute_can_stay_in_float(samples, tmp_path):
    inputs = keras.Input((12, 12, 2))
    x = layers.LayerNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(5, name="logits")(layers.Flatten()(x)))
    int8 = aware.quantize_aware(model, samples, exclude=["norm"])
    path = export(int8, tmp_path / "m.tflite", allow_float_operators=True)
    integers, floats = operators(path)
    assert integers["CONV_2D"] == integers["FULLY_CONNECTED"] == 1
    assert "CONV_2D" not in floats
    assert steps_off(int8, path, samples).max() < 1.01


def test_a_clip_stays_when_its_convolution_is_left_in_float(samples, tmp_path):
    inputs = keras.Input((12, 12, 2))
    x = layers.ReLU(0.2, name="clip")(layers.Conv2D(4, 3, name="conv")(inputs))
    x = layers.LayerNormalization(name="norm")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    int8 = aware.quantize_aware(model, samples, exclude=["conv", "norm"])
    clipped = keras.Model(int8.inputs[0], int8.get_layer("clip").output)
    assert clipped(samples).numpy().max() == pytest.approx(0.2)


@pytest.mark.parametrize("last", [layers.Reshape((2, 4)), layers.Activation("linear"), layers.Dropout(0.1)])
def test_the_step_of_the_outputs_is_known_whatever_layer_comes_last(last, samples):
    inputs = keras.Input((12, 12, 2))
    model = keras.Model(inputs, last(layers.Dense(8, name="logits")(layers.Flatten()(inputs))))
    int8 = aware.quantize_aware(model, samples)
    assert aware.output_scale(int8) == int8.get_layer("logits_range").scale()
    assert aware.output_scale(aware.quantize_aware(model, samples, exclude=["logits", last.name])) is None


def test_an_int8_network_is_written_as_nothing_else(network, samples, tmp_path):
    model = aware.quantize_aware(network, samples)
    with pytest.raises(RecipeError, match="fake-quantised to int8"):
        export(model, tmp_path / "m.tflite", scheme="float32")
    with pytest.raises(ModelError, match="fake-quantised to int8"):
        export(source_of(model), tmp_path / "m.tflite", scheme="float16")
    assert not list(tmp_path.iterdir())
