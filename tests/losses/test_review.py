"""The hierarchical context loss against pooling written as a loop, and a case worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.review import review


def pooled_by_loop(features, size):
    """Adaptive average pooling as its definition says: window i spans floor(i·n/m) to ceil((i+1)·n/m)."""
    height, width, channels = features.shape
    pooled = np.zeros((size, size, channels))
    for i in range(size):
        for j in range(size):
            top, bottom = math.floor(i * height / size), math.ceil((i + 1) * height / size)
            left, right = math.floor(j * width / size), math.ceil((j + 1) * width / size)
            pooled[i, j] = features[top:bottom, left:right].mean(axis=(0, 1))
    return pooled


def by_loop(student, teacher, levels):
    values = []
    for ours, theirs in zip(student, teacher, strict=True):
        total, weight, weights = np.mean((ours - theirs) ** 2), 1.0, 1.0
        for level in levels:
            weight /= 2
            total += weight * np.mean((pooled_by_loop(ours, level) - pooled_by_loop(theirs, level)) ** 2)
            weights += weight
        values.append(total / weights)
    return values


def loss(student, teacher):
    return review(tf.constant(student), tf.constant(teacher)).numpy()


def test_a_2x2_map_by_hand():
    # Differences 1, 1, 1, -3: mean square 3 with weight 1. Levels 4 and 2 are not smaller than the map; level 1
    # averages to 0 and has the next weight, 1/2. So 3 / 1.5 = 2.
    student = np.array([1.0, 1.0, 1.0, -3.0]).reshape(1, 2, 2, 1)
    assert loss(student, np.zeros((1, 2, 2, 1))) == pytest.approx([2.0])
    # A constant difference of 2 survives every average: 4 at all levels.
    assert loss(np.full((1, 8, 8, 3), 5.0), np.full((1, 8, 8, 3), 3.0)) == pytest.approx([4.0])


@pytest.mark.parametrize(
    ("height", "width", "levels"),
    [
        (8, 8, (4, 2, 1)),
        (7, 7, (4, 2, 1)),
        (5, 6, (4, 2, 1)),
        (4, 4, (2, 1)),
        (3, 3, (2, 1)),
        (2, 2, (1,)),
        (1, 1, ()),
        (9, 3, (2, 1)),  # no level may be larger than either side
    ],
)
def test_the_loss_is_the_weighted_mean_over_the_levels_that_are_smaller_than_the_map(height, width, levels):
    rng = np.random.default_rng(height)
    student, teacher = rng.normal(size=(2, height, width, 3)), rng.normal(size=(2, height, width, 3))
    np.testing.assert_allclose(loss(student, teacher), by_loop(student, teacher, levels), rtol=1e-12)


def test_a_difference_of_the_average_costs_more_than_one_that_averages_out():
    rough = np.where(np.indices((8, 8)).sum(axis=0) % 2, 1.0, -1.0).reshape(1, 8, 8, 1)  # a chessboard
    nothing = np.zeros_like(rough)
    # Only the full size sees the chessboard: 1 of a total weight of 15/8. All levels see a constant.
    assert loss(rough, nothing) == pytest.approx([8 / 15])
    assert loss(np.abs(rough), nothing) == pytest.approx([1.0])


def test_a_loss_beyond_half_precision_is_its_largest_number():
    student = tf.fill((2, 8, 8, 3), tf.constant(1e3, "float16"))
    assert review(student, -student).numpy().tolist() == [65504.0] * 2


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((2, 4, 4, 3), (2, 4, 4, 6)), ((2, 4, 4, 3), (2, 2, 2, 3)), ((2, 4, 4, 3), (1, 4, 4, 3)), ((2, 3), (2, 3))],
)
def test_maps_that_do_not_fit_are_refused_with_both_shapes_and_the_adapter(student, teacher):
    with pytest.raises(ShapeError) as raised:
        review(tf.zeros(student), tf.zeros(teacher))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)


def test_the_error_names_the_adapter_that_helps():
    with pytest.raises(ShapeError, match="adapter 'fusion'"):
        review(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 4, 4, 6)))
