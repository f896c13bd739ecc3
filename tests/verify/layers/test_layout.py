"""Axes of one format as another's, checked with numpy's own transposes."""

import numpy as np
import pytest

from edgekd.verify.layers.layout import layouts


def test_channels_first_and_last_are_told_by_shape():
    nhwc = np.random.default_rng(0).random((5, 1, 6, 7, 3))
    nchw = nhwc.transpose(0, 1, 4, 2, 3)
    (found,) = layouts(nhwc.shape[1:], nchw.shape[1:], batch=1)
    assert found.name == "channels moved last"
    assert np.array_equal(found.to_reference(nchw), nhwc)
    assert np.array_equal(found.to_candidate(nhwc), nchw)
    (found,) = layouts(nchw.shape[1:], nhwc.shape[1:], batch=1)
    assert found.name == "channels moved first"
    assert np.array_equal(found.to_reference(nhwc), nchw)


def test_a_shape_that_several_layouts_have_leaves_all_of_them():
    found = layouts((1, 4, 4, 4), (1, 4, 4, 4), batch=1)
    assert [each.name for each in found] == ["same", "channels moved last", "channels moved first"]


def test_axes_of_one_are_put_in_and_left_out():
    (found,) = layouts((1, 9, 4), (1, 1, 9, 4), batch=1)
    assert found.name == "same"
    assert found.to_candidate(np.zeros((2, 1, 9, 4))).shape == (2, 1, 1, 9, 4)


def test_the_batch_stays_first():
    values = np.random.default_rng(0).random((2, 3, 5, 6, 4))
    (found,) = layouts((3, 5, 6, 4), (3, 4, 5, 6), batch=3)
    assert np.array_equal(found.to_reference(values.transpose(0, 1, 4, 2, 3)), values)


def test_a_flattened_tensor_is_reshaped():
    (found,) = layouts((1, 24), (1, 2, 3, 4), batch=1)
    assert found.name == "reshaped"
    assert found.to_reference(np.arange(24).reshape(1, 1, 2, 3, 4)).tolist() == [[list(range(24))]]


@pytest.mark.parametrize("other", [(1, 3, 6, 5), (1, 2, 2, 4), (1, 5, 7, 4)])
def test_other_shapes_have_no_layout(other):
    assert layouts((1, 5, 6, 3), other, batch=1) == ()
