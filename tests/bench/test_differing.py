"""Differences of outputs, counted by hand."""

import numpy as np
import pytest

from edgekd.bench.differing import Differences
from edgekd.errors import ModelError
from edgekd.records import TensorSpec


def spec(dtype):
    return TensorSpec(name="y", shape=(1, 4), dtype=dtype)


def test_integers_are_counted_in_steps_over_all_batches():
    first = np.int8([[-128, 5, 7, 1]]), np.int8([[127, 5, 8, 1]])  # 255 and 1 apart; another largest value
    second = np.int8([[0, 9, 2, 3]]), np.int8([[2, 9, 2, 3]])  # 2 apart
    found = Differences(spec("int8")).plus(*first).plus(*second).record("f")
    assert (found.elements, found.max_lsb, found.max_abs) == (8, 255, None)
    assert found.differing == 3 / 8
    assert found.beyond_one_lsb == 2 / 8
    assert found.agreement == 1 / 2


def test_floats_have_a_largest_difference_and_no_steps():
    found = Differences(spec("float32")).plus(np.float32([[1, 2, 3, 4]]), np.float32([[1, 2, 3.5, 4]])).record("f")
    assert (found.max_abs, found.max_lsb, found.beyond_one_lsb) == (0.5, None, None)
    assert (found.differing, found.agreement) == (0.25, 1.0)


def test_what_has_one_value_has_no_largest_one():
    single = np.float32([[1.0]])
    assert Differences(spec("float32")).plus(single, single).record("f").agreement is None


def test_nothing_passes_by_being_empty_or_by_not_being_a_number():
    with pytest.raises(ModelError, match="has no values to compare"):
        Differences(spec("int8")).record("f")
    nan = np.float32([[np.nan, 1]])
    with pytest.raises(ModelError, match="NaN or infinity"):
        Differences(spec("float32")).plus(nan, nan).record("f")
    with pytest.raises(ModelError, match=r"\[1, 2\] float32 here and \[2\] float32 there"):
        Differences(spec("float32")).plus(nan, nan[0])
