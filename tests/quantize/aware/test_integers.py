"""The arithmetic of int8 kernels, against the same in integers of 64 bits, written from XNNPACK's sources."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.quantize.aware import integers

F32 = np.float32
GENERATOR = np.random.default_rng(0)


def rounded_half_even(x):
    return np.rint(x).astype(np.int64)


def steps_of(found, scale):
    steps = found.numpy() / scale
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    return np.rint(steps).astype(np.int64)


def test_a_sum_is_requantised_with_one_multiplication_in_float32():
    sums = GENERATOR.integers(-400_000, 400_000, (64, 5))
    kernel_scales = GENERATOR.uniform(1e-3, 1e-2, 5)
    factor, shift = F32([0.5, -1.25, 2.0, -0.1, 1.0]), F32([0.1, -2.0, 3.0, 0.0, 7.0])
    bias = F32([1.0, 0.5, -0.25, 0.0, 2.0])
    input_scale, output_scale = F32(0.0173), F32(0.0911)
    found = integers.requantised(
        tf.constant(sums, tf.float32),
        input_scale=tf.constant(input_scale),
        kernel_scales=tf.constant(kernel_scales),
        output_scale=tf.constant(output_scale),
        bias=tf.constant(bias),
        factor=tf.constant(factor),
        shift=tf.constant(shift),
    )
    # What the file holds: kernels times the sign, scales times the magnitude, and a bias in steps of 32 bits.
    scales = F32(kernel_scales * np.abs(factor.astype(np.float64)))
    total = bias.astype(np.float64) * factor + shift
    in_steps = np.rint(total / (float(input_scale) * kernel_scales * np.abs(factor.astype(np.float64)))).astype(
        np.int64
    )
    accumulated = sums * np.sign(factor).astype(np.int64) + in_steps
    expected = rounded_half_even(accumulated.astype(F32) * (input_scale * scales / output_scale))
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(steps_of(found, output_scale), expected)


def test_a_bias_beyond_the_whole_numbers_of_float32_keeps_its_last_bit():
    steps = 2**26 + 3  # float32 would make it 2**26 + 4
    found = integers.requantised(
        tf.constant([[-(2.0**26)]]),
        input_scale=tf.constant(1.0),
        kernel_scales=tf.constant(1 / steps, tf.float64),
        output_scale=tf.constant(F32(1 / steps)),
        bias=0.0,
        shift=1.0,
    )
    np.testing.assert_array_equal(steps_of(found, F32(1 / steps)), [[3]])


def test_halves_are_rounded_to_even():
    found = integers.requantised(
        tf.constant([[1.0, 3.0, 5.0, -1.0, -3.0]]),
        input_scale=tf.constant(1.0),
        kernel_scales=tf.constant(0.5, tf.float64),
        output_scale=tf.constant(1.0),
        bias=0.0,
    )
    np.testing.assert_array_equal(found.numpy(), [[0, 2, 2, 0, -2]])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scales", [(0.031, 0.0073, 0.0251), (0.5, 0.25, 0.125), (0.011, 0.3, 0.7)])
def test_two_arrays_are_added_in_fixed_point(sign, scales):
    first, second = (GENERATOR.integers(-255, 256, 4000) for _ in range(2))
    one, other, output = (F32(each) for each in scales)
    found = integers.added(
        tf.constant(first.astype(F32) * one),
        tf.constant(second.astype(F32) * other),
        scales=(tf.constant(one), tf.constant(other)),
        output_scale=tf.constant(output),
        sign=float(sign),
    )
    ratios = [float(one / output), float(other / output)]
    shift = 20 - (math.frexp(max(ratios))[1] - 1)
    multipliers = [round(math.ldexp(each, shift)) for each in ratios]  # of no halves
    total = first * multipliers[0] + sign * second * multipliers[1] + (1 << (shift - 1))
    np.testing.assert_array_equal(steps_of(found, output), total >> shift)


def test_two_arrays_are_multiplied_in_integers():
    first, second = (GENERATOR.integers(-255, 256, 4000) for _ in range(2))
    one, other, output = F32(0.031), F32(0.0073), F32(0.0251)
    found = integers.multiplied(
        tf.constant(first.astype(F32) * one),
        tf.constant(second.astype(F32) * other),
        scales=(tf.constant(one), tf.constant(other)),
        output_scale=tf.constant(output),
    )
    expected = rounded_half_even((first * second).astype(F32) * (one * other / output))
    np.testing.assert_array_equal(steps_of(found, output), expected)


def test_the_gradient_is_that_of_real_numbers():
    x, y = tf.Variable([0.3, -0.7]), tf.Variable([0.2, 0.9])
    scale = tf.constant(0.1)
    with tf.GradientTape(persistent=True) as tape:
        product = integers.multiplied(x, y, scales=(scale, scale), output_scale=scale)
        difference = integers.added(x, y, scales=(scale, scale), output_scale=scale, sign=-1.0)
        normalised = integers.requantised(
            integers.whole(x / scale),
            input_scale=scale,
            kernel_scales=tf.constant(2.0, tf.float64),
            output_scale=scale,
            bias=y,
            factor=tf.constant([3.0, -1.0]),
        )
    np.testing.assert_allclose(tape.gradient(product, x), y.numpy(), rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(difference, y), [-1, -1], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(normalised, x), [6, -2], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(normalised, y), [3, -1], rtol=1e-5)
