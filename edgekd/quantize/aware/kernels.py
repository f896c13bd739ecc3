"""Kernels rounded to int8, and what convolutions and dense layers compute with them."""

from typing import Any

import keras
import tensorflow as tf

from edgekd.quantize.aware.rounding import BITS

# Layers whose kernel has one scale, and into which batch normalisation is therefore folded before rounding.
ONE_SCALE = (keras.layers.Dense, keras.layers.Conv2DTranspose)
LEAST_WEIGHT = 1e-6  # that the largest of a kernel is taken to be: a scale must be positive


def applied(layer: Any, inputs: Any, kernel: Any, *, biased: bool = True) -> Any:
    """Returns what a convolution or dense layer gives with another kernel."""
    if isinstance(layer, keras.layers.Conv1D | keras.layers.DepthwiseConv1D):
        return _one_dimensional(layer, inputs, kernel, biased=biased)
    state = [(layer.kernel, kernel)]
    if layer.use_bias and not biased:
        state.append((layer.bias, tf.zeros_like(layer.bias)))
    with keras.StatelessScope(state_mapping=state):
        return layer(inputs)


def _one_dimensional(layer: Any, inputs: Any, kernel: Any, *, biased: bool) -> Any:
    """Computes a convolution over [batch, steps, channels] as one over images of one row, as the file will.

    Args:
      layer: the convolution.
      inputs: [batch, steps, channels].
      kernel: of images of one row: its own with a first axis of 1.
      biased: whether to add the layer's bias.
    """
    padding, strides, dilation = layer.padding.upper(), layer.strides[0], layer.dilation_rate[0]
    if padding == "CAUSAL":
        inputs = tf.pad(inputs, [[0, 0], [dilation * (layer.kernel_size[0] - 1), 0], [0, 0]])
        padding = "VALID"
    image = tf.expand_dims(inputs, 1)
    if isinstance(layer, keras.layers.DepthwiseConv1D):
        outputs = tf.nn.depthwise_conv2d(
            image, kernel, (1, strides, strides, 1), padding, dilations=(dilation, dilation)
        )
    else:
        outputs = tf.nn.conv2d(image, kernel, (1, strides), padding, dilations=(1, dilation))
    if layer.use_bias and biased:
        outputs = outputs + tf.convert_to_tensor(layer.bias)
    return tf.squeeze(outputs, 1)


def scales_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Returns the shape of a built layer's kernel scales: one for each output channel, or () for one in all."""
    shape = layer.kernel.shape
    if isinstance(layer, ONE_SCALE):
        return ()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
    return (shape[-2] * shape[-1],) if depthwise else (shape[-1],)


def rounded_kernel(layer: keras.layers.Layer, kernel: Any, least: Any = LEAST_WEIGHT) -> Any:
    """Returns the layer's kernel rounded to int8, in float32, with the gradient of the kernel itself.

    That of a one-dimensional convolution gets a first axis of 1, as in the file.

    Args:
      layer: whose kernel it is.
      kernel: its value.
      least: magnitudes that the largest weights are taken to have at least: of shape `scales_shape`, or one for all.
    """
    if isinstance(layer, ONE_SCALE):
        largest = tf.maximum(tf.reduce_max(tf.abs(kernel)), tf.convert_to_tensor(least))
        return tf.quantization.fake_quant_with_min_max_vars(kernel, -largest, largest, num_bits=BITS, narrow_range=True)
    if isinstance(layer, keras.layers.Conv1D | keras.layers.DepthwiseConv1D):
        kernel = tf.expand_dims(kernel, 0)
    shape = tuple(kernel.shape)
    if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
        # [..., channels, multiplier]; the converter follows this shape, and no flatter one.
        merged = tf.reshape(kernel, (*shape[:-2], shape[-2] * shape[-1]))
        return tf.reshape(per_last_axis(merged, least), shape)
    return per_last_axis(kernel, least)


def kernel_scales(layer: keras.layers.Layer, kernel: Any, least: Any = LEAST_WEIGHT) -> Any:
    """Returns the distance of neighbouring values of a rounded kernel, float64, of shape `scales_shape`.

    Args are those of `rounded_kernel`.
    """
    magnitudes, shape = tf.abs(kernel), scales_shape(layer)
    if shape:
        magnitudes = tf.reshape(magnitudes, (-1, *shape))
    largest = tf.reduce_max(magnitudes, axis=0 if shape else None)
    return width_of_steps(tf.maximum(largest, tf.convert_to_tensor(least)))


def width_of_steps(largest: Any) -> Any:
    """Returns the distance of neighbouring values of a kernel from -largest to largest, float64."""
    return tf.cast(largest, "float64") / (2 ** (BITS - 1) - 1)


def along(layer: Any, scales: Any, shape: Any) -> Any:
    """Returns the scales so that they broadcast to the layer's kernel."""
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
    return tf.reshape(scales, tuple(shape)[-2:]) if depthwise else scales


def per_last_axis(kernel: Any, least: Any = LEAST_WEIGHT) -> Any:
    largest = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    largest = tf.maximum(largest, tf.convert_to_tensor(least))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -largest, largest, num_bits=BITS, narrow_range=True
    )
