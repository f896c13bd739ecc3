"""Layers that multiply each channel by a constant and add one: rescaling, normalisation, and their integer form."""

from typing import Any

import keras
import numpy as np

from edgekd.quantize.aware.layers import Affine

Array = np.ndarray[Any, Any]


def factor_and_shift(layer: Any) -> tuple[Array, Array] | None:
    """Returns what a layer multiplies by and adds, float64, [channels] or [1] each; None for another kind of layer.

    Args:
      layer: of a network: a Rescaling or Normalization (of the last axis, or of all values alike), or an Affine, whose
        shifts are as they have been rounded.
    """
    kind = type(layer)
    if kind is Affine:
        return _one_if_equal(layer.factors), _one_if_equal(layer.shifts)
    if kind not in (keras.layers.Rescaling, keras.layers.Normalization):
        return None
    shape = layer._inbound_nodes[0].input_tensors[0].shape
    if kind is keras.layers.Rescaling:
        factor, shift = _vector(layer.scale), _vector(layer.offset)
    else:
        axes = layer.axis if isinstance(layer.axis, list | tuple) else () if layer.axis is None else (layer.axis,)
        if not {axis % len(shape) for axis in axes} <= {len(shape) - 1}:
            return None
        mean, variance = _vector(layer.mean), _vector(layer.variance)
        deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
        factor, shift = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    return (factor, shift) if {len(factor), len(shift)} <= {1, shape[-1]} else None


def _one_if_equal(values: Any) -> Array:
    vector = _vector(keras.ops.convert_to_numpy(values))
    return vector[:1] if np.all(vector == vector[0]) else vector


def _vector(values: Any) -> Array:
    return np.asarray(values, np.float64).reshape(-1)
