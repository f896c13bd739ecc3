"""Relational distillation against loops over pairs and triplets, and against a triangle worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError
from edgekd.losses.rkd import rkd

DISTANCES, ANGLES = {"distance_weight": 1.0, "angle_weight": 0.0}, {"distance_weight": 0.0, "angle_weight": 1.0}


@pytest.fixture
def features():
    """Student [5, 2, 2, 3] and teacher [5, 7] float64 features."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 2, 2, 3)), rng.normal(size=(5, 7))


def huber(difference):
    size = abs(difference)
    return 0.5 * size**2 if size <= 1 else size - 0.5


def distances_by_loop(features):
    rows = [each.ravel() for each in features]
    distances = [[math.dist(a, b) for b in rows] for a in rows]
    apart = [each for row in distances for each in row if each > 0]
    return [[each / (sum(apart) / len(apart)) for each in row] for row in distances]


def cosine_by_loop(features, i, vertex, k):
    first, second = (features[other].ravel() - features[vertex].ravel() for other in (i, k))
    lengths = math.hypot(*first) * math.hypot(*second)
    return float(np.dot(first, second)) / lengths if lengths else 0.0


def by_loop(student, teacher, distance_weight=25.0, angle_weight=50.0):
    ours, theirs, batch = distances_by_loop(student), distances_by_loop(teacher), range(len(student))
    values = []
    for b in batch:
        distances = sum(huber(ours[b][j] - theirs[b][j]) for j in batch) / len(batch)
        angles = 0.0
        for i in batch:
            for k in batch:
                angles += huber(cosine_by_loop(student, i, b, k) - cosine_by_loop(teacher, i, b, k)) / len(batch) ** 2
        values.append(distance_weight * distances + angle_weight * angles)
    return values


def loss(student, teacher, **settings):
    return rkd(tf.constant(student), tf.constant(teacher), **settings).numpy()


def gradient(student, teacher):
    student = tf.constant(student)
    with tf.GradientTape() as tape:
        tape.watch(student)
        total = tf.reduce_sum(rkd(student, tf.constant(teacher)))
    return tape.gradient(total, student).numpy()


def test_a_right_triangle_and_an_equilateral_one_by_hand():
    # Sides 3, 4 and 5 around a mean of 4: 3/4, 1 and 5/4. The teacher's are all 1.
    student = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    teacher = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])
    # First and second sample are off by 1/4, second and third too: h = 1/32 each; three neighbours, itself included.
    expected = [1 / 96, 2 / 96, 1 / 96]
    np.testing.assert_allclose(loss(student, teacher, **DISTANCES), expected, rtol=1e-12)
    # Cosines of the angles are 0, 3/5 and 4/5, the teacher's 1/2: off by 0.5, 0.1 and 0.3, h = 0.125, 0.005 and 0.045,
    # each twice among nine pairs (i, k).
    expected = [2 * 0.125 / 9, 2 * 0.005 / 9, 2 * 0.045 / 9]
    np.testing.assert_allclose(loss(student, teacher, **ANGLES), expected, rtol=1e-9)
    both = [25 / 96 + 100 * 0.125 / 9, 50 / 96 + 100 * 0.005 / 9, 25 / 96 + 100 * 0.045 / 9]
    np.testing.assert_allclose(loss(student, teacher), both, rtol=1e-9)


@pytest.mark.parametrize("settings", [{}, DISTANCES, ANGLES])
def test_the_loss_is_the_formula_also_for_features_of_different_size(features, settings):
    np.testing.assert_allclose(loss(*features, **settings), by_loop(*features, **settings), rtol=1e-9)


def test_beyond_a_difference_of_1_the_loss_grows_linearly():
    # Each network has two near samples and a far one, but not the same ones.
    student = np.array([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0]])
    teacher = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 1e-3]])
    assert max(np.abs(np.subtract(distances_by_loop(student), distances_by_loop(teacher))).ravel()) > 1
    np.testing.assert_allclose(loss(student, teacher, **DISTANCES), by_loop(student, teacher, 1, 0), rtol=1e-9)


def test_the_gradient_is_the_slope(features):
    student, teacher = features
    step = 1e-6 * np.random.default_rng(1).normal(size=student.shape)
    slope = (np.sum(by_loop(student + step, teacher)) - np.sum(by_loop(student - step, teacher))) / 2
    assert np.sum(gradient(student, teacher) * step) == pytest.approx(slope, rel=1e-6)


def test_features_that_are_moved_turned_and_scaled_as_a_whole_are_the_same(features):
    _, teacher = features
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0]
    np.testing.assert_allclose(loss(3.0 + 1e3 * teacher @ turn, teacher), 0.0, atol=1e-12)


def test_a_bias_that_all_samples_share_costs_no_precision(features):
    student, teacher = (each.reshape(5, -1) for each in features)
    found = loss((student + 1000.0).astype("float32"), (teacher - 1000.0).astype("float32"))
    np.testing.assert_allclose(found, by_loop(student, teacher), rtol=1e-3)


def test_samples_at_the_same_place_have_no_distance_and_no_angle_also_in_single_precision(features):
    student, teacher = features
    student[3] = student[1]
    np.testing.assert_allclose(loss(student, teacher), by_loop(student, teacher), rtol=1e-9)
    found = loss(student.astype("float32"), teacher.astype("float32"))
    np.testing.assert_allclose(found, by_loop(student, teacher), rtol=1e-4)
    assert np.isfinite(gradient(student, teacher)).all()


@pytest.mark.parametrize("seed", range(5))
def test_samples_nearer_than_single_precision_can_tell_are_at_the_same_place(features, seed):
    student, teacher = features
    same = student.copy()
    same[3] = same[1]
    near = same.copy()
    near[3] += 1e-5 * np.random.default_rng(seed).normal(size=near[3].shape)
    # Their distance from inner products is rounding noise, and an angle between noise and anything else is too.
    found = loss(near.astype("float32"), teacher.astype("float32"))
    np.testing.assert_allclose(found, by_loop(same, teacher), rtol=1e-4)


def test_a_batch_of_one_has_no_loss_and_no_gradient(features):
    student, teacher = (each[:1] for each in features)
    np.testing.assert_array_equal(loss(student, teacher), 0.0)
    np.testing.assert_array_equal(gradient(student, teacher), 0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"distance_weight": -1.0}, "distance_weight must be a finite number of at least 0, got -1.0"),
        ({"distance_weight": 0.0, "angle_weight": 0.0}, "distance_weight and angle_weight must not all be 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        loss(np.zeros((2, 3)), np.zeros((2, 3)), **settings)
