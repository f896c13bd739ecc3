"""Attention transfer against NumPy's norm, an adaptive pooling written as a loop, and numbers worked out by hand."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError, ShapeError
from edgekd.losses.attention_transfer import attention_map, attention_transfer, summarise_teacher

VARIANTS = ["mean_square", "paper"]


@pytest.fixture
def maps():
    """Student [3, 4, 6, 5] and teacher [3, 4, 6, 7] float64 feature maps."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4, 6, 5)), rng.normal(size=(3, 4, 6, 7))


def map_by_numpy(features):
    energy = np.mean(np.square(features), axis=-1).reshape(len(features), -1)
    return energy / np.linalg.norm(energy, axis=-1, keepdims=True)


def by_numpy(student, teacher, variant):
    difference = map_by_numpy(student) - map_by_numpy(teacher)
    return {"mean_square": np.mean(difference**2, axis=-1), "paper": 0.5 * np.linalg.norm(difference, axis=-1)}[variant]


def pooled_by_loop(features, height, width):
    """Adaptive average pooling as its definition says: window i spans floor(i·n/m) to ceil((i+1)·n/m)."""
    batch, rows, columns, channels = features.shape
    pooled = np.zeros((batch, height, width, channels))
    for i in range(height):
        for j in range(width):
            top, bottom = math.floor(i * rows / height), math.ceil((i + 1) * rows / height)
            left, right = math.floor(j * columns / width), math.ceil((j + 1) * columns / width)
            pooled[:, i, j] = features[:, top:bottom, left:right].mean(axis=(1, 2))
    return pooled


def loss(student, teacher, **settings):
    return keras.ops.convert_to_numpy(attention_transfer(tf.constant(student), tf.constant(teacher), **settings))


def gradient(student, teacher, **settings):
    variable = tf.Variable(student)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(attention_transfer(variable, tf.constant(teacher), **settings))
    return tape.gradient(total, variable).numpy()


