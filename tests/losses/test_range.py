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


def test_values_of_that_dtype_already_are_left_alone():
    values = tf.constant([1.0, np.inf, np.nan])
    assert narrowed(values, like=tf.zeros(())) is values
