"""Correlation congruence against SciPy's Gaussian kernel and loops, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import tensorflow as tf

from edgekd.errors import RecipeError
from edgekd.losses.correlation_congruence import correlation_congruence


@pytest.fixture
def features():
    """Student [5, 2, 2, 3] and teacher [5, 7] float64 features."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 2, 2, 3)), rng.normal(size=(5, 7))


def by_loop(student, teacher, gamma=0.4, order=2):
    def kernel(a, b):
        cosine = 1 - scipy.spatial.distance.cosine(a.ravel(), b.ravel())
        return sum(math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(order + 1))

    batch = range(len(student))
    values = []
    for b in batch:
        differences = [kernel(student[b], student[j]) - kernel(teacher[b], teacher[j]) for j in batch]
        values.append(sum(each**2 for each in differences) / len(batch))
    return values


def loss(student, teacher, **settings):
    return correlation_congruence(tf.constant(student), tf.constant(teacher), **settings).numpy()


def test_two_samples_by_hand():
    # Cosines 0 and 1/2; with 2γ = 1 and P = 2 the kernel is (1 + cos + cos²/2) / e: 1/e and 1.625/e.
    student, teacher = np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([[1.0, 0.0], [1.0, math.sqrt(3)]])
    np.testing.assert_allclose(loss(student, teacher, gamma=0.5), [(0.625 / math.e) ** 2 / 2] * 2, rtol=1e-12)


@pytest.mark.parametrize(("gamma", "order"), [(0.4, 2), (1.0, 1), (0.1, 5)])
def test_the_loss_is_the_formula_also_for_features_of_different_size(features, gamma, order):
    expected = by_loop(*features, gamma, order)
    np.testing.assert_allclose(loss(*features, gamma=gamma, order=order), expected, rtol=1e-10)


def test_the_usual_settings_are_gamma_0_4_and_order_2(features):
    np.testing.assert_allclose(loss(*features), by_loop(*features), rtol=1e-10)


def test_at_a_high_order_the_kernel_is_the_gaussian(features):
    def gaussian(features):
        rows = features.reshape(5, -1)
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.exp(-0.7 * scipy.spatial.distance.cdist(rows, rows, "sqeuclidean"))

    student, teacher = features
    expected = np.mean((gaussian(student) - gaussian(teacher)) ** 2, axis=1)
    np.testing.assert_allclose(loss(student, teacher, gamma=0.7, order=25), expected, rtol=1e-9)


def test_the_scale_of_each_sample_changes_nothing_and_neither_does_turning_all(features):
    student, teacher = features
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0]
    scales = np.array([1e-3, 1.0, 7.0, 1e4, 2.0])[:, None]
    np.testing.assert_allclose(loss(student, scales * teacher @ turn), loss(student, teacher), rtol=1e-9)


def test_a_batch_of_one_has_no_loss(features):
    student, teacher = (each[:1] for each in features)
    np.testing.assert_allclose(loss(student, teacher), 0.0, atol=1e-30)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 0.0}, "gamma must be a positive finite number, got 0.0"),
        ({"order": 0}, "order must be at least 1, got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        loss(np.zeros((2, 3)), np.zeros((2, 3)), **settings)
