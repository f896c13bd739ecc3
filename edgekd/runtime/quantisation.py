"""Between real numbers and a quantised tensor's integers, exactly as LiteRT's QUANTIZE and DEQUANTIZE do it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from edgekd.errors import ModelError, NonFiniteError, ShapeError
from edgekd.records import TensorSpec
from edgekd.runtime.runner import Array

_BEYOND_EVERY_DTYPE = 2.0**40  # clipping here first keeps huge quotients from overflowing the conversion to integers


def quantise_array(
    real: ArrayLike,
    *,
    scale: float | Sequence[float] | Array,
    zero_point: int | Sequence[int] | Array = 0,
    dtype: str = "int8",
    axis: int | None = None,
    name: str = "the tensor",
) -> Array:
    """Returns the integers that stand for real numbers, per tensor or per channel.

    q = clip(round(real / scale) + zero_point), rounding half to even and saturating at the dtype's range. Half to
    even is what LiteRT's CPU kernels (built-in and XNNPACK) and ONNX's QuantizeLinear do; only LiteRT's reference
    kernel rounds half away from zero. The quotient is taken in float32, as they do.

    Args:
      real: array of any shape.
      scale: one positive number; or, per channel, one for each index of `axis`.
      zero_point: an integer of the dtype's range; or one for each index of `axis`.
      dtype: int8, uint8, int16, uint16 or int32.
      axis: the dimension that has scales of its own, such as 3 for a kernel [h, w, in, out]; None: per tensor.
      name: what to call the tensor in messages.

    Returns:
      Array of `real`'s shape and of the dtype.

    Raises:
      ModelError: a dtype that is no integer, or a scale that is not positive.
      ShapeError: numbers of scales or zero points that do not fit the axis.
      NonFiniteError: `real` has NaN or infinity.
    """
    values = np.asarray(real, dtype=np.float32)
    if np.dtype(dtype).kind not in "iu":
        raise ModelError(f"{name} cannot be quantised to {dtype}: expected an integer type, such as int8.")
    if not np.isfinite(values).all():
        raise NonFiniteError(f"the values for {name} contain NaN or infinity: nothing can represent them.")
    scales, zero_points = _per_element(scale, zero_point, values.shape, axis, name)
    limits = np.iinfo(dtype)
    quotients = np.rint(values / scales).astype(np.float64)
    steps = np.clip(quotients, -_BEYOND_EVERY_DTYPE, _BEYOND_EVERY_DTYPE).astype(np.int64)
    return np.clip(steps + zero_points, limits.min, limits.max).astype(dtype)


def dequantise_array(
    raw: Array,
    *,
    scale: float | Sequence[float] | Array,
    zero_point: int | Sequence[int] | Array = 0,
    axis: int | None = None,
    name: str = "the tensor",
) -> Array:
    """Returns the float32 numbers that integers stand for, scale * (raw - zero_point), per tensor or per channel.

    Args:
      raw: integer array of any shape.
      scale: as for `quantise_array`.
      zero_point: as for `quantise_array`.
      axis: as for `quantise_array`.
      name: what to call the tensor in messages.

    Raises:
      ModelError: `raw` holds no integers, or a scale is not positive.
      ShapeError: numbers of scales or zero points that do not fit the axis.
    """
    raw = np.asarray(raw)
    if raw.dtype.kind not in "iu":
        raise ModelError(f"{name} holds {raw.dtype.name}: only integers can be dequantised.")
    scales, zero_points = _per_element(scale, zero_point, raw.shape, axis, name)
    return (raw.astype(np.int64) - zero_points).astype(np.float32) * scales


def quantise(real: Array, spec: TensorSpec) -> Array:
    """Returns the integers of a quantised input or output; see `quantise_array`.

    Args:
      real: float array of any shape.
      spec: the tensor's dtype, scale and zero_point.

    Returns:
      Array of `real`'s shape and the spec's dtype.

    Raises:
      ModelError: the spec is not that of a quantised integer tensor.
      NonFiniteError: `real` has NaN or infinity.
    """
    scale, zero_point = _parameters(spec)
    return quantise_array(real, scale=scale, zero_point=zero_point, dtype=spec.dtype, name=f"tensor {spec.name!r}")


def dequantise(raw: Array, spec: TensorSpec) -> Array:
    """Returns the float32 numbers that a quantised tensor's integers stand for: scale * (raw - zero_point).

    Args:
      raw: integer array of any shape, of the spec's dtype.
      spec: the tensor's dtype, scale and zero_point.

    Raises:
      ModelError: the spec is not that of a quantised integer tensor, or `raw` has another dtype.
    """
    scale, zero_point = _parameters(spec)
    if raw.dtype.name != spec.dtype:
        raise ModelError(f"tensor {spec.name!r} has dtype {spec.dtype}, received {raw.dtype.name}.")
    return dequantise_array(raw, scale=scale, zero_point=zero_point, name=f"tensor {spec.name!r}")


def require_quantised(spec: TensorSpec) -> None:
    """Raises ModelError unless the spec is that of a quantised integer tensor."""
    _parameters(spec)


def _parameters(spec: TensorSpec) -> tuple[float, int]:
    if np.dtype(spec.dtype).kind not in "iu" or spec.scale is None or spec.zero_point is None:
        raise ModelError(
            f"tensor {spec.name!r} ({spec.dtype}) has no scale and zero point: it is not a quantised tensor, or the "
            "file does not say how its integers are to be read."
        )
    return spec.scale, spec.zero_point


def _per_element(
    scale: float | Sequence[float] | Array,
    zero_point: int | Sequence[int] | Array,
    shape: Sequence[int],
    axis: int | None,
    name: str,
) -> tuple[Array, Array]:
    """Returns scales (float32) and zero points (int64), shaped to be broadcast over an array of that shape."""
    scales, zero_points = np.asarray(scale, np.float32), np.asarray(zero_point, np.int64)
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ModelError(f"{name} has a scale that is not positive and finite: {scales.tolist()}.")
    if axis is None:
        if scales.size != 1 or zero_points.size != 1:
            raise ShapeError(
                f"{name} has {scales.size} scales and {zero_points.size} zero points: say along which axis, or give "
                "one of each."
            )
        return scales.reshape(()), zero_points.reshape(())
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{name} has shape {list(shape)}: it has no axis {axis}.")
    channels = shape[axis]
    if scales.shape != (channels,) or zero_points.shape not in {(), (1,), (channels,)}:
        raise ShapeError(
            f"{name} has {channels} channels along axis {axis} of {list(shape)}, but {scales.size} scales and "
            f"{zero_points.size} zero points: expected a scale for each channel."
        )
    form = [1] * len(shape)
    form[axis] = channels
    return scales.reshape(form), np.broadcast_to(zero_points.reshape(-1), (channels,)).reshape(form)
