"""A factor and a shift of each input channel as part of the weights of the layer that takes them."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers

from edgekd.quantize.aware.graph import Call, Graph

Array = np.ndarray[Any, Any]
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose)


@dataclasses.dataclass(frozen=True)
class Folded:
    """A layer with other weights.

    Attributes:
      name: the layer's.
      layers: {the call that it takes the place in: the layer}.
      shift: what must still be added to the input, [channels] or [1]; None for nothing.
    """

    name: str
    layers: dict[Call, keras.Layer]
    shift: Array | None


def fold(call: Call, factor: Array, shift: Array, *, graph: Graph) -> Folded | None:
    """Returns the layer that gives for x what the called one gives for factor · x + shift, or None for other kinds.

    A convolution W * (f·x + s) + b is (W·f) * x + (b + ΣW·s) wherever the kernel meets no padding. Where it pads zeros,
    which shifted inputs have none of, it is (W·f) * (x + s/f) + b.

    Args:
      call: of a convolution (also depthwise, separable or transposed) or dense layer, or of a Flatten before one.
      factor: [channels] or [1], not zero.
      shift: likewise.
      graph: that the call is of.
    """
    target, tiles = call, 1
    if type(call.operation) is layers.Flatten:
        takers = [each for each in graph.calls if call.outputs[0] in each.inputs]
        if len(takers) != 1 or call.outputs[0] in graph.outputs or type(takers[0].operation) is not layers.Dense:
            return None
        target = takers[0]
        tiles = int(np.prod(_shape(call.operation)[1:-1], dtype=int))
    layer = target.operation
    shape = _shape(layer)
    kinds = (*_CONVOLUTIONS, *_DEPTHWISE, *_SEPARABLE, *_TRANSPOSED, layers.Dense)
    if type(layer) not in kinds or getattr(layer, "data_format", "channels_last") != "channels_last":
        return None
    channels = shape[-1] // tiles
    each_factor, each_shift = (np.tile(np.broadcast_to(values, channels), tiles) for values in (factor, shift))
    remaining = None
    if each_shift.any() and _pads(layer, shape):
        remaining, each_shift = shift / factor, np.zeros_like(each_shift)
    changed = _with_weights(layer, shape, each_factor, each_shift)
    return Folded(layer.name, {target: changed}, remaining)


def _shape(layer: keras.Layer) -> tuple[Any, ...]:
    return tuple(layer._inbound_nodes[0].input_tensors[0].shape)


def _pads(layer: Any, shape: tuple[Any, ...]) -> bool:
    """Whether outputs see anything else than whole windows of the input."""
    if isinstance(layer, layers.Dense):
        return False
    if isinstance(layer, _TRANSPOSED):
        return True
    if layer.padding == "valid":
        return False
    for size, kernel, stride, dilation in zip(
        shape[1:-1], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        reach = dilation * (kernel - 1) + 1
        whole = layer.padding == "same" and size is not None and (-(-size // stride) - 1) * stride + reach <= size
        if reach > 1 and not whole:
            return True
    return False


def _with_weights(layer: Any, shape: tuple[Any, ...], factor: Array, shift: Array) -> keras.Layer:
    biased = layer.use_bias or shift.any()
    changed = type(layer).from_config({**layer.get_config(), "use_bias": bool(biased), "dtype": "float32"})
    changed.build(shape)
    *kernels, bias = [np.asarray(each, np.float64) for each in layer.get_weights()] + (
        [] if layer.use_bias else [np.zeros(1)]
    )
    kernel = kernels[0]
    if isinstance(layer, _DEPTHWISE + _SEPARABLE):
        factors, shifts = factor[:, None], shift[:, None]  # the kernel is [..., channels, multiplier]
        added = (kernel * shifts).sum(axis=tuple(range(kernel.ndim - 2))).reshape(-1)
        if isinstance(layer, _SEPARABLE):
            added = added @ kernels[1].reshape(len(added), -1)
    elif isinstance(layer, _TRANSPOSED):
        factors, added = factor, np.zeros(1)  # the kernel is [..., outputs, channels]
    else:
        factors, shifts = (_of_groups(each, kernel, len(factor)) for each in (factor, shift))
        added = (kernel * shifts).sum(axis=tuple(range(kernel.ndim - 1)))
    weights = [kernel * factors, *kernels[1:]]
    if biased:
        weights.append(np.broadcast_to(bias + added, changed.bias.shape))
    changed.set_weights(weights)
    return changed


def _of_groups(values: Array, kernel: Array, channels: int) -> Array:
    """Returns a value for each input and output channel of a kernel [..., channels of a group, outputs]."""
    per_group, outputs = kernel.shape[-2:]
    groups = channels // per_group
    return np.repeat(values.reshape(groups, per_group).T, outputs // groups, axis=1)
