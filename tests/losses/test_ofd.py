"""The overhauled distance against its definition element by element, and a case worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.ofd import ofd

MARGIN = np.array([-0.5, -1.0, 0.0])


@pytest.fixture
def maps():
    """Student and teacher maps before their ReLU, [4, 3, 2, 3] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 3, 2, 3)), rng.normal(size=(4, 3, 2, 3))


def by_definition(student, teacher, margin):
    totals = []
    for ours, theirs in zip(student, teacher, strict=True):
        total = 0.0
        for position in np.ndindex(ours.shape):
            s, t = ours[position], max(theirs[position], margin[position[-1]])
            total += 0.0 if s <= t <= 0 else (t - s) ** 2
        totals.append(total)
    return totals


def loss(student, teacher, margin=MARGIN):
    return ofd(tf.constant(student), tf.constant(teacher), margin=tf.constant(margin)).numpy()


def gradient(student, teacher, margin=MARGIN):
    variable = tf.Variable(student)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(ofd(variable, tf.constant(teacher), margin=tf.constant(margin)))
    return tape.gradient(total, variable).numpy()


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (1.0, 3.0, 4.0),  # the teacher is positive: matched from below
        (5.0, 3.0, 4.0),  # and from above
        (-2.0, 3.0, 25.0),
        (1.0, -5.0, 4.0),  # the teacher is raised to the margin -1; the student is above it
        (-0.5, -5.0, 0.25),
        (-3.0, -5.0, 0.0),  # the student is below the margin: right already
        (0.5, -0.5, 1.0),  # the teacher is between margin and zero: it is kept
        (-0.75, -0.5, 0.0),
        (-0.25, -0.5, 0.0625),
    ],
)
def test_one_element_by_hand_with_a_margin_of_minus_1(student, teacher, expected):
    assert loss([[[[student]]]], [[[[teacher]]]], [-1.0]) == pytest.approx([expected])


def test_a_map_by_hand_is_the_sum_of_its_elements():
    # Margins -1 and -2: (1-3)² = 4, target -2 and student -1: 1, target -1 and student -4: nothing, (2-0.5)² = 2.25.
    student, teacher = [[[[1.0, -1.0], [-4.0, 2.0]]]], [[[[3.0, -9.0], [-1.5, 0.5]]]]
    assert loss(student, teacher, [-1.0, -2.0]) == pytest.approx([7.25])


def test_the_loss_is_the_definition(maps):
    np.testing.assert_allclose(loss(*maps), by_definition(*maps, MARGIN), rtol=1e-12)


def test_a_student_that_equals_the_teacher_or_is_lower_where_it_is_negative_costs_nothing(maps):
    _, teacher = maps
    np.testing.assert_array_equal(loss(teacher, teacher), 0.0)
    lower = np.where(teacher < 0, teacher - 10.0, teacher)
    np.testing.assert_array_equal(loss(lower, teacher), 0.0)
    np.testing.assert_array_equal(gradient(lower, teacher), 0.0)


def test_how_negative_the_teacher_is_below_the_margin_changes_nothing(maps):
    student, teacher = maps
    deeper = np.where(teacher < MARGIN, teacher * 7.0 - 3.0, teacher)
    assert (deeper != teacher).any()
    np.testing.assert_array_equal(loss(student, deeper), loss(student, teacher))


def test_the_gradient_is_twice_the_difference_where_the_element_counts(maps):
    student, teacher = maps
    target = np.maximum(teacher, MARGIN)
    expected = np.where((student <= target) & (target <= 0), 0.0, 2 * (student - target))
    np.testing.assert_allclose(gradient(student, teacher), expected, rtol=1e-12)
    assert (expected == 0).any()


def test_a_sum_beyond_half_precision_is_its_largest_number(maps):
    student, teacher = (tf.cast(1e3 * each, "float16") for each in maps)
    assert ofd(student, teacher, margin=tf.constant(MARGIN, "float32")).numpy().tolist() == [65504.0] * 4


@pytest.mark.parametrize(
    ("student", "teacher"),
    [((2, 4, 4, 3), (2, 4, 4, 6)), ((2, 4, 4, 3), (2, 2, 2, 3)), ((2, 4, 4, 3), (1, 4, 4, 3)), ((2, 3), (2, 3))],
)
def test_maps_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        ofd(tf.zeros(student), tf.zeros(teacher), margin=tf.zeros(3))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 1, 1, 3)])
def test_a_margin_that_is_not_one_for_each_channel_is_refused_and_never_broadcast(shape):
    with pytest.raises(ShapeError) as raised:
        ofd(tf.zeros((2, 4, 4, 3)), tf.zeros((2, 4, 4, 3)), margin=tf.zeros(shape))
    assert f"margin has shape {shape}" in str(raised.value)
