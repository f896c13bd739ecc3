"""DIST against SciPy's correlation of one row or column at a time, and against numbers worked out by hand."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from edgekd.errors import RecipeError
from edgekd.losses.dist import dist


@pytest.fixture
def logits():
    """Student and teacher logits, [6, 5] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (6, 5)), rng.normal(0, 3, (6, 5))


def by_scipy(student, teacher, beta=1.0, gamma=1.0, temperature=4.0):
    q, p = (scipy.special.softmax(each / temperature, axis=1) for each in (student, teacher))
    over_batch = np.mean([1 - scipy.stats.pearsonr(q[:, c], p[:, c]).statistic for c in range(p.shape[1])])
    over_classes = np.array([1 - scipy.stats.pearsonr(q[b], p[b]).statistic for b in range(len(p))])
    return temperature**2 * (beta * over_classes + gamma * over_batch)


def loss(student, teacher, **settings):
    return dist(tf.constant(student), tf.constant(teacher), **settings).numpy()


def gradient(student, teacher, **settings):
    student = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(student)
        total = tf.reduce_sum(dist(student, tf.constant(teacher), **settings))
    return tape.gradient(total, student).numpy()


def test_two_samples_of_two_classes_by_hand():
    student, teacher = np.log([[0.8, 0.2], [0.4, 0.6]]), np.log([[0.7, 0.3], [0.9, 0.1]])
    # Two values correlate by 1 or -1. Over classes: 1 in the first sample, -1 in the second, so 0 and 2. Over the
    # batch: the student falls where the teacher rises, in both classes, so 2.
    np.testing.assert_allclose(loss(student, teacher, temperature=1.0), [0 + 2, 2 + 2], atol=1e-12)
    expected = [0.5 * 2, 3 * 2 + 0.5 * 2]
    np.testing.assert_allclose(loss(student, teacher, beta=3.0, gamma=0.5, temperature=1.0), expected, atol=1e-12)
    # Twice the logits at twice the temperature are the same probabilities: four times the loss.
    np.testing.assert_allclose(loss(2 * student, 2 * teacher, temperature=2.0), [8, 16], atol=1e-12)


@pytest.mark.parametrize(("beta", "gamma", "temperature"), [(1.0, 1.0, 4.0), (2.0, 0.0, 1.0), (0, 3, 2)])
def test_the_loss_is_the_formula(logits, beta, gamma, temperature):
    settings = {"beta": beta, "gamma": gamma, "temperature": temperature}
    np.testing.assert_allclose(loss(*logits, **settings), by_scipy(*logits, **settings), rtol=1e-9)


def test_the_usual_settings_are_1_1_and_temperature_4(logits):
    np.testing.assert_array_equal(loss(*logits), loss(*logits, beta=1.0, gamma=1.0, temperature=4.0))


def test_the_gradient_is_the_slope(logits):
    student, teacher = logits
    found = gradient(student, teacher)
    step = 1e-6 * np.random.default_rng(1).normal(size=student.shape)
    slope = (by_scipy(student + step, teacher) - by_scipy(student - step, teacher)).sum() / 2
    assert np.sum(found * step) == pytest.approx(slope, rel=1e-6)


def test_a_batch_of_one_is_compared_over_classes_only(logits):
    student, teacher = (each[:1] for each in logits)
    np.testing.assert_allclose(loss(student, teacher), loss(student, teacher, gamma=0.0), rtol=1e-12)
    np.testing.assert_array_equal(loss(student, teacher, beta=0.0), 0.0)


def test_where_the_teacher_does_not_vary_there_is_nothing_to_follow(logits):
    student, teacher = (each.astype("float32") for each in logits)
    flat = np.full_like(teacher, 0.1)
    np.testing.assert_array_equal(loss(student, flat), 0.0)
    np.testing.assert_array_equal(gradient(student, flat), 0.0)
    # One sample without a preference takes the part over classes from that sample alone.
    teacher[2] = 0.1
    over_classes = loss(student, teacher, gamma=0.0)
    assert over_classes[2] == 0.0
    assert (np.delete(over_classes, 2) > 0).all()


def test_a_student_that_does_not_vary_correlates_with_nothing(logits):
    _, teacher = (each.astype("float32") for each in logits)
    flat = np.full_like(teacher, 0.1)
    np.testing.assert_array_equal(loss(flat, teacher), 4.0**2 * 2)
    np.testing.assert_array_equal(gradient(flat, teacher), 0.0)


def test_small_disagreements_survive_single_precision(logits):
    # 1 - ρ near ρ = 1 would lose all its digits.
    _, teacher = logits
    student = teacher + 1e-3 * np.random.default_rng(2).normal(size=teacher.shape)
    found = loss(student.astype("float32"), teacher.astype("float32"))
    np.testing.assert_allclose(found, by_scipy(student, teacher), rtol=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a positive finite number, got 0.0"),
        ({"beta": -1.0}, "beta must be a finite number of at least 0, got -1.0"),
        ({"beta": 0.0, "gamma": 0.0}, "beta and gamma must not all be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        loss(np.zeros((2, 3)), np.zeros((2, 3)), **settings)
