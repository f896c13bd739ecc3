"""Biases as the file will hold them: whole multiples of the input's scale times the kernel's."""

from typing import Any

import keras
import numpy as np

from edgekd.quantize.aware.layers import (
    BITS,
    ONE_SCALE,
    Affine,
    FakeQuantize,
    FreezingBatchNorm,
    QuantizedKernel,
    factor_and_shift,
)

_LARGEST = 2 ** (BITS - 1) - 1


def round_biases(model: keras.Model) -> None:
    """Moves the biases of a quantisation-aware network, in place, to the nearest values that an int8 file can hold.

    They move by at most half of input scale times kernel scale: little, but without it a few outputs in a thousand of
    each layer would be rounded otherwise in the file. Where batch normalisation is folded into a layer, its `beta`
    moves.
    A layer that is called on arrays of several ranges keeps its biases.

    Args:
      model: made by `quantize_aware`, calibrated or trained.
    """
    quantizers = {each.name: each for each in model._flatten_layers() if isinstance(each, FakeQuantize)}
    norms = {each.name: each for each in model._flatten_layers() if isinstance(each, FreezingBatchNorm)}
    for layer in model._flatten_layers():
        if isinstance(layer, QuantizedKernel) and layer.input_range is not None:
            scale = quantizers[layer.input_range].scale() * _kernel_scales(layer.layer)
            if layer.norm is not None:
                _round_folded(layer.layer, norms[layer.norm].layer, scale)
            elif layer.layer.use_bias:
                bias = np.asarray(layer.layer.bias)
                layer.layer.bias.assign(np.round(bias / scale) * scale)
        elif isinstance(layer, FreezingBatchNorm) and layer.input_range is not None:
            _round_shift(layer.layer, quantizers[layer.input_range].scale())
        elif isinstance(layer, Affine) and layer.input_range is not None and layer.output_range in quantizers:
            _round_constant(layer, quantizers[layer.input_range].scale(), quantizers[layer.output_range].scale())


def _kernel_scales(layer: keras.Layer) -> Any:
    """Returns the scale of each output channel's kernel, [channels] float64; all the same for a dense layer."""
    kernel = np.abs(np.asarray(layer.kernel, np.float64))
    if isinstance(layer, ONE_SCALE):
        largest = np.asarray(kernel.max())
    elif isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
        largest = kernel.max(axis=tuple(range(kernel.ndim - 2))).reshape(-1)
    else:
        largest = kernel.max(axis=tuple(range(kernel.ndim - 1)))
    return np.maximum(largest, 1e-6) / _LARGEST


def _round_folded(layer: keras.Layer, norm: keras.layers.BatchNormalization, scale: Any) -> None:
    if not norm.center:
        return
    factor, shift = (np.asarray(each, np.float64) for each in factor_and_shift(norm))
    bias = np.asarray(layer.bias, np.float64) * factor if layer.use_bias else 0.0
    unit = scale * np.maximum(np.abs(factor), 1e-30)
    total = bias + shift
    norm.beta.assign(np.asarray(norm.beta, np.float64) + np.round(total / unit) * unit - total)


def _round_shift(norm: keras.layers.BatchNormalization, input_scale: float) -> None:
    if not norm.center:
        return
    factor, shift = (np.asarray(each, np.float64) for each in factor_and_shift(norm))
    unit = input_scale * np.maximum(np.abs(factor), 1e-30) / _LARGEST
    norm.beta.assign(np.asarray(norm.beta, np.float64) + np.round(shift / unit) * unit - shift)


def _round_constant(layer: Affine, input_scale: float, output_scale: float) -> None:
    """Rounds the shifts of constants, and moves those by one unit that would put every value half-way.

    Rescaling images of bytes to -1..1 does that: its 256 values lie between those of the output's range, and how halves
    are rounded would decide all of them.
    """
    unit = input_scale * np.maximum(np.abs(np.asarray(layer.factors, np.float64)), 1e-30) / _LARGEST
    shift = np.round(np.asarray(layer.shifts, np.float64) / unit) * unit
    from_half = np.abs(np.mod(shift / output_scale, 1.0) - 0.5) * output_scale
    layer.shifts.assign(np.where(from_half < unit / 2, shift + unit, shift))
