"""The layers of a fake-quantised network, against integers by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgekd.quantize.aware.kernels import rounded_kernel
from edgekd.quantize.aware.layers import Affine, FreezingBatchNorm, QuantizedKernel
from edgekd.quantize.aware.rounding import FakeQuantize


def quantised(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rounds to 256 steps from low to high, of which one is zero: as Jacob et al., 2017, nudge it."""
    scale = (high - low) / 255
    zero = np.clip(np.round(-low / scale), 0, 255)
    return ((np.clip(np.floor(x / scale + zero + 0.5), 0, 255) - zero) * scale).astype(np.float32)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1.5, (64, 5)).astype(np.float32)


def test_activations_take_256_values_of_which_one_is_zero(values):
    layer = FakeQuantize()
    layer.set_range(-1.3, 2.1)
    found = layer(values).numpy()
    assert found == pytest.approx(quantised(values, -1.3, 2.1), abs=1e-6)
    assert layer(np.zeros((1, 1), np.float32)).numpy() == 0


def test_a_range_that_does_not_hold_zero_is_widened_to_it(values):
    layer = FakeQuantize()
    layer.set_range(0.5, 2.0)
    assert layer(values).numpy() == pytest.approx(quantised(values, 0.0, 2.0), abs=1e-6)


def test_in_training_a_range_follows_the_batches_until_it_is_frozen(values):
    layer = FakeQuantize(momentum=0.75, freeze_after=2)
    layer.set_range(-1.0, 1.0)
    low, high = -1.0, 1.0
    for step in range(4):
        batch = values * (step + 1)
        layer(batch, training=True)
        if step < 2:
            low, high = 0.75 * low + 0.25 * batch.min(), 0.75 * high + 0.25 * batch.max()
    assert [float(layer.minimum), float(layer.maximum)] == pytest.approx([low, high])
    assert int(layer.steps) == 4


def test_a_range_that_is_shared_only_widens(values):
    layer = FakeQuantize(momentum=0.5)
    layer.set_range(-1.0, 1.0)
    layer(values * 0.1, training=True, observe="widen")
    assert [float(layer.minimum), float(layer.maximum)] == [-1.0, 1.0]
    layer(values, training=True, observe="widen")
    expected = [0.5 * -1 + 0.5 * values.min(), 0.5 * 1 + 0.5 * values.max()]
    assert [float(layer.minimum), float(layer.maximum)] == pytest.approx(expected)
    layer(values * 9, training=True, observe="ignore")
    assert [float(layer.minimum), float(layer.maximum)] == pytest.approx(expected)


def test_inference_changes_no_range(values):
    layer = FakeQuantize()
    layer.set_range(-1.0, 1.0)
    layer(values, training=False)
    assert [float(layer.minimum), float(layer.maximum), int(layer.steps)] == [-1.0, 1.0, 0]


def test_the_gradient_passes_inside_the_range_and_not_outside():
    layer = FakeQuantize(momentum=1.0 - 1e-9)
    layer.set_range(-1.0, 1.0)
    x = tf.constant([[-3.0, -0.4, 0.7, 5.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x, training=True))
    assert tape.gradient(total, x).numpy().tolist() == [[0, 1, 1, 0]]


def test_a_learned_range_has_the_gradient_of_lsq(values):
    """For a symmetric scale s the derivative of round(x/s)·s is round(x/s) − x/s inside, and the end's step outside."""
    layer = FakeQuantize(ranges="learned")
    layer.set_range(0.0, 1.0)
    x = np.abs(values)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x, training=True))
    found = float(tape.gradient(total, layer.maximum.value))
    scaled = x / (1 / 255)
    inside = np.where(scaled < 255, np.floor(scaled + 0.5) - scaled, 255.0)
    assert found == pytest.approx(inside.sum() / 255 / np.sqrt(x.size * 255), rel=1e-3)


