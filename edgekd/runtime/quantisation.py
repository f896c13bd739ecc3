"""Between real numbers and a quantised tensor's integers, exactly as LiteRT's QUANTIZE and DEQUANTIZE do it."""

import numpy as np

from edgekd.errors import ModelError, NonFiniteError
from edgekd.records import TensorSpec
from edgekd.runtime.runner import Array


def quantise(real: Array, spec: TensorSpec) -> Array:
    """Returns the integers of a quantised tensor.

    q = clip(round(real / scale) + zero_point), rounding half to even and saturating at the dtype's range. Half to
    even is what LiteRT's CPU kernels (built-in and XNNPACK) and ONNX's QuantizeLinear do; only LiteRT's reference
    kernel rounds half away from zero.

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
    values = np.asarray(real, dtype=np.float32)
    if not np.isfinite(values).all():
        raise NonFiniteError(
            f"the values for tensor {spec.name!r} contain NaN or infinity: nothing can represent them."
        )
    limits = np.iinfo(spec.dtype)
    # Clipped as real numbers first: a huge quotient would overflow the integer conversion.
    steps = np.clip(np.rint(values / scale), -(2.0**24), 2.0**24).astype(np.int64)
    return np.clip(steps + zero_point, limits.min, limits.max).astype(spec.dtype)


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
    return (raw.astype(np.int64) - zero_point).astype(np.float32) * scale


def _parameters(spec: TensorSpec) -> tuple[np.float32, int]:
    if np.dtype(spec.dtype).kind not in "iu" or spec.scale is None or spec.zero_point is None:
        raise ModelError(
            f"tensor {spec.name!r} ({spec.dtype}) has no scale and zero point: it is not a quantised tensor, or the "
            "file does not say how its integers are to be read."
        )
    return np.float32(spec.scale), spec.zero_point
