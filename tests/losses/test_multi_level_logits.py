"""Multi-level logits against sums written as loops over samples and classes, and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError
from edgekd.losses.multi_level_logits import multi_level_logits
from edgekd.losses.soft_logits import soft_logits

PARTS = ["instance_weight", "batch_weight", "class_weight"]


@pytest.fixture
def logits():
    """Student and teacher logits, [6, 5] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (6, 5)), rng.normal(0, 3, (6, 5))


def only(part):
    return {each: float(each == part) for each in PARTS}


def probabilities(row, temperature):
    powers = [math.exp(each / temperature) for each in row]
    return [each / sum(powers) for each in powers]


def parts_by_loop(student, teacher, temperature):
    """The three published losses of a batch, at one temperature."""
    q = [probabilities(row, temperature) for row in student]
    p = [probabilities(row, temperature) for row in teacher]
    samples, classes = range(len(p)), range(len(p[0]))
    instance = batch = by_class = 0.0
    for b in samples:
        for c in classes:
            instance += temperature**2 * p[b][c] * math.log(p[b][c] / q[b][c]) / len(p)
    for a in samples:
        for b in samples:
            alike = sum(p[a][c] * p[b][c] for c in classes) - sum(q[a][c] * q[b][c] for c in classes)
            batch += alike**2 / len(p)
    for c in classes:
        for d in classes:
            together = sum(p[b][c] * p[b][d] for b in samples) - sum(q[b][c] * q[b][d] for b in samples)
            by_class += together**2 / len(p[0])
    return instance, batch, by_class


def loss(student, teacher, **settings):
    return multi_level_logits(tf.constant(student), tf.constant(teacher), **settings).numpy()


def test_two_samples_of_two_classes_by_hand():
    teacher, student = np.log([[3.0, 1.0], [1.0, 3.0]]), np.zeros((2, 2))
    # Divergence of (3/4, 1/4) from (1/2, 1/2), in both samples: 3/4 log 3 - log 2.
    instance = 0.75 * math.log(3) - math.log(2)
    # P_t P_tᵀ = [[10, 6], [6, 10]] / 16 and P_s P_sᵀ = [[8, 8], [8, 8]] / 16: every element is off by 1/8, so a row's
    # squares sum to 1/32. P_tᵀ P_t is the same matrix: four squares of 1/64, divided by two classes, are 1/32.
    assert instance + 2 / 32 == pytest.approx(0.1933120, abs=1e-7)
    found = loss(student, teacher, temperatures=[1.0])
    np.testing.assert_allclose(found, [instance + 2 / 32] * 2, rtol=1e-12)
    weights = {"instance_weight": 2.0, "batch_weight": 3.0, "class_weight": 5.0}
    expected = 2 * instance + 3 / 32 + 5 / 32
    np.testing.assert_allclose(loss(student, teacher, temperatures=[1.0], **weights), [expected] * 2, rtol=1e-12)


@pytest.mark.parametrize(("part", "position"), list(zip(PARTS, range(3), strict=True)))
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_mean_of_each_part_is_the_published_loss(logits, part, position, temperature):
    expected = parts_by_loop(*logits, temperature)[position]
    assert loss(*logits, temperatures=[temperature], **only(part)).mean() == pytest.approx(expected, rel=1e-10)


def test_temperatures_are_summed_over_and_the_usual_ones_are_2_to_6(logits):
    expected = sum(sum(parts_by_loop(*logits, temperature)) for temperature in (2.0, 3.0, 4.0, 5.0, 6.0))
    assert loss(*logits).mean() == pytest.approx(expected, rel=1e-10)


def test_a_sample_has_its_own_divergence_its_own_row_and_the_batchs_classes(logits):
    student, teacher = logits
    instance = loss(student, teacher, temperatures=[2.0], **only("instance_weight"))
    own = soft_logits(tf.constant(student), tf.constant(teacher), temperature=2.0)
    np.testing.assert_allclose(instance, own, rtol=1e-12)
    rows = loss(student, teacher, temperatures=[2.0], **only("batch_weight"))
    q, p = (np.array([probabilities(row, 2.0) for row in each]) for each in logits)
    for b in range(len(p)):
        assert rows[b] == pytest.approx(sum((p[b] @ p[a] - q[b] @ q[a]) ** 2 for a in range(len(p))), rel=1e-10)
    classes = loss(student, teacher, temperatures=[2.0], **only("class_weight"))
    np.testing.assert_allclose(classes, classes[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperatures": []}, "temperatures is empty; give at least one"),
        ({"temperatures": [2.0, 0.0]}, "temperatures must be a positive finite number, got 0.0"),
        ({"batch_weight": -1.0}, "batch_weight must be a finite number of at least 0, got -1.0"),
        (dict.fromkeys(PARTS, 0.0), "instance_weight and batch_weight and class_weight must not all be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        loss(np.zeros((2, 3)), np.zeros((2, 3)), **settings)