def test_a_learned_range_rounds_in_training_as_it_does_in_inference(values):
    layer = FakeQuantize(ranges="learned")
    layer.set_range(-1.7, 2.2)
    assert layer(values, training=True).numpy() == pytest.approx(layer(values, training=False).numpy(), abs=1e-5)


def test_means_round_halves_away_from_zero_in_int8():
    layer = FakeQuantize()
    layer.set_range(-128.0, 127.0)  # steps of 1, zero point 0
    x = np.array([[2.5, 3.5, -2.5, -3.5, 0.25, -0.75]], np.float32)
    assert layer(x, mean=True).numpy().tolist() == [[3, 4, -3, -4, 0, -1]]
    assert layer(x).numpy().tolist() == [[3, 4, -2, -3, 0, -1]]


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (keras.layers.Conv2D(3, 3), (None, 5, 5, 2), (0, 1, 2)),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (None, 5, 5, 2), (0, 1)),
        (keras.layers.Dense(4), (None, 6), (0, 1)),
        (keras.layers.Conv2DTranspose(3, 2), (None, 5, 5, 2), (0, 1, 2, 3)),
    ],
)
def test_a_kernel_is_symmetric_int8_per_channel_where_the_format_can(layer, shape, axes):
    layer.build(shape)
    kernel = np.random.default_rng(2).normal(size=layer.kernel.shape).astype(np.float32)
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    found = rounded_kernel(layer, tf.constant(kernel)).numpy()
    assert found == pytest.approx(np.round(kernel / scale) * scale, abs=1e-6)
    assert np.abs(np.round(found / scale)).max() == 127


def test_a_one_dimensional_convolution_computes_what_keras_computes_with_the_rounded_kernel():
    for layer in (
        keras.layers.Conv1D(3, 3, padding="causal", dilation_rate=2),
        keras.layers.Conv1D(3, 3, strides=2, padding="same"),
        keras.layers.DepthwiseConv1D(3, depth_multiplier=2),
    ):
        x = np.random.default_rng(3).normal(size=(2, 11, 4)).astype(np.float32)
        layer.build(x.shape)
        found = QuantizedKernel(layer)(x).numpy()
        kernel = layer.kernel.numpy()
        axes = tuple(range(kernel.ndim - 1)) if isinstance(layer, keras.layers.Conv1D) else (0,)
        scale = np.abs(kernel).max(axis=axes, keepdims=True) / 127
        layer.kernel.assign(np.round(kernel / scale) * scale)
        assert found == pytest.approx(layer(x).numpy(), abs=1e-5), type(layer).__name__


def test_batch_normalisation_freezes_its_statistics_after_the_given_steps(values):
    inner = keras.layers.BatchNormalization(momentum=0.5)
    layer = FreezingBatchNorm(inner, freeze_after=1)
    layer.build(values.shape)
    layer(values, training=True)
    after_one = inner.moving_mean.numpy()
    assert after_one == pytest.approx(0.5 * values.mean(axis=0), abs=1e-6)
    found = layer(values * 2, training=True).numpy()
    assert (inner.moving_mean.numpy() == after_one).all()
    assert found == pytest.approx(inner(values * 2, training=False).numpy(), abs=1e-6)


def test_a_batch_normalisation_that_stands_alone_is_the_same_function(values):
    inner = keras.layers.BatchNormalization()
    alone = FreezingBatchNorm(inner, standalone=True)
    alone.build(values.shape)
    inner.set_weights([np.arange(5) - 2.0, np.ones(5), np.arange(5) / 3, np.arange(5) + 0.5])
    assert alone(values).numpy() == pytest.approx(inner(values, training=False).numpy(), abs=1e-5)


def test_an_affine_layer_multiplies_and_adds_by_channel(values):
    layer = Affine([1, 2, 3, -4, 0.5], [0, 1, 0, 2, 0])
    expected = values * np.array([1, 2, 3, -4, 0.5]) + np.array([0, 1, 0, 2, 0])
    assert layer(values).numpy() == pytest.approx(expected, abs=1e-5)
