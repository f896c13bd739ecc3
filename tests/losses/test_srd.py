"""The LogSum distance against loops over features and samples, and a case worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError, ShapeError
from edgekd.losses.srd import srd


@pytest.fixture
def features():
    """Student and teacher features, [6, 5] float64 of different scale and offset."""
    rng = np.random.default_rng(0)
    return 3.0 * rng.normal(size=(6, 5)) + 2.0, 0.5 * rng.normal(size=(6, 5)) - 1.0


def by_loop(student, teacher, alpha):
    def normalised(column):
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        return [(value - mean) / math.sqrt(variance + 1e-4) for value in column]

    total = 0.0
    for k in range(student.shape[1]):
        for ours, theirs in zip(normalised(student[:, k]), normalised(teacher[:, k]), strict=True):
            total += abs(ours - theirs) ** alpha
    return math.log(total + 1e-5)


def loss(student, teacher, **settings):
    return srd(tf.constant(student), tf.constant(teacher), **settings).numpy()


def gradient(student, teacher):
    variable = tf.Variable(student)
    with tf.GradientTape() as tape:
        total = tf.reduce_mean(srd(variable, tf.constant(teacher)))
    return tape.gradient(total, variable).numpy()


def test_two_samples_by_hand():
    # Two samples normalise to ±1 whatever they are (up to the least variance): the student to 1, -1 and the teacher
    # to -1, 1. Differences of 2 and -2: log(2^4 + 2^4) = log 32.
    result = loss(np.array([[300.0], [100.0]]), np.array([[-70.0], [50.0]]))
    assert result == pytest.approx([math.log(32.0)] * 2, abs=1e-6)
    # With the same order both are alike, and what remains is the least sum.
    assert loss(np.array([[300.0], [100.0]]), np.array([[70.0], [50.0]])) == pytest.approx(
        [math.log(1e-5)] * 2, abs=1e-4
    )


@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0, 5.5])
def test_every_sample_gets_the_logarithm_of_the_batchs_sum_of_powers(features, alpha):
    np.testing.assert_allclose(loss(*features, alpha=alpha), [by_loop(*features, alpha)] * 6, rtol=1e-10)


def test_the_usual_power_is_4(features):
    np.testing.assert_array_equal(loss(*features), loss(*features, alpha=4.0))


def test_features_of_more_dimensions_are_flattened(features):
    student, teacher = (np.concatenate([each, each[:, :1]], axis=1) for each in features)
    flat = loss(student, teacher)
    np.testing.assert_array_equal(loss(student.reshape(6, 3, 2), teacher.reshape(6, 3, 2)), flat)


def test_scale_and_offset_of_each_feature_change_nothing_beyond_the_least_variance(features):
    student, teacher = features
    moved = 100.0 * student * np.array([1.0, 2.0, 3.0, 4.0, 5.0]) + 17.0
    np.testing.assert_allclose(loss(moved, teacher), loss(student, teacher), atol=2e-3)


def test_the_largest_difference_rules_more_at_a_higher_power(features):
    _, teacher = features
    student = teacher + 0.01 * np.random.default_rng(1).normal(size=teacher.shape)
    student[0, 0] += 0.1
    shares = []
    for alpha in (1.0, 4.0):
        variable = tf.Variable(student)
        with tf.GradientTape() as tape:
            total = tf.reduce_mean(srd(variable, tf.constant(teacher), alpha=alpha))
        slope = np.abs(tape.gradient(total, variable).numpy())
        shares.append(slope[:, 0].sum() / slope.sum())
    assert shares[1] > 2 * shares[0]


def test_the_gradient_is_the_slope(features):
    student, teacher = features
    found = gradient(student, teacher)
    direction = np.random.default_rng(1).normal(size=student.shape)
    ahead, behind = (by_loop(student + sign * 1e-6 * direction, teacher, 4.0) for sign in (1, -1))
    assert np.sum(found * direction) == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("scale", [1e15, 1e25, 1e-15])
def test_extreme_features_and_constant_ones_give_finite_values_and_gradients(features, scale):
    student, teacher = (each.astype(np.float32) for each in features)
    for ours in (student * np.float32(scale), np.full_like(student, scale), student[:1] * np.float32(scale)):
        theirs = teacher[: len(ours)]
        assert np.isfinite(loss(ours, theirs)).all()
        assert np.isfinite(gradient(ours, theirs)).all()


def test_large_features_give_the_same_loss_as_ordinary_ones(features):
    student, teacher = (100.0 * each.astype(np.float32) for each in features)
    for scale in (1e10, 1e20):
        np.testing.assert_allclose(loss(student * np.float32(scale), teacher), loss(student, teacher), atol=1e-3)


def test_a_scheduled_power_may_be_a_tensor(features):
    np.testing.assert_allclose(loss(*features, alpha=tf.constant(3.0)), loss(*features, alpha=3.0), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0, float("nan"), float("inf")])
def test_a_power_below_1_is_refused(alpha):
    with pytest.raises(RecipeError, match=f"alpha must be a finite number of at least 1, got {alpha}"):
        srd(tf.zeros((2, 3)), tf.zeros((2, 3)), alpha=alpha)


@pytest.mark.parametrize(
    ("student", "teacher"), [((2, 3), (2, 4)), ((2, 3), (1, 3)), ((2, 4), (2, 2, 2)), ((2,), (2,))]
)
def test_features_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        srd(tf.zeros(student), tf.zeros(teacher))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)
