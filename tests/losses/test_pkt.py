"""Probabilistic knowledge transfer against SciPy's cosines and loops, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import tensorflow as tf

from edgekd.losses.pkt import pkt


@pytest.fixture
def features():
    """Student [5, 2, 2, 3] and teacher [5, 7] float64 features."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 2, 2, 3)), rng.normal(size=(5, 7))


def neighbours(features):
    rows = [each.ravel() for each in features]
    kernel = [[(2 - scipy.spatial.distance.cosine(a, b)) / 2 for b in rows] for a in rows]
    return [[each / sum(row) for each in row] for row in kernel]


def by_loop(student, teacher):
    q, p, batch = neighbours(student), neighbours(teacher), range(len(student))
    return [sum(p[b][j] * math.log(p[b][j] / q[b][j]) for j in batch) / len(batch) for b in batch]


def loss(student, teacher):
    return pkt(tf.constant(student), tf.constant(teacher)).numpy()


def test_two_samples_by_hand():
    # Perpendicular: kernel 1 with itself and 1/2 with the other, so probabilities 2/3 and 1/3.
    student = np.array([[2.0, 0.0], [0.0, 3.0]])
    # Opposite: kernel 1 and 0, so probabilities 1 and 0. The divergence is log(1 / (2/3)), divided by two neighbours.
    teacher = np.array([[1.0, 0.0], [-5.0, 0.0]])
    np.testing.assert_allclose(loss(student, teacher), [0.5 * math.log(1.5)] * 2, rtol=1e-12)
    # The other way round the student's 0 counts as 1e-7.
    expected = 0.5 * (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3 / 1e-7))
    np.testing.assert_allclose(loss(teacher, student), [expected] * 2, rtol=1e-12)


def test_the_loss_is_the_formula_also_for_features_of_different_size(features):
    np.testing.assert_allclose(loss(*features), by_loop(*features), rtol=1e-10)


def test_the_mean_agrees_with_the_released_code_to_its_1e_7(features):
    # mean over all pairs of p · log((p + ε) / (q + ε))
    q, p = (np.array(neighbours(each)) for each in features)
    released = np.mean(p * np.log((p + 1e-7) / (q + 1e-7)))
    assert loss(*features).mean() == pytest.approx(released, rel=1e-5)


def test_the_scale_of_each_sample_changes_nothing_and_neither_does_turning_all(features):
    student, teacher = features
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0]
    scales = np.array([1e-3, 1.0, 7.0, 1e4, 2.0])[:, None]
    np.testing.assert_allclose(loss(student, scales * teacher @ turn), loss(student, teacher), rtol=1e-9)


def test_a_batch_of_one_has_no_loss(features):
    student, teacher = (each[:1] for each in features)
    np.testing.assert_allclose(loss(student, teacher), 0.0, atol=1e-15)


def test_a_sample_without_features_has_the_cosine_0_with_all(features):
    student, teacher = features
    student[2] = 0.0
    # All kernels are 1/2, so all five neighbours have the probability 1/5.
    p = neighbours(teacher)[2]
    expected = sum(each * math.log(each / (1 / 5)) for each in p) / 5
    assert loss(student, teacher)[2] == pytest.approx(expected, rel=1e-10)
