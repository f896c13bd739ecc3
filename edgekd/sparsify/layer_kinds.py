"""What Keras' layers do to channels."""

from typing import Any

import keras
import numpy as np
from keras import layers

from edgekd.sparsify.kernels import kernel_of
from edgekd.sparsify.shared_values import FixedClusters
from edgekd.sparsify.zeros import FixedZeros

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
MAKING = (layers.Dense, *CONVOLUTIONS, *TRANSPOSED, *SEPARABLE)  # their channels are new
PARAMETRIC = (*MAKING, *DEPTHWISE, layers.BatchNormalization)  # zeros in their weights make a channel zero
ACTIVATIONS = (layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Activation, layers.Rescaling)
RESHAPING = (layers.Flatten, layers.Reshape, layers.Permute)
SUMMING = (layers.Add, layers.Subtract, layers.Average, layers.Maximum, layers.Minimum)
# Each of their channels depends on the same channel of their input alone, and zero stays zero.
PASSING = (
    layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
    layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D,
    layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D,
    layers.Cropping1D, layers.Cropping2D, layers.Cropping3D,
    layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D,
    layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D,
    layers.GaussianDropout, layers.GaussianNoise, layers.Identity, layers.ActivityRegularization, layers.PReLU,
)  # fmt: skip
# They relate channels to each other, or hold constants for each: all channels that meet them stay.
FIXING = (
    layers.Softmax, layers.LayerNormalization, layers.GroupNormalization, layers.UnitNormalization,
    layers.RMSNormalization, layers.Normalization,
)  # fmt: skip

_KNOWN = {
    *PARAMETRIC, *ACTIVATIONS, *RESHAPING, *SUMMING, *PASSING, *FIXING, layers.Multiply, layers.Concatenate,
}  # fmt: skip
_ACROSS_CHANNELS = {"softmax", "log_softmax", "sparsemax", "glu"}


def problem_of(layer: Any) -> str | None:
    """Returns why a layer's channels cannot be followed; None where they can."""
    kind = type(layer)
    function = getattr(layer, "activation", None)
    kernel = kernel_of(layer) if isinstance(layer, layers.Layer) else None
    reasons = (
        # A subclass may compute anything.
        (kind not in _KNOWN, ""),
        (
            kernel is not None and isinstance(getattr(layer, kernel.constraint), (FixedZeros, FixedClusters)),
            "with fixed zeros or clusters: strip it",
        ),
        (getattr(layer, "groups", 1) > 1 and kind in CONVOLUTIONS, "with groups"),
        (_has_channels_first(layer), "with channels first"),
        (kind is layers.BatchNormalization and not _is_over_last_axis(layer), "over another axis than the last"),
        (kind is layers.Rescaling and not _is_one_number(layer), "with a factor for each channel"),
        (function is not None and not _is_of_keras(function), "with a function of its own"),
    )
    for applies, reason in reasons:
        if applies:
            return f"{kind.__name__} {reason}".strip()
    return None


def keeps_zero(function: Any) -> bool:
    """Returns whether an elementwise function or layer maps zero to zero."""
    return bool(np.asarray(function(keras.ops.zeros((1, 1)))) == 0)


def mixes_channels(function: Any) -> bool:
    """Returns whether an activation function makes a channel of several."""
    return getattr(function, "__name__", "") in _ACROSS_CHANNELS


def pads_channels(layer: Any) -> bool:
    """Returns whether a layer adds channels of zeros: told channels first, ZeroPadding2D pads our last axis."""
    return isinstance(layer, layers.ZeroPadding2D) and layer.data_format == "channels_first"


def _has_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first" and not pads_channels(layer)


def _is_over_last_axis(layer: Any) -> bool:
    return layer.axis in {-1, layer.input_spec.ndim - 1}


def _is_one_number(layer: Any) -> bool:
    return np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0


def _is_of_keras(function: Any) -> bool:
    return getattr(keras.activations, getattr(function, "__name__", ""), None) is function
