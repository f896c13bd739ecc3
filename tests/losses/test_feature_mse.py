"""Feature MSE against a loop over elements and a case worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.feature_mse import feature_mse


@pytest.fixture
def features():
    """Student and teacher features, [3, 2, 4] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 2, 4))


def by_loop(student, teacher):
    means = []
    for ours, theirs in zip(student, teacher, strict=True):
        squares = [(float(a) - float(b)) ** 2 for a, b in zip(ours.flat, theirs.flat, strict=True)]
        means.append(sum(squares) / len(squares))
    return means


def loss(student, teacher):
    return feature_mse(tf.constant(student), tf.constant(teacher)).numpy()


def test_two_samples_by_hand():
    # Differences 1, -2, 2 and 0, 0, 3: squares sum to 9 and 9, means of three are 3 and 3; then one of 6 gives 12.
    assert loss([[1.0, 0.0, 2.0], [5.0, 5.0, 3.0]], [[0.0, 2.0, 0.0], [5.0, 5.0, 0.0]]) == pytest.approx([3.0, 3.0])
    assert loss([[6.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]) == pytest.approx([12.0])


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 4), (2, 2, 3, 2), (1, 2, 2, 2, 2)])
def test_the_loss_is_the_mean_square_over_a_samples_elements_at_any_rank(shape):
    rng = np.random.default_rng(1)
    student, teacher = rng.normal(size=shape), rng.normal(size=shape)
    np.testing.assert_allclose(loss(student, teacher), by_loop(student, teacher), rtol=1e-12)


def test_the_gradient_is_twice_the_difference_over_the_number_of_elements(features):
    student, teacher = tf.Variable(features[0]), features[1]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(feature_mse(student, tf.constant(teacher)))
    np.testing.assert_allclose(tape.gradient(total, student), 2 * (features[0] - teacher) / 8, rtol=1e-12)


def test_the_scale_of_the_features_counts(features):
    student, teacher = features
    np.testing.assert_allclose(loss(3 * student, 3 * teacher), 9 * loss(student, teacher), rtol=1e-12)


def test_a_difference_that_half_precision_cannot_square_is_still_measured():
    # A difference of 2^-13 has a square of 2^-26, below half precision's smallest number; 48 of them and one of 1 not.
    student = tf.cast(np.full((1, 4), 2.0**-10), "float16")
    teacher = tf.cast(np.array([[2.0**-10 + 2.0**-13] * 3 + [1.0]]), "float16")
    expected = by_loop(student.numpy(), teacher.numpy())
    np.testing.assert_allclose(feature_mse(student, teacher).numpy(), expected, rtol=2**-10)


def test_a_loss_beyond_half_precision_is_its_largest_number_with_a_gradient_towards_the_teacher():
    student, teacher = tf.Variable(tf.cast([[1000.0, -1000.0]], "float16")), tf.zeros((1, 2), "float16")
    with tf.GradientTape() as tape:
        result = feature_mse(student, teacher)
    assert result.numpy().tolist() == [65504.0]
    # The true value is 10^6 and its gradient ±1000: both shrink alike.
    np.testing.assert_allclose(tape.gradient(result, student).numpy(), [[65.504, -65.504]], rtol=2**-10)


@pytest.mark.parametrize(
    ("student", "teacher"), [((2, 3), (2, 4)), ((2, 3), (1, 3)), ((2, 1), (2, 3)), ((2, 3), (2, 3, 1)), ((2,), (2,))]
)
def test_features_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        feature_mse(tf.zeros(student), tf.zeros(teacher))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)


def test_the_error_names_the_adapters_that_help():
    with pytest.raises(ShapeError, match="adapter 'pool' or 'regressor'"):
        feature_mse(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 2, 2, 3)))
