"""Each sample's features as a unit vector, at any scale."""

import math

import keras
from keras import ops


def flattened(features: keras.KerasTensor) -> keras.KerasTensor:
    """Returns [batch, ...] features of known size as [batch, elements]."""
    return ops.reshape(features, (-1, math.prod(features.shape[1:])))


def unit_vectors(features: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns each sample's direction, and which samples have one.

    Args:
      features: [batch, elements] float.

    Returns:
      [batch, elements] of unit L2 norm, zero where all elements are zero; and [batch] bool, false there. The gradient
      at a zero vector is that of the features themselves: finite, where that of a direction is not.
    """
    # Dividing by the largest value first changes nothing in the direction and keeps the squares finite and above zero.
    peak = ops.max(ops.abs(features), axis=-1, keepdims=True)
    # Not `> 0`: what is not a number must stay visible.
    pointing = ops.not_equal(peak, 0)
    scaled = features / ops.stop_gradient(ops.where(pointing, peak, ops.ones_like(peak)))
    squared = ops.sum(ops.square(scaled), axis=-1, keepdims=True)
    return scaled / ops.sqrt(ops.where(pointing, squared, ops.ones_like(squared))), ops.squeeze(pointing, axis=-1)