def test_a_2x2x2_map_by_hand():
    # Mean squares over the two channels: student (9+7)/2 = 8, 0, 0, (4+8)/2 = 6: norm 10, so Q = 0.8, 0, 0, 0.6.
    student = np.sqrt([[[[9.0, 7.0], [0.0, 0.0]], [[0.0, 0.0], [4.0, 8.0]]]])
    np.testing.assert_allclose(attention_map(tf.constant(student)), [[0.8, 0.0, 0.0, 0.6]], rtol=1e-12)
    # Teacher: 3, 0, 4, 0 after the mean: norm 5, Q = 0.6, 0, 0.8, 0.
    teacher = np.sqrt([[[[3.0, 3.0], [0.0, 0.0]], [[8.0, 0.0], [0.0, 0.0]]]])
    np.testing.assert_allclose(attention_map(tf.constant(teacher)), [[0.6, 0.0, 0.8, 0.0]], rtol=1e-12)
    # Differences 0.2, 0, -0.8, 0.6: squares sum to 0.04 + 0.64 + 0.36 = 1.04.
    assert loss(student, teacher, variant="mean_square") == pytest.approx([0.26], rel=1e-12)
    assert loss(student, teacher, variant="paper") == pytest.approx([0.5 * math.sqrt(1.04)], rel=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_is_the_formula(maps, variant):
    np.testing.assert_allclose(loss(*maps, variant=variant), by_numpy(*maps, variant), rtol=1e-10)


def test_the_variant_of_the_released_code_is_the_default(maps):
    np.testing.assert_array_equal(loss(*maps), loss(*maps, variant="mean_square"))


def test_an_attention_map_has_unit_length(maps):
    np.testing.assert_allclose(np.linalg.norm(attention_map(tf.constant(maps[0])), axis=-1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_scale_of_features_changes_nothing(maps, variant):
    student, teacher = maps
    scales = np.array([1e-3, 7.0, -1e4])[:, None, None, None]  # of each sample
    np.testing.assert_allclose(
        loss(student * scales, teacher * 5.0, variant=variant), loss(*maps, variant=variant), rtol=1e-9
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_order_of_channels_changes_nothing_and_that_of_positions_does(maps, variant):
    student, teacher = maps
    original = loss(student, teacher, variant=variant)
    np.testing.assert_allclose(loss(student[..., ::-1].copy(), teacher, variant=variant), original, rtol=1e-12)
    for axis in (1, 2):
        moved = loss(np.roll(student, 1, axis=axis), teacher, variant=variant)
        assert (np.abs(moved / original - 1) > 0.01).all()
    # Both moved alike look at the same places again.
    alike = loss(np.roll(student, 1, axis=1), np.roll(teacher, 1, axis=1), variant=variant)
    np.testing.assert_allclose(alike, original, rtol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_and_its_gradient_are_zero_where_both_look_at_the_same_places(maps, variant):
    student, _ = maps
    same = np.concatenate([student, -student], axis=-1) * 3.0  # other channels, other scale
    np.testing.assert_allclose(loss(student, same, variant=variant), 0.0, atol=1e-15)
    np.testing.assert_array_equal(loss(student, student, variant=variant), 0.0)
    np.testing.assert_array_equal(gradient(student, student, variant=variant), 0.0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gradient_is_the_slope(maps, variant):
    student, teacher = maps
    found = gradient(student, teacher, variant=variant)
    rng = np.random.default_rng(1)
    for _ in range(3):
        direction = rng.normal(size=student.shape)
        step = 1e-6 * direction
        slope = (by_numpy(student + step, teacher, variant) - by_numpy(student - step, teacher, variant)).sum() / 2e-6
        assert np.sum(found * direction) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("student_size", "teacher_size"),
    [((4, 4), (8, 8)), ((8, 8), (4, 4)), ((5, 3), (7, 7)), ((6, 2), (4, 5)), ((1, 1), (3, 3)), ((3, 7), (3, 5))],
)
def test_maps_of_different_size_are_compared_at_the_smaller_by_adaptive_average_pooling(
    student_size, teacher_size, variant
):
    rng = np.random.default_rng(2)
    student, teacher = rng.normal(size=(2, *student_size, 3)), rng.normal(size=(2, *teacher_size, 4))
    size = np.minimum(student_size, teacher_size)
    expected = by_numpy(pooled_by_loop(student, *size), pooled_by_loop(teacher, *size), variant)
    np.testing.assert_allclose(loss(student, teacher, variant=variant), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_all_zero_map_has_no_attention_and_no_gradient(maps, variant):
    student, teacher = maps
    student = student * np.array([1.0, 0.0, 1.0])[:, None, None, None]
    np.testing.assert_array_equal(attention_map(tf.constant(student))[1], 0.0)
    # The distance to nothing is that of a unit vector: 1 / positions, or a half.
    assert loss(student, teacher, variant=variant)[1] == pytest.approx({"mean_square": 1 / 24, "paper": 0.5}[variant])
    np.testing.assert_array_equal(gradient(student, teacher, variant=variant)[1], 0.0)
    assert np.isfinite(gradient(student, teacher, variant=variant)).all()
    np.testing.assert_array_equal(loss(0 * student, 0 * teacher, variant=variant), 0.0)
    np.testing.assert_array_equal(gradient(0 * student, 0 * teacher, variant=variant), 0.0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scale", [1e18, 1e-18, 1e30, 1e-30])
def test_extreme_features_give_the_same_loss_and_a_finite_gradient_of_inverse_scale(maps, variant, scale):
    student, teacher = (each.astype(np.float32) for each in maps)
    original = loss(student, teacher, variant=variant)
    large = np.float32(scale)
    np.testing.assert_allclose(loss(student * large, teacher, variant=variant), original, rtol=1e-4)
    np.testing.assert_allclose(loss(student, teacher * large, variant=variant), original, rtol=1e-4)
    found = gradient(student * large, teacher, variant=variant)
    assert np.isfinite(found).all()
    reference = gradient(student, teacher, variant=variant)
    np.testing.assert_allclose(
        found.astype(np.float64) * scale, reference, rtol=1e-3, atol=1e-4 * np.abs(reference).max()
    )


def test_one_enormous_value_among_ordinary_ones_is_finite(maps):
    student, teacher = (each.astype(np.float32) for each in maps)
    student[0, 0, 0, 0] = 1e30
    for variant in VARIANTS:
        assert np.isfinite(loss(student, teacher, variant=variant)).all()
        assert np.isfinite(gradient(student, teacher, variant=variant)).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5), ("float16", 2**-10), ("bfloat16", 2**-7)]
)
def test_the_result_has_the_students_dtype_and_its_precision(maps, dtype, tolerance, variant):
    student, teacher = (tf.cast(each, dtype) for each in maps)
    result = attention_transfer(student, teacher, variant=variant)
    assert result.dtype == dtype
    assert attention_map(student).dtype == dtype
    # The expected numbers come from the rounded maps: what remains is the loss's own error, one rounding.
    expected = by_numpy(tf.cast(student, "float64").numpy(), tf.cast(teacher, "float64").numpy(), variant)
    np.testing.assert_allclose(tf.cast(result, "float64").numpy(), expected, rtol=tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_difference_that_half_precision_cannot_hold_is_still_measured(maps, variant):
    student = tf.cast(maps[0], "float16")
    teacher = tf.cast(maps[0] * (1 + 0.01 * np.random.default_rng(3).normal(size=maps[0].shape)), "float16")
    expected = by_numpy(tf.cast(student, "float64").numpy(), tf.cast(teacher, "float64").numpy(), variant)
    result = tf.cast(attention_transfer(student, teacher, variant=variant), "float64").numpy()
    # Only the result is rounded: to half precision's relative step, or where it is tiny to its smallest number.
    np.testing.assert_allclose(result, expected, rtol=2**-10, atol=2**-25)


@pytest.mark.parametrize(("student_dtype", "teacher_dtype"), [("float16", "float32"), ("float32", "float64")])
def test_student_and_teacher_may_have_different_dtypes(maps, student_dtype, teacher_dtype):
    student, teacher = maps
    result = attention_transfer(tf.cast(student, student_dtype), tf.cast(teacher, teacher_dtype))
    assert result.dtype == student_dtype
    np.testing.assert_allclose(tf.cast(result, "float64").numpy(), by_numpy(*maps, "mean_square"), rtol=5e-3)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((2, 4, 4, 3), (1, 4, 4, 3)),  # would be broadcast
        ((1, 4, 4, 3), (2, 4, 4, 3)),
        ((2, 4, 4, 3), (2, 4, 4)),
        ((2, 48), (2, 48)),
        ((2, 4, 4, 4, 3), (2, 4, 4, 3)),
    ],
)
def test_maps_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        attention_transfer(tf.zeros(student), tf.zeros(teacher))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)


def test_a_batch_known_only_when_the_graph_runs_is_accepted_and_an_unknown_height_is_not():
    batches = tf.TensorSpec([None, 4, 4, 3]), tf.TensorSpec([None, 2, 2, 5])
    graph = tf.function(attention_transfer).get_concrete_function(*batches)
    assert graph(tf.ones((7, 4, 4, 3)), tf.ones((7, 2, 2, 5))).shape == (7,)
    with pytest.raises(ShapeError, match=r"\(None, None, 4, 3\)"):
        tf.function(attention_transfer).get_concrete_function(tf.TensorSpec([None, None, 4, 3]), batches[1])


def test_an_unknown_variant_is_refused():
    with pytest.raises(RecipeError, match="variant must be 'mean_square' or 'paper', got 'squared'"):
        attention_transfer(tf.zeros((1, 2, 2, 1)), tf.zeros((1, 2, 2, 1)), variant="squared")


def summary_by_loop(teacher, height, width):
    pooled = pooled_by_loop(teacher, height, width)
    summary = np.zeros((*pooled.shape[:3], 1))
    for position in np.ndindex(pooled.shape[:3]):
        summary[(*position, 0)] = math.sqrt(sum(value**2 for value in pooled[position]) / pooled.shape[-1])
    return summary


def test_a_teachers_summary_by_hand_is_the_root_mean_square_over_channels():
    # Mean squares over the two channels: (9+7)/2 = 8, 0, 0, (4+8)/2 = 6.
    teacher = np.sqrt([[[[9.0, 7.0], [0.0, 0.0]], [[0.0, 0.0], [4.0, 8.0]]]])
    summary = summarise_teacher(tf.constant(teacher), student_shape=(2, 2, 5))
    np.testing.assert_allclose(summary, np.sqrt([8.0, 0.0, 0.0, 6.0]).reshape(1, 2, 2, 1), rtol=1e-12)


@pytest.mark.parametrize(
    ("student_size", "teacher_size"), [((4, 4), (8, 8)), ((8, 8), (4, 4)), ((5, 3), (7, 7)), ((6, 2), (4, 5))]
)
def test_a_teachers_summary_is_pooled_first_and_gives_the_same_loss(student_size, teacher_size):
    rng = np.random.default_rng(4)
    student, teacher = rng.normal(size=(3, *student_size, 4)), rng.normal(size=(3, *teacher_size, 6))
    summary = summarise_teacher(tf.constant(teacher), student_shape=student.shape)
    np.testing.assert_allclose(summary, summary_by_loop(teacher, *np.minimum(student_size, teacher_size)), rtol=1e-12)
    np.testing.assert_array_equal(summary, summarise_teacher(tf.constant(teacher), student_shape=(*student_size, 4)))
    for variant in VARIANTS:
        np.testing.assert_allclose(
            loss(student, summary, variant=variant), loss(student, teacher, variant=variant), rtol=1e-10
        )
        np.testing.assert_allclose(
            gradient(student, summary, variant=variant),
            gradient(student, teacher, variant=variant),
            rtol=1e-8,
            atol=1e-14,
        )


def test_summarising_a_summary_changes_nothing_but_rounding(maps):
    teacher = tf.constant(maps[1], "float32")
    once = summarise_teacher(teacher, student_shape=(2, 3, 5))
    np.testing.assert_allclose(summarise_teacher(once, student_shape=(2, 3, 5)), once, rtol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e30, 1e18, 1e-18, 1e-30])
def test_an_extreme_teachers_summary_is_finite_and_gives_the_same_loss(maps, scale):
    student, teacher = (each.astype(np.float32) for each in maps)
    extreme = np.float32(scale) * teacher
    summary = summarise_teacher(tf.constant(extreme), student_shape=student.shape)
    assert np.isfinite(summary).all()
    np.testing.assert_allclose(summary, scale * summary_by_loop(teacher, 4, 6), rtol=1e-5)
    np.testing.assert_allclose(loss(student, summary), loss(student, extreme), rtol=1e-5)


def test_the_summary_of_a_half_precision_teacher_has_a_precision_that_the_loss_can_use(maps):
    teacher = tf.cast(maps[1], "float16")
    summary = summarise_teacher(teacher, student_shape=(4, 6, 5))
    assert summary.dtype == "float32"
    np.testing.assert_allclose(summary, summary_by_loop(teacher.numpy().astype(np.float64), 4, 6), rtol=1e-6)


def test_a_summary_in_a_graph_of_unknown_batch_size_keeps_its_size():
    spec = tf.TensorSpec([None, 8, 8, 3])
    graph = tf.function(
        lambda teacher: summarise_teacher(teacher, student_shape=(None, 4, 5, 7))
    ).get_concrete_function(spec)
    assert graph.structured_outputs.shape.as_list() == [None, 4, 5, 1]
    assert graph(tf.ones((2, 8, 8, 3))).shape == (2, 4, 5, 1)


@pytest.mark.parametrize(
    ("teacher", "student"), [((2, 12), (4, 4, 3)), ((2, 4, 4, 3), (12,)), ((2, 4, 4, 3), (None, 4, 3))]
)
def test_a_summary_of_what_is_no_feature_map_is_refused(teacher, student):
    with pytest.raises(ShapeError, match=r"expected (that of a feature map|feature maps)"):
        summarise_teacher(tf.zeros(teacher), student_shape=student)
