"""Neuron selectivity transfer against loops over pairs of channels, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.nst import nst


@pytest.fixture
def maps():
    """Student [3, 2, 4, 5] and teacher [3, 2, 4, 7] float64 feature maps."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 2, 4, 5)), rng.normal(size=(3, 2, 4, 7))


def by_loop(student, teacher):
    def channels(sample):
        vectors = [sample[:, :, c].ravel() for c in range(sample.shape[-1])]
        return [each / math.hypot(*each) for each in vectors]

    def mean_kernel(first, second):
        return sum(float(np.dot(a, b)) ** 2 for a in first for b in second) / (len(first) * len(second))

    values = []
    for ours, theirs in zip(student, teacher, strict=True):
        s, t = channels(ours), channels(theirs)
        values.append(mean_kernel(t, t) + mean_kernel(s, s) - 2 * mean_kernel(t, s))
    return values


def loss(student, teacher):
    return nst(tf.constant(student), tf.constant(teacher)).numpy()


def gradient(student, teacher):
    student = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(student)
        total = tf.reduce_sum(nst(student, tf.constant(teacher)))
    return tape.gradient(total, student).numpy()


def test_one_channel_and_two_at_two_positions_by_hand():
    student = np.array([2.0, 0.0]).reshape(1, 1, 2, 1)
    teacher = np.array([[5.0, 3.0], [0.0, 4.0]]).reshape(1, 1, 2, 2)
    # Unit channels: student (1, 0); teacher (1, 0) and (0.6, 0.8). Squared products within the teacher: 1, 1 and twice
    # 0.36, mean 0.68. Within the student: 1. Between: 1 and 0.36, mean 0.68.
    assert loss(student, teacher) == pytest.approx([0.68 + 1 - 2 * 0.68], rel=1e-12)


def test_the_loss_is_the_formula_also_for_different_numbers_of_channels(maps):
    np.testing.assert_allclose(loss(*maps), by_loop(*maps), rtol=1e-10)


def test_the_gradient_is_the_slope(maps):
    student, teacher = maps
    step = 1e-6 * np.random.default_rng(1).normal(size=student.shape)
    slope = (np.sum(by_loop(student + step, teacher)) - np.sum(by_loop(student - step, teacher))) / 2
    assert np.sum(gradient(student, teacher) * step) == pytest.approx(slope, rel=1e-6)


def test_the_order_scale_and_sign_of_channels_change_nothing_and_the_order_of_positions_does(maps):
    student, teacher = maps
    same = teacher[..., ::-1] * np.array([1e-3, -1.0, 7.0, -1e4, 2.0, 1.0, 3.0])
    np.testing.assert_allclose(loss(same, teacher), 0.0, atol=1e-14)
    np.testing.assert_allclose(loss(student, same), loss(student, teacher), rtol=1e-9)
    for axis in (1, 2):
        shifted = loss(np.roll(student, 1, axis=axis), teacher)
        assert (np.abs(shifted / loss(student, teacher) - 1) > 0.01).all()
        # Both shifted alike respond to the same places again.
        alike = loss(np.roll(student, 1, axis=axis), np.roll(teacher, 1, axis=axis))
        np.testing.assert_allclose(alike, loss(student, teacher), rtol=1e-10)


def test_a_channel_that_is_zero_everywhere_is_the_zero_vector(maps):
    student, teacher = maps
    silent = np.concatenate([student, np.zeros((3, 2, 4, 5))], axis=-1)
    # Half of the student's channels are zero: kernels within it have a quarter of the mean, those between half of it.
    expected = []
    for ours, theirs in zip(student, teacher, strict=True):
        s, t = (each.reshape(8, -1) / np.linalg.norm(each.reshape(8, -1), axis=0) for each in (ours, theirs))
        expected.append(np.mean((t.T @ t) ** 2) + 0.25 * np.mean((s.T @ s) ** 2) - np.mean((t.T @ s) ** 2))
    np.testing.assert_allclose(loss(silent, teacher), expected, rtol=1e-10)
    assert np.isfinite(gradient(silent, teacher)).all()


@pytest.mark.parametrize("size", [(4, 4), (2, 2), (1, 1)])
def test_maps_of_different_size_are_refused_with_both_shapes(maps, size):
    student, _ = maps
    with pytest.raises(ShapeError, match=r"expected the same height and width\. Choose taps of the same") as raised:
        loss(student, np.zeros((3, *size, 5)))
    assert str(student.shape) in str(raised.value)
    assert str((3, *size, 5)) in str(raised.value)
