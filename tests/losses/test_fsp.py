"""The flow of the solution procedure against loops over positions and channels, and a case worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import ShapeError
from edgekd.losses.fsp import fsp


def pooled_by_loop(features, height, width):
    """Adaptive average pooling as its definition says: window i spans floor(i·n/m) to ceil((i+1)·n/m)."""
    rows, columns, channels = features.shape
    pooled = np.zeros((height, width, channels))
    for i in range(height):
        for j in range(width):
            top, bottom = math.floor(i * rows / height), math.ceil((i + 1) * rows / height)
            left, right = math.floor(j * columns / width), math.ceil((j + 1) * columns / width)
            pooled[i, j] = features[top:bottom, left:right].mean(axis=(0, 1))
    return pooled


def matrix_by_loop(earlier, later):
    height, width = min(earlier.shape[0], later.shape[0]), min(earlier.shape[1], later.shape[1])
    earlier, later = pooled_by_loop(earlier, height, width), pooled_by_loop(later, height, width)
    matrix = np.zeros((earlier.shape[-1], later.shape[-1]))
    for y in range(height):
        for x in range(width):
            matrix += np.outer(earlier[y, x], later[y, x])
    return matrix / (height * width)


def by_loop(student, teacher):
    return [
        np.linalg.norm(matrix_by_loop(*theirs) - matrix_by_loop(*ours), "fro") ** 2
        for ours, theirs in zip(zip(*student, strict=True), zip(*teacher, strict=True), strict=True)
    ]


def flow(earlier, later, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=earlier), rng.normal(size=later)


def loss(student, teacher):
    return fsp(tuple(map(tf.constant, student)), tuple(map(tf.constant, teacher))).numpy()


def test_a_1x2_map_by_hand():
    # Earlier (1, 2) and (3, 0), later 2 and 4 at the two positions: G = [(1·2 + 3·4)/2, (2·2 + 0·4)/2] = [7, 2].
    student = np.array([[[[1.0, 2.0], [3.0, 0.0]]]]), np.array([[[[2.0], [4.0]]]])
    # Earlier (1, 1) and (1, 1), later 3 and 5: G = [4, 4]. Differences 3 and -2: 9 + 4 = 13.
    teacher = np.array([[[[1.0, 1.0], [1.0, 1.0]]]]), np.array([[[[3.0], [5.0]]]])
    assert loss(student, teacher) == pytest.approx([13.0])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (((4, 4), (4, 4)), ((4, 4), (4, 4))),
        (((8, 8), (4, 4)), ((8, 8), (4, 4))),
        (((7, 5), (3, 2)), ((7, 5), (3, 2))),
        (((2, 2), (4, 4)), ((4, 4), (2, 2))),  # the later map may be the larger one
        (((8, 8), (4, 4)), ((6, 6), (3, 3))),  # another height and width than the teacher's
        (((4, 2), (2, 4)), ((2, 2), (2, 2))),
    ],
)
def test_the_loss_is_the_squared_norm_of_the_matrices_difference(ours, theirs):
    student, teacher = (flow((3, *a, 3), (3, *b, 5), seed) for seed, (a, b) in enumerate((ours, theirs)))
    np.testing.assert_allclose(loss(student, teacher), by_loop(student, teacher), rtol=1e-10)


def test_moving_both_maps_alike_changes_nothing_and_moving_one_does():
    student, teacher = flow((2, 4, 4, 3), (2, 4, 4, 5), 0), flow((2, 4, 4, 3), (2, 4, 4, 5), 1)
    original = loss(student, teacher)
    np.testing.assert_allclose(loss([np.roll(each, 1, axis=1) for each in student], teacher), original, rtol=1e-12)
    moved = loss([np.roll(student[0], 1, axis=1), student[1]], teacher)
    assert (np.abs(moved / original - 1) > 0.01).all()


def test_the_gradient_is_the_slope_for_both_maps():
    student, teacher = flow((2, 4, 4, 3), (2, 2, 2, 2), 0), flow((2, 4, 4, 3), (2, 2, 2, 2), 1)
    variables = [tf.Variable(5.0 * each) for each in student]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(fsp(tuple(map(tf.convert_to_tensor, variables)), tuple(map(tf.constant, teacher))))
    found = tape.gradient(total, variables)
    directions = flow((2, 4, 4, 3), (2, 2, 2, 2), 2)
    ahead, behind = (
        sum(by_loop([5.0 * f + sign * 1e-6 * d for f, d in zip(student, directions, strict=True)], teacher))
        for sign in (1, -1)
    )
    slope = sum(np.sum(g.numpy() * d) for g, d in zip(found, directions, strict=True))
    assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e8])
def test_the_value_is_of_fourth_order_in_the_features(scale):
    student, teacher = flow((2, 4, 4, 3), (2, 2, 2, 2), 0), flow((2, 4, 4, 3), (2, 2, 2, 2), 1)
    ours, theirs = ([np.float32(scale) * each.astype(np.float32) for each in maps] for maps in (student, teacher))
    np.testing.assert_allclose(loss(ours, theirs), np.array(by_loop(student, teacher)) * scale**4, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "scale", "least"), [("float16", 1e3, 65504.0), ("float32", 1e15, 1e34)])
def test_a_value_beyond_the_dtype_is_large_and_finite_and_its_gradient_leads_towards_the_teacher(dtype, scale, least):
    student, teacher = flow((2, 4, 4, 3), (2, 2, 2, 2), 0), flow((2, 4, 4, 3), (2, 2, 2, 2), 1)
    variables = [tf.Variable(tf.cast(scale * each, dtype)) for each in student]
    with tf.GradientTape() as tape:
        result = fsp(
            tuple(map(tf.convert_to_tensor, variables)), tuple(tf.cast(scale * each, dtype) for each in teacher)
        )
        total = tf.reduce_sum(result / 2)
    assert np.isfinite(result.numpy()).all()
    assert (result.numpy() >= least).all()
    gradients = [each.numpy().astype(np.float64) for each in tape.gradient(total, variables)]
    assert all(np.isfinite(each).all() for each in gradients)
    # A step of a thousandth of the features' size against the gradient lowers the true distance.
    size = max(np.abs(each).max() for each in gradients)
    stepped = [f - 1e-3 * g / size for f, g in zip(student, gradients, strict=True)]
    assert sum(by_loop(stepped, teacher)) < sum(by_loop(student, teacher))


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (((2, 4, 4, 3), (2, 2, 2, 5)), ((2, 4, 4, 3), (2, 2, 2, 6)), r"\(3, 5\) and \(3, 6\).*adapter 'regressor'"),
        (((2, 4, 4, 3), (2, 2, 2, 5)), ((2, 4, 4, 5), (2, 2, 2, 3)), r"\(3, 5\) and \(5, 3\)"),
        (((2, 4, 4, 3), (2, 2, 2, 5)), ((1, 4, 4, 3), (1, 2, 2, 5)), "same batch"),
        (((2, 4, 4, 3), (1, 2, 2, 5)), ((2, 4, 4, 3), (2, 2, 2, 5)), "same batch"),
        (((2, 4, 4, 3), (2, 5)), ((2, 4, 4, 3), (2, 5)), "feature maps"),
    ],
)
def test_flows_that_do_not_fit_are_refused_with_all_shapes(student, teacher, expected):
    with pytest.raises(ShapeError, match=expected) as raised:
        fsp(tuple(map(tf.zeros, student)), tuple(map(tf.zeros, teacher)))
    for shape in (*student, *teacher):
        assert str(shape) in str(raised.value)


def test_a_flow_of_one_map_is_refused():
    both = (tf.zeros((2, 4, 4, 3)), tf.zeros((2, 2, 2, 5)))
    with pytest.raises(ShapeError, match=r"gives 1 feature maps and the teacher 2.*two pairs of taps"):
        fsp(both[:1], both)
