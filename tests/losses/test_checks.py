"""What losses refuse at their door, and the words in which they do."""

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError, ShapeError
from edgekd.losses import _checks as checks

TAPS = r"the student's tap has shape \(2, 4, 4, 3\) and the teacher's "


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), np.float32(-2), 0.0])
def test_a_number_that_must_be_positive_is_named_with_its_value(value):
    with pytest.raises(
        RecipeError, match=r"^rkd: tau must be a positive finite number, got (0|0\.0|-1\.0|-2\.0|nan|inf)\.$"
    ):
        checks.check_positive("rkd", tau=value)


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), np.float32(-2)])
def test_a_weight_must_be_finite_and_not_negative(value):
    with pytest.raises(RecipeError, match=r"^rkd: beta must be a finite number of at least 0, got "):
        checks.check_not_negative("rkd", alpha=1.0, beta=value)
    checks.check_not_negative("rkd", alpha=0, beta=0.0)


def test_weights_that_are_all_zero_teach_nothing():
    with pytest.raises(RecipeError, match=r"^rkd: alpha must not be 0: nothing would be taught"):
        checks.check_weights("rkd", alpha=0)
    with pytest.raises(RecipeError, match=r"^rkd: alpha and beta must not all be 0"):
        checks.check_weights("rkd", alpha=0.0, beta=0)
    checks.check_weights("rkd", alpha=0.0, beta=1)


def test_a_scheduled_value_is_a_tensor_and_passes_even_where_a_number_would_not():
    zero = tf.constant(0.0)
    checks.check_positive("rkd", temperature=zero)
    checks.check_weights("rkd", alpha=zero, beta=zero)

    @tf.function
    def graph(value):
        checks.check_positive("rkd", temperature=value)
        checks.check_weights("rkd", alpha=value, beta=0.0)
        return value

    assert float(graph(zero)) == 0.0


def test_an_unknown_choice_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"^rkd: variant must be 'a' or 'b', got 'c'"):
        checks.check_one_of("rkd", "variant", "c", ("a", "b"))


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 4, 4, 3, 1), (2,)])
def test_a_feature_map_has_four_dimensions(shape):
    with pytest.raises(
        ShapeError, match=f"^rkd: {TAPS}.*expected feature maps .batch, height, width, channels. of known"
    ):
        checks.check_feature_maps("rkd", tf.zeros((2, 4, 4, 3)), tf.zeros(shape))


def test_features_have_a_batch_and_at_least_one_more_dimension():
    checks.check_features("rkd", tf.zeros((2, 3)), tf.zeros((2, 4, 4, 7)))
    with pytest.raises(ShapeError, match=f"^rkd: {TAPS}.*expected features .batch, .... of known size"):
        checks.check_features("rkd", tf.zeros((2, 4, 4, 3)), tf.zeros((2,)))


def test_only_the_batch_may_be_unknown():
    @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3])] * 2)
    def unknown_batch(student, teacher):
        checks.check_feature_maps("rkd", student, teacher)
        checks.check_features("rkd", student, teacher)
        checks.check_same_shape("rkd", student, teacher, remedy="")
        return student

    @tf.function(input_signature=[tf.TensorSpec([2, 4, 4, 3]), tf.TensorSpec([2, None, 4, 3])])
    def unknown_height(student, teacher):
        checks.check_features("rkd", student, teacher)
        return student

    assert unknown_batch(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 4, 4, 3))).shape == (2, 4, 4, 3)
    with pytest.raises(ShapeError, match=r"the teacher's \(2, None, 4, 3\)"):
        unknown_height(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 4, 4, 3)))


@pytest.mark.parametrize(
    ("of", "fits", "other"),
    [
        ("shape", (2, 4, 4, 3), (2, 4, 4, 1)),
        ("height and width", (2, 4, 4, 9), (2, 4, 1, 3)),
        ("channels", (2, 1, 7, 3), (2, 4, 4, 1)),
    ],
)
def test_what_must_agree_is_named_with_what_to_do(of, fits, other):
    student = tf.zeros((2, 4, 4, 3))
    checks.check_same_shape("rkd", student, tf.zeros(fits), of=of, remedy="Pool it.")
    with pytest.raises(ShapeError, match=rf"^rkd: {TAPS}.*; expected the same {of}\. Pool it\.$"):
        checks.check_same_shape("rkd", student, tf.zeros(other), of=of, remedy="Pool it.")
