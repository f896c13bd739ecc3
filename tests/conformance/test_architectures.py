"""What every network family must do; a new file in edgekd/architectures/ is picked up by itself."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgekd import architectures, registry

PACKAGE = "edgekd.architectures"
NAMES = registry.discover(PACKAGE)
NUM_CLASSES = 7


def plugin(name):
    return registry.describe(PACKAGE, name, entry="build")


def sample_shape(name):
    """Returns a small image's shape, or the family's own where it does not take images."""
    natural = plugin(name).constants["INPUT_SHAPE"]
    return (32, 32, 3) if len(natural) == 3 else natural


def output_shape(name, input_shape):
    return input_shape if plugin(name).constants.get("OUTPUT") == "reconstruction" else (NUM_CLASSES,)


def create(name, *, seed=0, input_shape=None):
    return architectures.create(name, input_shape=input_shape or sample_shape(name), num_classes=NUM_CLASSES, seed=seed)


@functools.cache
def created(name):
    """Returns one network per family, shared by the tests that only look at it."""
    return create(name)


def samples(name, count=2):
    return np.random.default_rng(0).random((count, *sample_shape(name)), "float32")


def test_the_suite_finds_families():
    assert "resnet" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_describes_itself_without_being_imported(name):
    description = plugin(name)
    assert description.summary.endswith(".")
    assert {"TAPS", "INPUT_SHAPE", "NUM_CLASSES"} <= set(description.constants)
    assert architectures.default_taps(name) == description.constants["TAPS"]
    architectures.check(name, description.parameters)


@pytest.mark.parametrize("name", NAMES)
def test_returns_float32_logits_of_the_asked_shape_without_softmax(name):
    model = created(name)
    outputs = model(samples(name), training=False).numpy()
    assert outputs.shape == (2, *output_shape(name, sample_shape(name)))
    assert outputs.dtype == np.float32
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.layers[-1].name == plugin(name).constants.get("OUTPUT", "logits")
    assert getattr(model.layers[-1], "activation", keras.activations.linear) is keras.activations.linear


@pytest.mark.parametrize("name", NAMES)
def test_builds_for_small_grey_images_where_it_takes_images(name):
    shape = (28, 28, 1) if len(sample_shape(name)) == 3 else sample_shape(name)
    assert create(name, input_shape=shape).output_shape == (None, *output_shape(name, shape))


@pytest.mark.parametrize("name", NAMES)
def test_default_taps_are_rectified_maps_from_large_to_small(name):
    model = created(name)
    taps = architectures.default_taps(name)
    assert taps
    outputs = keras.Model(model.input, [model.get_layer(tap).output for tap in taps])(samples(name), training=False)
    assert all(tf.reduce_min(output) >= 0 < tf.reduce_max(output) for output in outputs)
    order = [layer.name for layer in model.layers]
    assert sorted(taps, key=order.index) == list(taps)
    heights = [output.shape[1] for output in outputs if len(output.shape) == 4]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize("name", NAMES)
def test_names_do_not_depend_on_what_was_built_before(name):
    def names(model):
        return [model.name, *(layer.name for layer in model.layers), *(weight.path for weight in model.weights)]

    before = names(created(name))
    assert names(create(name)) == before
    assert not [text for text in before if re.search(r"keras_tensor|functional", text)]


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_the_initial_weights(name):
    keras.utils.set_random_seed(99)
    same, other = create(name), create(name, seed=1)
    assert architectures.weights_sha256(same) == architectures.weights_sha256(created(name))
    assert architectures.weights_sha256(other) != architectures.weights_sha256(same)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_network_gives_bit_equal_outputs_and_the_same_file_again(name, tmp_path):
    model = created(name)
    architectures.save_model(model, tmp_path / "first.keras")
    loaded = architectures.load_model(tmp_path / "first.keras")
    architectures.save_model(loaded, tmp_path / "second.keras")
    x = samples(name)
    np.testing.assert_array_equal(loaded(x, training=False), model(x, training=False))
    assert architectures.weights_sha256(loaded) == architectures.weights_sha256(model)
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_trainable_weight(name):
    model = created(name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(samples(name), training=False) - 1.0))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    unreached = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(gradient) or not np.all(np.isfinite(gradient))
    ]
    assert unreached == []


@pytest.mark.parametrize("name", NAMES)
def test_uses_only_plain_keras_layers(name):
    layers = created(name).layers
    assert all(type(layer).__module__.startswith("keras.src.layers.") for layer in layers)
    assert not [layer for layer in layers if isinstance(layer, keras.layers.Lambda)]
