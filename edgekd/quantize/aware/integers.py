"""What int8 kernels compute, in floats that hold every integer exactly: sums, their requantisation, merged arrays.

The arithmetic is XNNPACK's, which LiteRT runs by default: sums of products of integers, multiplied by one float32
number and rounded, halves to even; sums of two arrays in fixed point. Each function returns real numbers, whole
multiples of the output's scale, with the gradient of the same computation without rounding.

References:
  XNNPACK, src/qs8-gemm, src/qs8-vadd, src/qs8-vmul and src/microparams-init.c
  (https://github.com/google/XNNPACK).
"""

from typing import Any

import tensorflow as tf

_MULTIPLIER_BITS = 20  # of XNNPACK's sum of two arrays


def whole(x: Any) -> Any:
    """Returns the nearest whole numbers, halves to even, with the gradient of x."""
    return x + tf.stop_gradient(tf.round(x) - x)


def requantised(
    sums: Any,
    *,
    input_scale: Any,
    kernel_scales: Any,
    output_scale: Any,
    bias: Any,
    factor: Any = 1.0,
    shift: Any = 0.0,
) -> Any:
    """Returns (sums · input_scale · kernel_scales + bias) · factor + shift, rounded to steps as the file's kernel does.

    The factor is folded into the kernel, its sign into the kernel's integers, and the shift into a bias of 32 bits.

    Args:
      sums: [batch, ..., channels] float32, of products of the input's and the kernel's integers.
      input_scale: [] float32.
      kernel_scales: [channels] or [] float64, before the factor.
      output_scale: [] float32.
      bias: [channels] or [] float32.
      factor: [channels] or [] float32, of a batch normalisation.
      shift: likewise.
    """
    folded = tf.cast(kernel_scales * tf.abs(tf.cast(factor, "float64")), "float32")
    total = tf.cast(bias, "float64") * tf.cast(factor, "float64") + tf.cast(shift, "float64")
    unit = tf.cast(input_scale, "float64") * kernel_scales * tf.abs(tf.cast(factor, "float64"))
    # float64: a bias may have 30 bits; the kernel converts the sum of 32 bits to float32 once.
    integers = tf.cast(sums, "float64") * tf.sign(tf.cast(factor, "float64")) + tf.round(total / unit)
    steps = tf.round(tf.cast(integers, "float32") * (input_scale * folded / output_scale))
    real = (sums * (input_scale * tf.cast(kernel_scales, "float32")) + bias) * factor + shift
    return _with_gradient_of(real, steps * output_scale)


def added(first: Any, second: Any, *, scales: tuple[Any, Any], output_scale: Any, sign: float = 1.0) -> Any:
    """Returns first + sign · second, rounded to steps of the output as the file's kernel does.

    Args:
      first: [batch, ...] float32, whole multiples of its scale.
      second: likewise; the shapes broadcast.
      scales: [] float32, of both.
      output_scale: [] float32.
      sign: 1 for a sum, -1 for a difference.
    """
    ratios = tf.stack(scales) / output_scale
    # 20 bits for the larger of the two: 2**e <= ratio < 2**(e + 1).
    exponent = tf.bitwise.right_shift(tf.bitcast(tf.reduce_max(ratios), tf.int32), 23) - 127
    power = tf.pow(tf.constant(2.0, "float64"), tf.cast(_MULTIPLIER_BITS - exponent, "float64"))
    multipliers = tf.round(tf.cast(ratios, "float64") * power)
    parts = [tf.cast(tf.round(x / scale), "float64") for x, scale in zip((first, second), scales, strict=True)]
    integers = parts[0] * multipliers[0] + sign * parts[1] * multipliers[1]
    steps = tf.floor((integers + power / 2) / power)
    return _with_gradient_of(first + sign * second, tf.cast(steps, "float32") * output_scale)


def multiplied(first: Any, second: Any, *, scales: tuple[Any, Any], output_scale: Any) -> Any:
    """Returns first · second, rounded to steps of the output as the file's kernel does; arguments as for `added`."""
    integers = tf.round(first / scales[0]) * tf.round(second / scales[1])
    steps = tf.round(integers * (scales[0] * scales[1] / output_scale))
    return _with_gradient_of(first * second, steps * output_scale)


def _with_gradient_of(real: Any, rounded: Any) -> Any:
    return real + tf.stop_gradient(rounded - real)
