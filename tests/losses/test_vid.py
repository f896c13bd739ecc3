"""Variational information distillation against SciPy's Gaussian and a case worked out by hand."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.vid import vid

VARIANCE = np.array([0.25, 1.0, 9.0])


@pytest.fixture
def maps():
    """Student and teacher feature maps, [4, 2, 2, 3] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 2, 2, 3)), rng.normal(size=(4, 2, 2, 3))


def by_scipy(student, teacher, variance):
    """The mean negative log-density without its constant ½ log 2π, one element at a time."""
    means = []
    for ours, theirs in zip(student, teacher, strict=True):
        surprises = [
            -scipy.stats.norm.logpdf(theirs[y, x, c], loc=ours[y, x, c], scale=math.sqrt(variance[c]))
            - 0.5 * math.log(2 * math.pi)
            for y in range(ours.shape[0])
            for x in range(ours.shape[1])
            for c in range(ours.shape[2])
        ]
        means.append(sum(surprises) / len(surprises))
    return means


def loss(student, teacher, variance=VARIANCE):
    return vid(tf.constant(student), tf.constant(teacher), variance=tf.constant(variance)).numpy()


def test_two_channels_by_hand():
    # Channel 0: difference 3, variance 9: (1 + log 9) / 2. Channel 1: difference 1, variance 1/4: (4 + log 1/4) / 2.
    expected = ((1 + math.log(9.0)) / 2 + (4 - math.log(4.0)) / 2) / 2
    assert expected == pytest.approx(1.4527326, abs=1e-7)
    assert loss([[[[0.0, 2.0]]]], [[[[3.0, 1.0]]]], [9.0, 0.25]) == pytest.approx([expected])


def test_the_loss_is_the_mean_negative_log_likelihood_without_its_constant(maps):
    np.testing.assert_allclose(loss(*maps), by_scipy(*maps, VARIANCE), rtol=1e-12)


def test_its_least_is_half_the_mean_logarithm_of_the_variance_and_may_be_negative(maps):
    _, teacher = maps
    np.testing.assert_allclose(loss(teacher, teacher), 0.5 * math.log(0.25 * 1.0 * 9.0) / 3, rtol=1e-12)
    np.testing.assert_allclose(loss(teacher, teacher, VARIANCE / 100), 0.5 * math.log(2.25e-6) / 3, rtol=1e-12)


def test_the_gradient_divides_by_the_channels_variance_and_reaches_the_variance(maps):
    student, variance = tf.Variable(maps[0]), tf.Variable(VARIANCE)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(vid(student, tf.constant(maps[1]), variance=tf.convert_to_tensor(variance)))
    to_student, to_variance = tape.gradient(total, (student, variance))
    difference = maps[0] - maps[1]
    np.testing.assert_allclose(to_student, difference / VARIANCE / 12, rtol=1e-12)
    for c in range(3):
        expected = np.sum(0.5 / VARIANCE[c] - 0.5 * difference[..., c] ** 2 / VARIANCE[c] ** 2) / 12
        assert to_variance[c].numpy() == pytest.approx(expected, rel=1e-10)


def test_the_best_variance_is_the_mean_squared_error_of_its_channel(maps):
    best = np.mean((maps[0] - maps[1]) ** 2, axis=(0, 1, 2))
    at_best = loss(*maps, best).mean()
    for factor in (0.9, 1.1):
        assert loss(*maps, best * factor).mean() > at_best


def test_a_variance_of_another_dtype_is_taken(maps):
    student, teacher = (tf.cast(each, "float16") for each in maps)
    result = vid(student, teacher, variance=tf.constant(VARIANCE, "float32"))
    assert result.dtype == "float16"
    np.testing.assert_allclose(result, by_scipy(student.numpy().astype(float), teacher.numpy().astype(float), VARIANCE),
                               rtol=2e-3)  # fmt: skip


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((2, 4, 4, 3), (2, 4, 4, 6)), ((2, 4, 4, 3), (2, 2, 2, 3)), ((2, 4, 4, 3), (1, 4, 4, 3)), ((2, 3), (2, 3))],
)
def test_maps_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        vid(tf.zeros(student), tf.zeros(teacher), variance=tf.ones(3))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 3)])
def test_a_variance_that_is_not_one_for_each_channel_is_refused_and_never_broadcast(shape):
    with pytest.raises(ShapeError) as raised:
        vid(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 4, 4, 3)), variance=tf.ones(shape))
    assert f"variance has shape {shape}" in str(raised.value)
    assert "(2, 4, 4, 3)" in str(raised.value)
