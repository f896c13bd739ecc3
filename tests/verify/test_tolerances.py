"""Tolerances are derived from the number format and the reference, never guessed."""

import numpy as np
import pytest

from edgekd.errors import NonFiniteError, RecipeError, ShapeError
from edgekd.verify.tolerances import Limits, float_tolerance


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


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        *(
            ({name: np.nan}, "nan: expected a finite number of 0 or more")
            for name in ("epsilons", "max_abs", "max_lsb")
        ),
        ({"max_abs": np.inf}, "max_abs is inf"),
        ({"epsilons": -1.0}, "epsilons is -1.0"),
        ({"max_mismatch": np.nan}, "max_mismatch is nan: expected a finite number from 0 to 1"),
        ({"max_accuracy_drop": 5}, "max_accuracy_drop is 5"),
        ({"min_agreement": -3}, "min_agreement is -3"),
        ({"min_agreement": np.nan}, "min_agreement is nan"),
        ({"min_sqnr_db": -np.inf}, r"min_sqnr_db is -inf: expected a finite number\."),
        ({"max_lsb": "1"}, "max_lsb is '1'"),
        ({"max_lsb": True}, "max_lsb is True"),
    ],
)
def test_limits_that_nothing_could_fail_are_refused(limits, expected):
    with pytest.raises(RecipeError, match=expected):
        Limits(**limits)


def test_limits_at_their_ends_are_limits():
    Limits(epsilons=0, max_abs=0.0, max_lsb=np.float32(2), max_mismatch=1, min_sqnr_db=-3, min_agreement=0)
