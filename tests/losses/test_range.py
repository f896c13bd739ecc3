"""Saturation at a dtype's largest number against NumPy's and ml_dtypes' limits."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from edgekd.losses._range import LARGEST, narrowed


@pytest.mark.parametrize("dtype", sorted(LARGEST))
def test_the_largest_numbers_are_those_of_the_dtypes(dtype):
    assert LARGEST[dtype] == float(ml_dtypes.finfo(dtype).max)


@pytest.mark.parametrize(("wide", "dtype"), [("float32", "float16"), ("float32", "bfloat16"), ("float64", "float32")])
def test_what_the_dtype_cannot_hold_becomes_its_largest_number_of_the_same_sign(wide, dtype):
    beyond = float(np.finfo(wide).max)
    values = tf.constant([0.5, -2.0, LARGEST[dtype], beyond, -beyond], wide)
    result = tf.cast(narrowed(values, like=tf.zeros((), dtype)), "float64").numpy()
    np.testing.assert_array_equal(result, [0.5, -2.0, LARGEST[dtype], LARGEST[dtype], -LARGEST[dtype]])


def test_the_gradient_shrinks_by_as_much_as_the_value():
    values = tf.Variable([1.0, 655040.0])
    with tf.GradientTape() as tape:
        result = narrowed(tf.convert_to_tensor(values), like=tf.zeros((), "float16"))
    np.testing.assert_allclose(tape.gradient(result, values), [1.0, 0.1], rtol=1e-6)


@pytest.mark.parametrize("dtype", sorted(LARGEST))
def test_an_infinite_value_becomes_the_largest_number_without_gradient_and_nan_stays(dtype):
    wide = "float64" if dtype == "float64" else "float32"
    features = tf.Variable([1.0, np.sqrt(np.finfo(wide).max) * 2, np.nan], dtype=wide)
    with tf.GradientTape() as tape:
        squares = tf.square(features)  # 1, infinity, NaN
        result = narrowed(squares, like=tf.zeros((), dtype))
    np.testing.assert_array_equal(tf.cast(result, "float64").numpy(), [1.0, LARGEST[dtype], np.nan])
    np.testing.assert_array_equal(tape.gradient(result, features).numpy(), [2.0, 0.0, np.nan])


def test_minus_infinity_becomes_the_least_number():
    result = narrowed(tf.constant([-np.inf]), like=tf.zeros((), "bfloat16"))
    assert float(result[0]) == -LARGEST["bfloat16"]


def test_finite_values_of_that_dtype_already_are_left_alone():
    values = tf.constant([1.0, -3.5, LARGEST["float32"]])
    np.testing.assert_array_equal(narrowed(values, like=tf.zeros(())), values)
