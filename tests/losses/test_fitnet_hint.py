"""FitNets' hint against a loop over the map and a case worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.fitnet_hint import fitnet_hint


@pytest.fixture
def maps():
    """Student and teacher feature maps, [3, 2, 3, 4] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 2, 3, 4)), rng.normal(size=(3, 2, 3, 4))


def by_loop(student, teacher):
    batch, height, width, channels = student.shape
    means = []
    for b in range(batch):
        total = 0.0
        for y in range(height):
            for x in range(width):
                for c in range(channels):
                    total += (student[b, y, x, c] - teacher[b, y, x, c]) ** 2
        means.append(total / (height * width * channels))
    return means


def loss(student, teacher):
    return fitnet_hint(tf.constant(student), tf.constant(teacher)).numpy()


def test_a_1x2x2_map_by_hand():
    # Differences 1, 2, 0, -3: squares sum to 14, over four elements 3.5.
    student = [[[[1.0, 2.0], [3.0, 4.0]]]]
    teacher = [[[[0.0, 0.0], [3.0, 7.0]]]]
    assert loss(student, teacher) == pytest.approx([3.5])


def test_the_loss_is_the_mean_square_over_the_map(maps):
    np.testing.assert_allclose(loss(*maps), by_loop(*maps), rtol=1e-12)


def test_the_paper_s_half_sum_is_half_the_number_of_elements_times_as_much(maps):
    student, teacher = maps
    paper = [0.5 * np.linalg.norm((a - b).ravel()) ** 2 for a, b in zip(student, teacher, strict=True)]
    np.testing.assert_allclose(loss(student, teacher) * (2 * 3 * 4) / 2, paper, rtol=1e-12)


def test_repeating_positions_or_channels_changes_nothing_so_that_one_weight_suits_any_size(maps):
    student, teacher = maps
    for axis in (1, 2, 3):
        repeated = loss(np.repeat(student, 2, axis=axis), np.repeat(teacher, 2, axis=axis))
        np.testing.assert_allclose(repeated, loss(student, teacher), rtol=1e-12)


def test_a_loss_beyond_half_precision_is_its_largest_number(maps):
    student, teacher = (tf.cast(1e3 * each, "float16") for each in maps)
    assert fitnet_hint(student, teacher).numpy().tolist() == [65504.0] * 3


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((2, 4, 4, 3), (2, 4, 4, 6)),
        ((2, 4, 4, 1), (2, 4, 4, 6)),  # would be broadcast
        ((2, 4, 4, 3), (2, 2, 2, 3)),
        ((2, 4, 4, 3), (1, 4, 4, 3)),
        ((2, 12), (2, 12)),
    ],
)
def test_maps_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        fitnet_hint(tf.zeros(student), tf.zeros(teacher))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)


def test_the_error_names_the_adapter_that_helps():
    with pytest.raises(ShapeError, match="adapter 'regressor'"):
        fitnet_hint(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 4, 4, 6)))
