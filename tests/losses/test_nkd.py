"""Normalised distillation against sums over classes written as loops, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError, ShapeError
from edgekd.losses.nkd import nkd

LABELS = [1, 0, 4, 1, 3, 2]


@pytest.fixture
def logits():
    """Student and teacher logits, [6, 5] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (6, 5)), rng.normal(0, 3, (6, 5))


def probabilities(row, temperature):
    powers = [math.exp(each / temperature) for each in row]
    return [each / sum(powers) for each in powers]


def by_loop(student, teacher, labels, gamma, temperature):
    values = []
    for ours, theirs, label in zip(student, teacher, labels, strict=True):
        value = -probabilities(theirs, 1.0)[label] * math.log(probabilities(ours, 1.0)[label])
        q = probabilities([each for i, each in enumerate(ours) if i != label], temperature)
        p = probabilities([each for i, each in enumerate(theirs) if i != label], temperature)
        for i in range(len(p)):
            value -= gamma * temperature**2 * p[i] * math.log(q[i])
        values.append(value)
    return values


def loss(student, teacher, labels=LABELS, **settings):
    return nkd(tf.constant(student), tf.constant(teacher), labels=tf.constant(labels, tf.int64), **settings).numpy()


def test_three_classes_by_hand():
    # p = (1/2, 1/4, 1/4) and q = (1/3, 1/2, 1/6), the label is class 0: -1/2 log 1/3.
    teacher, student = np.log([[2.0, 1.0, 1.0]]), np.log([[2.0, 3.0, 1.0]])
    target = 0.5 * math.log(3)
    # The others: (1/2, 1/2) and (3/4, 1/4): -1/2 (log 3/4 + log 1/4) = 1/2 log 16/3.
    rest = 0.5 * math.log(16 / 3)
    assert target + 1.5 * rest == pytest.approx(1.8047885, abs=1e-7)
    assert loss(student, teacher, [0]) == pytest.approx([target + 1.5 * rest], rel=1e-12)
    assert loss(student, teacher, [0], gamma=0.0) == pytest.approx([target], rel=1e-12)


@pytest.mark.parametrize(("gamma", "temperature"), [(1.5, 1.0), (1.0, 4.0), (0.3, 0.5)])
def test_the_loss_is_the_formula(logits, gamma, temperature):
    expected = by_loop(*logits, LABELS, gamma, temperature)
    np.testing.assert_allclose(loss(*logits, gamma=gamma, temperature=temperature), expected, rtol=1e-10)


def test_the_usual_settings_are_gamma_1_5_and_temperature_1(logits):
    np.testing.assert_array_equal(loss(*logits), loss(*logits, gamma=1.5, temperature=1.0))


def test_among_students_as_sure_of_the_label_the_teacher_is_best(logits):
    student, teacher = logits
    at_teacher = loss(teacher, teacher)
    for distance in (1e-3, 0.1, 1.0):
        near = teacher + distance * student
        for i, label in enumerate(LABELS):
            # Shifting the other logits together sets the label's probability and leaves the others' shares alone.
            others = np.arange(5) != label
            near[i, label] = teacher[i, label]
            wanted = np.log(np.exp(teacher[i, others]).sum())
            near[i, others] += wanted - np.log(np.exp(near[i, others]).sum())
        assert (loss(near, teacher) > at_teacher).all()


def test_a_student_that_is_surer_of_the_label_than_the_teacher_is_better_still(logits):
    _, teacher = logits
    surer = teacher.copy()
    surer[np.arange(6), LABELS] += 1.0
    assert (loss(surer, teacher) < loss(teacher, teacher)).all()


def test_a_teacher_that_does_not_trust_the_label_makes_it_count_less():
    student = np.array([[0.0, 0.0, 0.0]])
    trusting, doubting = np.array([[5.0, 0.0, 0.0]]), np.array([[-5.0, 0.0, 0.0]])
    assert loss(student, doubting, [0], gamma=0.0)[0] < 0.01 * loss(student, trusting, [0], gamma=0.0)[0]


def test_a_sure_and_wrong_student_costs_what_the_formula_says():
    # A probability of e^-300 is below what float32 holds; its logarithm is not.
    student, teacher = np.array([[0.0, 300.0, 300.0]], "float32"), np.array([[300.0, 0.0, 0.0]], "float32")
    assert loss(student, teacher, [0], gamma=0.0) == pytest.approx([300.0 + math.log(2)], rel=1e-6)


def test_labels_that_do_not_fit_and_a_single_class_are_refused():
    logits = tf.zeros((2, 3))
    for labels in (tf.zeros((3,), tf.int64), tf.zeros((2, 3), tf.int64)):
        with pytest.raises(ShapeError, match=r"labels of shape .* do not fit student logits \(2, 3\)"):
            nkd(logits, logits, labels=labels)
    with pytest.raises(ShapeError, match=r"\(2, 1\) have no class besides the label's"):
        nkd(tf.zeros((2, 1)), tf.zeros((2, 1)), labels=tf.zeros((2,), tf.int64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature must be a positive finite number, got -1.0"),
        ({"gamma": -1.0}, "gamma must be a finite number of at least 0, got -1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        loss(np.zeros((1, 3)), np.zeros((1, 3)), [0], **settings)
