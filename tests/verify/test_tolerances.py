"""Tolerances are derived from the number format and the reference, never guessed."""

import numpy as np
import pytest

from edgekd.errors import NonFiniteError, ShapeError
from edgekd.verify.tolerances import float_tolerance


def test_tolerance_is_epsilons_of_the_largest_output():
    reference = np.float32([-8.0, 1.0])
    assert float_tolerance(reference, multiple=4) == 4 * 2.0**-23 * 8
    assert float_tolerance(reference, dtype="float16", multiple=4) == 4 * 2.0**-10 * 8


def test_reordered_sums_stay_within_it_and_a_real_error_does_not():
    rng = np.random.default_rng(0)
    weights, inputs = rng.standard_normal((10, 4096)), rng.standard_normal(4096)
    exact = weights @ inputs
    rounded = np.zeros(10, np.float32)
    for index in rng.permutation(4096):
        rounded += (weights[:, index] * inputs[index]).astype(np.float32)
    assert np.max(np.abs(exact - rounded)) < float_tolerance(exact)
    assert np.max(np.abs(exact - rounded * 1.0001)) > float_tolerance(exact)


@pytest.mark.parametrize("reference", [np.zeros(3), np.array([1.0, np.nan]), np.array([np.inf])])
def test_no_tolerance_comes_from_zeros_or_nan(reference):
    with pytest.raises(NonFiniteError, match="no tolerance can be derived"):
        float_tolerance(reference)


def test_no_tolerance_comes_from_nothing():
    with pytest.raises(ShapeError, match="empty"):
        float_tolerance(np.zeros(0))
