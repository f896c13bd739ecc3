"""Bringing the taps of two networks to one size by averaging, in at least float32."""

import keras
from keras import ops

from edgekd.losses._pooling import average_pooled, smaller_size
from edgekd.losses._precision import widened


def to_smaller_size(
    student: keras.KerasTensor, teacher: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns two [batch, height, width, channels] maps at the smaller height and the smaller width of both."""
    size = smaller_size(student, teacher)
    return averaged(student, size), averaged(teacher, size)


def averaged(features: keras.KerasTensor, size: tuple[int, ...]) -> keras.KerasTensor:
    """Returns a [batch, height, width, channels] map averaged to a size that is not larger, in its own dtype."""
    height, width = size
    if tuple(features.shape[1:3]) == (height, width):
        return features
    (wide,) = widened(features)
    return ops.cast(average_pooled(wide, (height, width)), features.dtype)


def globally_averaged(features: keras.KerasTensor) -> keras.KerasTensor:
    """Returns [batch, channels]: features averaged over every axis between the batch and the last, in their dtype."""
    if len(features.shape) == 2:
        return features
    (wide,) = widened(features)
    return ops.cast(ops.mean(wide, axis=tuple(range(1, len(features.shape) - 1))), features.dtype)
