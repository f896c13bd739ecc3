"""Biases as the file will hold them: whole multiples of the input's scale times the kernel's, in 32 bits."""

from collections import Counter
from typing import Any

import keras
import numpy as np

from edgekd.quantize.aware.kernels import ONE_SCALE
from edgekd.quantize.aware.layers import Affine, FreezingBatchNorm, QuantizedKernel, factor_and_shift
from edgekd.quantize.aware.rounding import BITS, FakeQuantize

_LARGEST = 2 ** (BITS - 1) - 1
_MOST_STEPS = 2**29  # of a bias: a quarter of what 32 bits hold
_LEAST = 1e-6  # of a kernel's largest weight, and of a factor beside the others of its layer


def round_biases(model: keras.Model) -> None:
    """Moves the biases of a quantisation-aware network, in place, to the nearest values that an int8 file can hold.

    They move by at most half of input scale times kernel scale: little, but without it a few outputs in a thousand of
    each layer would be rounded otherwise in the file. Where batch normalisation is folded into a layer, its `beta`
    moves; factors of zero there become a millionth of the largest, since the converter cannot fold zeros. A kernel
    whose weights are all so small that its bias would not fit 32 bits gets a larger scale. A layer that is called on
    arrays of several ranges, or shares its batch normalisation, keeps its biases.

    Args:
      model: made by `quantize_aware`, calibrated or trained.
    """
    layers = model._flatten_layers()
    quantizers = {each.name: each for each in layers if isinstance(each, FakeQuantize)}
    norms = {each.name: each.layer for each in layers if isinstance(each, FreezingBatchNorm)}
    users = Counter(each.norm for each in layers if isinstance(each, QuantizedKernel))
    for name, norm in norms.items():
        if norm.scale and users[name]:
            _keep_from_zero(norm)
    for layer in layers:
        if (
            isinstance(layer, QuantizedKernel)
            and layer.input_range is not None
            and (layer.norm is None or users[layer.norm] == 1)
        ):
            _round_kernels_bias(layer, norms.get(layer.norm), quantizers[layer.input_range].scale())
        elif isinstance(layer, FreezingBatchNorm) and layer.input_range is not None:
            _round_shift(layer, quantizers[layer.input_range].scale())
        elif isinstance(layer, Affine) and layer.input_range is not None and layer.output_range in quantizers:
            _round_constant(layer, quantizers[layer.input_range].scale(), quantizers[layer.output_range].scale())


def _keep_from_zero(norm: keras.layers.BatchNormalization) -> None:
    gamma = np.asarray(norm.gamma, np.float64)
    least = _LEAST * max(float(np.abs(gamma).max()), 1.0)
    small = np.abs(gamma) < least
    if small.any():
        norm.gamma.assign(np.where(small, np.copysign(least, gamma), gamma))


def _round_kernels_bias(
    layer: QuantizedKernel, norm: keras.layers.BatchNormalization | None, input_scale: float
) -> None:
    inner = layer.layer
    bias = np.asarray(inner.bias, np.float64) if inner.use_bias else np.zeros(1)
    factor, shift = np.ones(1), np.zeros(1)
    if norm is not None:
        factor, shift = (np.asarray(each, np.float64) for each in factor_and_shift(norm))
    total = bias * factor + shift
    scale = np.abs(factor) * input_scale * _kernel_scales(layer, np.abs(total / factor) / input_scale)
    moved = np.round(total / scale) * scale - total
    if norm is not None and norm.center:
        norm.beta.assign(np.asarray(norm.beta, np.float64) + moved)
    elif inner.use_bias:
        inner.bias.assign(bias + moved / factor)


def _kernel_scales(layer: QuantizedKernel, inputs_needed: Any) -> Any:
    """Returns the scale of each output channel's kernel, float64, and sets the least that it may be.

    Args:
      layer: whose kernel it is.
      inputs_needed: each bias in steps of the input.
    """
    kernel = np.abs(np.asarray(layer.layer.kernel, np.float64))
    if isinstance(layer.layer, ONE_SCALE):
        largest, needed = np.asarray(kernel.max()), np.max(inputs_needed)
    else:
        depthwise = isinstance(layer.layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
        largest = kernel.max(axis=tuple(range(kernel.ndim - (2 if depthwise else 1)))).reshape(-1)
        needed = np.broadcast_to(inputs_needed, largest.shape)
    layer.least.assign(np.maximum(_LEAST, needed * _LARGEST / _MOST_STEPS))
    return np.maximum(largest, np.asarray(layer.least, np.float64)) / _LARGEST


def _round_shift(layer: FreezingBatchNorm, input_scale: float) -> None:
    factor, shift = (np.asarray(each, np.float64) for each in factor_and_shift(layer.layer))
    layer.least.assign(np.maximum(_LEAST, np.abs(shift) / input_scale * _LARGEST / _MOST_STEPS))
    unit = input_scale * np.maximum(np.abs(factor), np.asarray(layer.least, np.float64)) / _LARGEST
    if layer.layer.center:
        moved = np.round(shift / unit) * unit - shift
        layer.layer.beta.assign(np.asarray(layer.layer.beta, np.float64) + moved)


def _round_constant(layer: Affine, input_scale: float, output_scale: float) -> None:
    """Rounds the shifts of constants, and moves those by one unit that would put every value half-way.

    Rescaling images of bytes to -1..1 does that: its 256 values lie between those of the output's range, and how halves
    are rounded would decide all of them.
    """
    unit = input_scale * np.maximum(np.abs(np.asarray(layer.factors, np.float64)), _LEAST) / _LARGEST
    shift = np.round(np.asarray(layer.shifts, np.float64) / unit) * unit
    from_half = np.abs(np.mod(shift / output_scale, 1.0) - 0.5) * output_scale
    layer.shifts.assign(np.where(from_half < unit / 2, shift + unit, shift))
