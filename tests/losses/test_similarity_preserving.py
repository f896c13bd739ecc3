"""Similarity preserving against sums over pairs written as loops, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.losses.similarity_preserving import similarity_preserving


@pytest.fixture
def features():
    """Student [5, 2, 2, 3] and teacher [5, 7] float64 features."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 2, 2, 3)), rng.normal(size=(5, 7))


def by_loop(student, teacher):
    def similarities(features):
        rows = [each.ravel() for each in features]
        matrix = [[float(np.dot(a, b)) for b in rows] for a in rows]
        return [[each / math.sqrt(sum(value**2 for value in row)) for each in row] for row in matrix]

    ours, theirs = similarities(student), similarities(teacher)
    batch = len(ours)
    return [sum((ours[b][j] - theirs[b][j]) ** 2 for j in range(batch)) / batch for b in range(batch)]


def loss(student, teacher):
    return similarity_preserving(tf.constant(student), tf.constant(teacher)).numpy()


def gradient(student, teacher):
    student = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(student)
        total = tf.reduce_sum(similarity_preserving(student, tf.constant(teacher)))
    return tape.gradient(total, student).numpy()


def test_two_samples_by_hand():
    # The student's products are the identity. The teacher's are [[1, 1], [1, 2]]: rows (1, 1)/√2 and (1, 2)/√5.
    student, teacher = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    first = ((1 - 1 / math.sqrt(2)) ** 2 + 1 / 2) / 2
    second = (1 / 5 + (1 - 2 / math.sqrt(5)) ** 2) / 2
    assert (first, second) == pytest.approx((0.2928932, 0.1055728), abs=1e-7)
    np.testing.assert_allclose(loss(student, teacher), [first, second], rtol=1e-12)


def test_the_loss_is_the_formula_also_for_features_of_different_size(features):
    np.testing.assert_allclose(loss(*features), by_loop(*features), rtol=1e-10)


def test_the_mean_is_the_published_loss(features):
    student, teacher = (each.reshape(5, -1) for each in features)
    matrices = [each @ each.T for each in (student, teacher)]
    ours, theirs = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in matrices)
    assert loss(student, teacher).mean() == pytest.approx(np.linalg.norm(ours - theirs, "fro") ** 2 / 25, rel=1e-10)


def test_the_gradient_is_the_slope(features):
    student, teacher = features
    step = 1e-6 * np.random.default_rng(1).normal(size=student.shape)
    slope = (np.sum(by_loop(student + step, teacher)) - np.sum(by_loop(student - step, teacher))) / 2
    assert np.sum(gradient(student, teacher) * step) == pytest.approx(slope, rel=1e-6)


def test_the_scale_of_a_networks_features_changes_nothing_and_neither_does_turning_them(features):
    student, teacher = features
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0]
    np.testing.assert_allclose(loss(student * 1e-3, 1e4 * teacher @ turn), loss(student, teacher), rtol=1e-9)


def test_a_batch_of_one_has_no_loss_and_no_gradient(features):
    student, teacher = (each[:1] for each in features)
    np.testing.assert_allclose(loss(student, teacher), 0.0, atol=1e-30)
    np.testing.assert_allclose(gradient(student, teacher), 0.0, atol=1e-15)


def test_a_sample_without_features_is_similar_to_none(features):
    student, teacher = features
    student[2] = 0.0
    # The teacher's row has unit length, the student's is zero: squares sum to 1, divided by 5.
    assert loss(student, teacher)[2] == pytest.approx(1 / 5, rel=1e-12)
    assert np.isfinite(gradient(student, teacher)).all()
