"""Decoupled distillation against sums over classes written as loops, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError, ShapeError
from edgekd.losses.dkd import dkd
from edgekd.losses.soft_logits import soft_logits

LABELS = [1, 0, 4, 1, 3, 2]


@pytest.fixture
def logits():
    """Student and teacher logits, [6, 5] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (6, 5)), rng.normal(0, 3, (6, 5))


def probabilities(row, temperature):
    powers = [math.exp(each / temperature) for each in row]
    return [each / sum(powers) for each in powers]


def by_loop(student, teacher, labels, alpha, beta, temperature):
    """Binary divergence of the label's class, and divergence of the others divided by their sum, term by term."""
    values = []
    for ours, theirs, label in zip(student, teacher, labels, strict=True):
        q, p = probabilities(ours, temperature), probabilities(theirs, temperature)
        others = [i for i in range(len(p)) if i != label]
        p_others, q_others = sum(p[i] for i in others), sum(q[i] for i in others)
        target = p[label] * math.log(p[label] / q[label]) + p_others * math.log(p_others / q_others)
        rest = 0.0
        for i in others:
            rest += p[i] / p_others * math.log((p[i] / p_others) / (q[i] / q_others))
        values.append(temperature**2 * (alpha * target + beta * rest))
    return values


def loss(student, teacher, labels=LABELS, **settings):
    return dkd(tf.constant(student), tf.constant(teacher), labels=tf.constant(labels, tf.int64), **settings).numpy()


def test_three_classes_by_hand():
    # p = (1/2, 1/4, 1/4) and q = (1/3, 1/2, 1/6), the label is class 0.
    teacher, student = np.log([[2.0, 1.0, 1.0]]), np.log([[2.0, 3.0, 1.0]])
    # (1/2, 1/2) against (1/3, 2/3): 1/2 log 3/2 + 1/2 log 3/4 = 1/2 log 9/8.
    target = 0.5 * math.log(9 / 8)
    # The others, (1/2, 1/2) against (3/4, 1/4): 1/2 log 2/3 + 1/2 log 2 = 1/2 log 4/3.
    rest = 0.5 * math.log(4 / 3)
    assert target + 8 * rest == pytest.approx(1.2096198, abs=1e-7)
    assert loss(student, teacher, [0], temperature=1.0) == pytest.approx([target + 8 * rest], rel=1e-12)
    assert loss(student, teacher, [0], temperature=1.0, alpha=3.0, beta=0.0) == pytest.approx([3 * target], rel=1e-12)
    # Twice the logits at twice the temperature are the same probabilities: four times the loss.
    twice = loss(2 * student, 2 * teacher, [0], temperature=2.0, alpha=0.0, beta=1.0)
    assert twice == pytest.approx([4 * rest], rel=1e-12)


@pytest.mark.parametrize(("alpha", "beta", "temperature"), [(1.0, 8.0, 4.0), (0.5, 2.0, 1.0), (0, 1, 2), (2, 0, 9.0)])
def test_the_loss_is_the_formula(logits, alpha, beta, temperature):
    expected = by_loop(*logits, LABELS, alpha, beta, temperature)
    found = loss(*logits, alpha=alpha, beta=beta, temperature=temperature)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_usual_settings_are_1_8_and_temperature_4(logits):
    np.testing.assert_array_equal(loss(*logits), loss(*logits, alpha=1.0, beta=8.0, temperature=4.0))


def test_soft_logits_is_the_case_where_the_others_count_as_much_as_the_teacher_doubts(logits):
    # The paper's decomposition: KD = TCKD + (1 - p_label) NCKD.
    student, teacher = logits
    whole = soft_logits(tf.constant(student), tf.constant(teacher), temperature=4.0).numpy()
    for i, label in enumerate(LABELS):
        doubt = 1 - probabilities(teacher[i], 4.0)[label]
        assert loss(student[i : i + 1], teacher[i : i + 1], [label], beta=doubt) == pytest.approx([whole[i]], rel=1e-10)


def test_another_label_is_another_loss(logits):
    assert (np.abs(loss(*logits, [2, 1, 0, 0, 0, 0]) / loss(*logits) - 1) > 0.01).all()


def test_standardised_logits_are_compared_without_their_mean_and_scale(logits):
    student, teacher = logits
    z_student, z_teacher = (
        (each - each.mean(axis=1, keepdims=True)) / (each.std(axis=1, ddof=1, keepdims=True) + 1e-7) for each in logits
    )
    expected = by_loop(z_student, z_teacher, LABELS, 1.0, 8.0, 2.0)
    np.testing.assert_allclose(loss(student, teacher, temperature=2.0, standardize=True), expected, rtol=1e-10)


def test_a_sure_teacher_and_a_sure_student_differ_by_what_the_formula_says():
    # Probabilities of e^-300 are below what float32 holds; their logarithms are not.
    student, teacher = np.array([[0.0, 300.0, 0.0]], "float32"), np.array([[300.0, 0.0, 0.0]], "float32")
    # The target: log 1 - log e^-300. The others: (1/2, 1/2) against (1, e^-300): 1/2 log 1/2 + 1/2 (300 - log 2).
    found = loss(student, teacher, [0], temperature=1.0)
    assert found == pytest.approx([300.0 + 8 * (150.0 - math.log(2))], rel=1e-6)


def test_with_two_classes_there_is_only_the_target():
    student, teacher = np.array([[0.0, 0.0]]), np.array([[math.log(3), 0.0]])
    expected = 0.75 * math.log(3) - math.log(2)
    assert loss(student, teacher, [0], temperature=1.0) == pytest.approx([expected], rel=1e-12)


def test_labels_that_do_not_fit_and_a_single_class_are_refused():
    logits = tf.zeros((2, 3))
    for labels in (tf.zeros((3,), tf.int64), tf.zeros((2, 3), tf.int64)):
        with pytest.raises(ShapeError, match=r"labels of shape .* do not fit student logits \(2, 3\)"):
            dkd(logits, logits, labels=labels)
    with pytest.raises(ShapeError, match=r"\(2, 1\) have no class besides the label's"):
        dkd(tf.zeros((2, 1)), tf.zeros((2, 1)), labels=tf.zeros((2,), tf.int64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a positive finite number, got 0.0"),
        ({"alpha": -1.0}, "alpha must be a finite number of at least 0, got -1.0"),
        ({"beta": float("nan")}, "beta must be a finite number of at least 0, got nan"),
        ({"alpha": 0.0, "beta": 0}, "alpha and beta must not all be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        loss(np.zeros((1, 3)), np.zeros((1, 3)), [0], **settings)
