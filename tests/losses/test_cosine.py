"""The cosine distance against SciPy's and against angles worked out by hand."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.cosine import cosine


@pytest.fixture
def features():
    """Student and teacher features, [4, 2, 3] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 2, 3))


def by_scipy(student, teacher):
    return [scipy.spatial.distance.cosine(a.ravel(), b.ravel()) for a, b in zip(student, teacher, strict=True)]


def loss(student, teacher):
    return cosine(tf.constant(student), tf.constant(teacher)).numpy()


def gradient(student, teacher):
    variable = tf.Variable(student)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(cosine(variable, tf.constant(teacher)))
    return tape.gradient(total, variable).numpy()


def test_angles_by_hand():
    # 0, 60, 90 and 180 degrees between vectors of different length.
    half, root = 0.5, math.sqrt(3.0) / 2
    student = np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    teacher = np.array([[7.0, 0.0], [4 * half, 4 * root], [2.0, 0.0], [-3.0, -3.0]])
    np.testing.assert_allclose(loss(student, teacher), [0.0, 0.5, 1.0, 2.0], atol=1e-15)


def test_the_loss_is_scipys_cosine_distance_of_flattened_features(features):
    np.testing.assert_allclose(loss(*features), by_scipy(*features), rtol=1e-12)


def test_the_length_of_features_changes_nothing_and_their_sign_does(features):
    student, teacher = features
    np.testing.assert_allclose(loss(1e-5 * student, 1e5 * teacher), loss(student, teacher), rtol=1e-12)
    np.testing.assert_allclose(loss(-student, teacher), 2 - loss(student, teacher), rtol=1e-12)


def test_the_gradient_is_the_slope(features):
    student, teacher = features
    found = gradient(student, teacher)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = rng.normal(size=student.shape)
        ahead, behind = (by_scipy(student + sign * 1e-6 * direction, teacher) for sign in (1, -1))
        assert np.sum(found * direction) == pytest.approx((np.sum(ahead) - np.sum(behind)) / 2e-6, rel=1e-6)


def test_the_distance_of_vectors_that_almost_agree_is_not_lost_in_cancellation():
    # An angle of 1e-5: 1 - cos is 5e-11, far below what float32 can hold beside 1.
    student = np.array([[math.cos(1e-5), math.sin(1e-5)]], np.float32)
    assert loss(student, np.array([[1.0, 0.0]], np.float32)) == pytest.approx([5e-11], rel=1e-3)


def test_a_vector_of_zeros_is_at_distance_1_and_gets_no_gradient(features):
    student, teacher = features
    nothing = np.zeros_like(student)
    for ours, theirs in ((nothing, teacher), (student, nothing), (nothing, nothing)):
        np.testing.assert_array_equal(loss(ours, theirs), 1.0)
        np.testing.assert_array_equal(gradient(ours, theirs), 0.0)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_extreme_lengths_give_the_same_loss(features, scale):
    student, teacher = (each.astype(np.float32) for each in features)
    np.testing.assert_allclose(loss(student * np.float32(scale), teacher), loss(student, teacher), rtol=1e-5)
    np.testing.assert_allclose(loss(student, teacher * np.float32(scale)), loss(student, teacher), rtol=1e-5)
    assert np.isfinite(gradient(student * np.float32(scale), teacher)).all()


@pytest.mark.parametrize(
    ("student", "teacher"), [((2, 3), (2, 4)), ((2, 3), (1, 3)), ((2, 4), (2, 2, 2)), ((2, 1), (2, 3)), ((2,), (2,))]
)
def test_features_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        cosine(tf.zeros(student), tf.zeros(teacher))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)
