"""The adapters' arithmetic against numpy and scipy, by hand."""

import keras
import numpy as np
import pytest
import scipy.signal
import scipy.special
import tensorflow as tf

from edgekd.distill.adapters import embedding, fusion, margins, pool, projector, regressor, variational
from edgekd.errors import RecipeError, ShapeError

RNG = np.random.default_rng(0)
EPSILON = 1.001e-5  # of the adapters' batch normalisation


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def single(adapter, student, teacher, *, training=False):
    (adapted,) = adapter([tf.constant(student)], [tf.constant(teacher)], training=training)
    return adapted


def value(adapter, ending):
    (variable,) = [each for each in adapter.variables if each.path.endswith(ending)]
    return variable.numpy()


def fill(adapter):
    """Gives every variable a value of its own, so that none is one by chance."""
    for variable in adapter.variables:
        drawn = np.abs(random(*variable.shape)) + 0.5 if variable.path.endswith("variance") else random(*variable.shape)
        variable.assign(drawn)


def normalised(x, adapter, name, *, epsilon=EPSILON):
    """Batch normalisation in inference."""
    gamma, beta, mean, variance = (
        value(adapter, f"{name}/{each}") for each in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


# pool


def test_pool_averages_the_larger_map_over_windows() -> None:
    student = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    adapted = single(pool.build([(4, 4, 1)], [(2, 2, 1)], seed=0), student, np.zeros((1, 2, 2, 1), np.float32))
    np.testing.assert_array_equal(adapted.student[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    assert adapted.teacher.shape == (1, 2, 2, 1)


def test_pool_takes_the_smaller_size_along_each_axis() -> None:
    # Three rows to two: windows {0, 1} and {1, 2}. The student is the higher one, the teacher the wider one.
    student = np.array([[1.0], [3.0], [8.0]], np.float32).reshape(1, 3, 1, 1)
    teacher = np.array([[1.0, 2.0], [5.0, 8.0]], np.float32).reshape(1, 2, 2, 1)
    adapted = single(pool.build([(3, 1, 1)], [(2, 2, 1)], seed=0), student, teacher)
    np.testing.assert_allclose(np.ravel(adapted.student), [2.0, 5.5])
    np.testing.assert_allclose(np.ravel(adapted.teacher), [1.5, 6.5])


def test_pool_averages_neighbouring_channels_of_whichever_side_has_more() -> None:
    teacher = np.array([1.0, 2.0, 6.0, 8.0], np.float32) * np.ones((2, 2, 1, 1), np.float32)
    adapted = single(pool.build([(2, 1, 2)], [(2, 1, 4)], seed=0), random(2, 2, 1, 2), teacher)
    np.testing.assert_allclose(adapted.teacher[1, 1, 0], [1.5, 7.0])


def test_pool_averages_flat_features_over_windows_that_may_overlap() -> None:
    # Five to two: windows {0, 1, 2} and {2, 3, 4}.
    student = np.array([[1.0, 2.0, 6.0, 4.0, 5.0]], np.float32)
    adapted = single(pool.build([(5,)], [(2,)], seed=0), student, random(1, 2))
    np.testing.assert_allclose(adapted.student, [[3.0, 5.0]])


def test_pool_averages_sequences_along_both_axes() -> None:
    student = np.array([[[1.0, 3.0], [5.0, 7.0]]], np.float32)
    adapted = single(pool.build([(2, 2)], [(1, 1)], seed=0), student, random(1, 1, 1))
    np.testing.assert_allclose(adapted.student, [[[4.0]]])


def test_pool_gives_back_what_fits_already() -> None:
    student, teacher = random(2, 3, 3, 4), random(2, 3, 3, 4)
    adapted = single(pool.build([(3, 3, 4)], [(3, 3, 4)], seed=0), student, teacher)
    np.testing.assert_array_equal(adapted.student, student)
    np.testing.assert_array_equal(adapted.teacher, teacher)


def test_half_precision_maps_are_averaged_in_single_precision() -> None:
    # The first column's mean is 128.75, which bfloat16 rounds to 129; the second's is -128.
    student = np.array([[512, -128], [1, -128], [1, -128], [1, -128]], np.float32).reshape(1, 4, 2, 1)
    adapter = pool.build([(4, 2, 1)], [(1, 1, 1)], seed=0)
    (adapted,) = adapter([tf.cast(student, "bfloat16")], [tf.zeros((1, 1, 1, 1))])
    assert adapted.student.dtype == "bfloat16"
    assert float(adapted.student[0, 0, 0, 0]) == 0.375


# regressor


def test_the_regressor_is_a_convolution_and_a_normalisation_to_the_teachers_channels() -> None:
    adapter = regressor.build([(3, 3, 4)], [(3, 3, 5)], seed=0)
    fill(adapter)
    student, teacher = random(2, 3, 3, 4), random(2, 3, 3, 5)
    adapted = single(adapter, student, teacher)
    expected = normalised(student @ value(adapter, "pair1/kernel")[0, 0], adapter, "pair1_bn")
    np.testing.assert_allclose(adapted.student, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(adapted.teacher, teacher)
    assert len(adapter.trainable_variables) == 3  # kernel, scale, offset


def test_the_regressor_normalises_over_the_batch_while_it_trains() -> None:
    adapter = regressor.build([(2, 2, 3)], [(2, 2, 2)], seed=0)
    student = random(4, 2, 2, 3)
    adapted = single(adapter, student, random(4, 2, 2, 2), training=True)
    mapped = student @ value(adapter, "pair1/kernel")[0, 0]
    expected = (mapped - mapped.mean((0, 1, 2))) / np.sqrt(mapped.var((0, 1, 2)) + EPSILON)
    np.testing.assert_allclose(adapted.student, expected, rtol=1e-3, atol=1e-4)


def test_a_regressor_of_kernel_three_sees_the_neighbours_and_has_a_bias_without_normalisation() -> None:
    adapter = regressor.build([(4, 3, 2)], [(4, 3, 1)], seed=0, kernel=3, batch_norm=False)
    fill(adapter)
    student = random(1, 4, 3, 2)
    kernel, bias = value(adapter, "kernel"), value(adapter, "bias")
    expected = bias[0] + sum(
        scipy.signal.correlate2d(student[0, :, :, channel], kernel[:, :, channel, 0], mode="same")
        for channel in range(2)
    )
    adapted = single(adapter, student, random(1, 4, 3, 1))
    np.testing.assert_allclose(adapted.student[0, :, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_regressor_sees_the_students_map_at_the_smaller_size() -> None:
    adapter = regressor.build([(4, 2, 1)], [(2, 4, 1)], seed=0, batch_norm=False)
    student, teacher = random(1, 4, 2, 1), random(1, 2, 4, 1)
    adapted = single(adapter, student, teacher)
    pooled = student.reshape(2, 2, 2).mean(axis=1)
    np.testing.assert_allclose(adapted.student[0, :, :, 0], pooled * value(adapter, "kernel").item(), rtol=1e-5)
    np.testing.assert_allclose(adapted.teacher[0, :, :, 0], teacher.reshape(2, 2, 2).mean(axis=2), rtol=1e-5)


def test_flat_features_are_regressed_by_a_dense_layer() -> None:
    adapter = regressor.build([(3,)], [(2,)], seed=0, batch_norm=False)
    fill(adapter)
    student = random(4, 3)
    expected = student @ value(adapter, "kernel") + value(adapter, "bias")
    np.testing.assert_allclose(single(adapter, student, random(4, 2)).student, expected, rtol=1e-4, atol=1e-5)


# variational


def test_the_variance_is_five_at_first_and_follows_its_parameter() -> None:
    adapter = variational.build([(2, 2, 3)], [(2, 2, 4)], seed=0)
    taps = random(1, 2, 2, 3), random(1, 2, 2, 4)
    np.testing.assert_allclose(single(adapter, *taps).extras["variance"], np.full(4, 5.0), rtol=1e-6)
    (alpha,) = [each for each in adapter.trainable_variables if each.path.endswith("alpha")]
    alpha.assign([-30.0, -1.0, 0.0, 40.0])
    expected = np.log1p(np.exp([-30.0, -1.0, 0.0, 40.0])) + 1e-5
    np.testing.assert_allclose(single(adapter, *taps).extras["variance"], expected, rtol=1e-5)


def test_the_mean_is_three_maps_without_bias_and_two_rectifications() -> None:
    adapter = variational.build([(2, 2, 3)], [(2, 2, 4)], seed=0)
    fill(adapter)
    student = random(2, 2, 2, 3)
    first, second, last = (value(adapter, f"pair1_{each}/kernel")[0, 0] for each in ("hidden1", "hidden2", "mean"))
    assert (first.shape, second.shape, last.shape) == ((3, 4), (4, 4), (4, 4))
    expected = np.maximum(np.maximum(student @ first, 0) @ second, 0) @ last
    np.testing.assert_allclose(single(adapter, student, random(2, 2, 2, 4)).student, expected, rtol=1e-4, atol=1e-5)
    assert len(adapter.variables) == 4


# embedding


def test_embeddings_are_unit_vectors_of_pooled_and_mapped_features() -> None:
    adapter = embedding.build([(2, 3, 4)], [(5,)], seed=0, dim=6)
    fill(adapter)
    student, teacher = random(3, 2, 3, 4), random(3, 5)
    adapted = single(adapter, student, teacher)
    for received, features, name in (
        (adapted.student, student.mean((1, 2)), "student"),
        (adapted.teacher, teacher, "teacher"),
    ):
        mapped = features @ value(adapter, f"{name}/kernel") + value(adapter, f"{name}/bias")
        expected = mapped / np.linalg.norm(mapped, axis=1, keepdims=True)
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def test_an_embedding_without_direction_stays_zero_with_a_finite_gradient() -> None:
    adapter = embedding.build([(3,)], [(3,)], seed=0, dim=4)
    zeros = tf.zeros((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        adapted = single(adapter, zeros, zeros)
        total = tf.reduce_sum(adapted.student)
    assert not np.asarray(adapted.student).any()
    assert np.isfinite(tape.gradient(total, zeros)).all()


@pytest.mark.parametrize("scale", [1e-20, 1e25])
def test_an_embedding_is_a_unit_vector_at_any_scale(scale) -> None:
    adapter = embedding.build([(3,)], [(3,)], seed=0, dim=4)
    features = random(2, 3) * np.float32(scale)
    adapted = single(adapter, features, features)
    np.testing.assert_allclose(np.linalg.norm(adapted.student, axis=1), 1, rtol=1e-5)


# fusion


def convolved(x, kernel):
    """A [height, width, channels] map under a 3×3 kernel, padded with zeros."""
    inputs, outputs = kernel.shape[2:]
    return np.stack(
        [
            sum(scipy.signal.correlate2d(x[:, :, i], kernel[:, :, i, o], mode="same") for i in range(inputs))
            for o in range(outputs)
        ],
        axis=-1,
    )


def stage_by_hand(adapter, name, student, residual=None):
    own = normalised(student @ value(adapter, f"{name}/entry/kernel")[0, 0], adapter, f"{name}/entry_bn")
    if residual is None:
        return own
    both = np.concatenate([own, residual], axis=-1)
    weights = both @ value(adapter, f"{name}/attention/kernel")[0, 0] + value(adapter, f"{name}/attention/bias")
    weights = scipy.special.expit(weights)
    return own * weights[..., :1] + residual * weights[..., 1:]


def test_fusion_reviews_the_deep_map_in_the_early_one() -> None:
    adapter = fusion.build([(4, 4, 3), (2, 2, 5)], [(4, 4, 2), (2, 2, 6)], seed=0, mid_channels=4)
    fill(adapter)
    students = [random(1, 4, 4, 3), random(1, 2, 2, 5)]
    teachers = [random(1, 4, 4, 2), random(1, 2, 2, 6)]
    early, deep = adapter([tf.constant(each) for each in students], [tf.constant(each) for each in teachers])

    reduced = stage_by_hand(adapter, "pair2", students[1][0])
    fused = stage_by_hand(adapter, "pair1", students[0][0], reduced.repeat(2, axis=0).repeat(2, axis=1))
    for received, middle, name in ((deep, reduced, "pair2"), (early, fused, "pair1")):
        expected = normalised(convolved(middle, value(adapter, f"{name}/exit/kernel")), adapter, f"{name}/exit_bn")
        np.testing.assert_allclose(received.student[0], expected, rtol=1e-3, atol=1e-3)
    for pair, teacher in zip((early, deep), teachers, strict=True):
        np.testing.assert_array_equal(pair.teacher, teacher)


def test_fusion_repeats_what_is_smaller_than_the_teachers_map_and_averages_what_is_larger() -> None:
    adapter = fusion.build([(4, 2, 1), (2, 2, 1)], [(2, 3, 1), (2, 2, 1)], seed=0, mid_channels=1)
    student = random(1, 4, 2, 1)
    zeros = np.zeros((1, 2, 2, 1), np.float32)
    for variable in adapter.variables:
        if variable.path.endswith("pair1/exit/kernel"):
            variable.assign(np.pad([[1.0]], 1).reshape(3, 3, 1, 1))  # the map itself
        elif variable.path.endswith("entry/kernel"):
            variable.assign(np.ones(variable.shape))
        elif variable.path.endswith("attention/kernel"):
            variable.assign(np.zeros(variable.shape))  # both weights are one half
    early, _ = adapter([student, zeros], [random(1, 2, 3, 1), zeros])
    # Four rows to two by averaging; two columns to three by floor(i · 2 / 3) = 0, 0, 1.
    expected = student[0, :, :, 0].reshape(2, 2, 2).mean(axis=1)[:, [0, 0, 1]] / 2
    np.testing.assert_allclose(early.student[0, :, :, 0], expected / (1 + EPSILON), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "problem"),
    [
        ([(4, 4, 3)], [(4, 4, 3)], "at least two pairs"),
        ([(2, 2, 3), (4, 4, 3)], [(4, 4, 3), (4, 4, 3)], "put them in order"),
        ([(4, 4, 3), (4, 4, 3)], [(2, 4, 3), (2, 5, 3)], "put them in order"),
    ],
)
def test_fusion_needs_two_pairs_from_early_to_deep(ours, theirs, problem: str) -> None:
    with pytest.raises(ShapeError, match=problem) as raised:
        fusion.build(ours, theirs, seed=0)
    assert str(ours) in str(raised.value)
    assert str(theirs) in str(raised.value)


# projector


def test_the_projector_is_one_dense_layer_without_bias_on_pooled_features() -> None:
    adapter = projector.build([(2, 2, 3)], [(3, 3, 5)], seed=0)
    student, teacher = random(4, 2, 2, 3), random(4, 3, 3, 5)
    adapted = single(adapter, student, teacher, training=True)
    (kernel,) = adapter.variables
    np.testing.assert_allclose(adapted.student, student.mean((1, 2)) @ kernel.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(adapted.teacher, teacher.mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_the_projector_normalises_both_sides_over_the_batch_without_scale_and_offset_when_asked() -> None:
    adapter = projector.build([(3,)], [(2,)], seed=0, batch_norm=True)
    assert len(adapter.trainable_variables) == 1
    student, teacher = random(6, 3), 5 + 3 * random(6, 2)
    adapted = single(adapter, student, teacher, training=True)
    for received, features in ((adapted.student, student @ value(adapter, "kernel")), (adapted.teacher, teacher)):
        expected = (features - features.mean(0)) / np.sqrt(features.var(0) + 1e-4)
        np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-4)


# margins


def teacher_map(*channels):
    """[1, 2, 1, channels] from each channel's two values."""
    return np.array(channels, np.float32).T.reshape(1, 2, 1, -1)


def test_margins_are_the_running_means_of_the_teachers_negative_responses() -> None:
    adapter = margins.build([(2, 1, 3)], [(2, 1, 4)], seed=0)
    student = random(1, 2, 1, 3)
    batches = [
        # Negative twice, once, never, and not yet.
        (teacher_map((-1.0, -3.0), (4.0, -2.0), (1.0, 0.0), (1.0, 2.0)), [-2.0, -2.0, 0.0, 0.0]),
        # 0.9 · −2 − 0.1 · 5; none is negative: as it was; never; the first time.
        (teacher_map((-5.0, 7.0), (4.0, 1.0), (2.0, 3.0), (-6.0, 2.0)), [-2.3, -2.0, 0.0, -6.0]),
    ]
    for teacher, expected in batches:
        adapted = single(adapter, student, teacher, training=True)
        np.testing.assert_allclose(adapted.extras["margin"], expected, rtol=1e-5)
        np.testing.assert_allclose(value(adapter, "margin"), expected, rtol=1e-5)
        np.testing.assert_array_equal(adapted.teacher, teacher)
    later = single(adapter, student, -9 * np.ones((1, 2, 1, 4), np.float32), training=False)
    np.testing.assert_allclose(later.extras["margin"], [-2.3, -2.0, 0.0, -6.0], rtol=1e-5)


def test_margins_are_those_of_the_maps_that_are_compared() -> None:
    adapter = margins.build([(1, 1, 1)], [(2, 1, 1)], seed=0)
    adapted = single(adapter, random(1, 1, 1, 1), teacher_map((-3.0, 1.0)), training=True)
    np.testing.assert_allclose(adapted.teacher, [[[[-1.0]]]])
    np.testing.assert_allclose(adapted.extras["margin"], [-1.0])


def test_margins_connect_the_student_by_a_convolution_and_a_normalisation() -> None:
    adapter = margins.build([(2, 2, 3)], [(2, 2, 4)], seed=0)
    fill(adapter)
    student = random(2, 2, 2, 3)
    expected = normalised(student @ value(adapter, "pair1/kernel")[0, 0], adapter, "pair1_bn")
    np.testing.assert_allclose(single(adapter, student, random(2, 2, 2, 4)).student, expected, rtol=1e-4, atol=1e-5)


# options


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (regressor.build, {"kernel": 0}),
        (regressor.build, {"kernel": 1.5}),
        (embedding.build, {"dim": -1}),
        (fusion.build, {"mid_channels": True}),
    ],
)
def test_sizes_that_are_not_positive_whole_numbers_are_refused(build, options: dict[str, object]) -> None:
    shapes = [(4, 4, 2), (2, 2, 2)]
    ((name, received),) = options.items()
    with pytest.raises(RecipeError, match=rf"{name} must be a whole number of at least 1, got {received!r}"):
        build(shapes, shapes, seed=0, **options)


def test_adapters_leave_the_automatic_names_of_other_layers_alone() -> None:
    shapes = [(4, 4, 2), (2, 2, 2)]
    kinds = ("conv2d", "dense", "batch_normalization", "re_lu", "seed_generator")
    before = [keras.backend.get_uid(kind) for kind in kinds]
    for each in (pool, regressor, variational, embedding, fusion, projector, margins):
        each.build(shapes, shapes, seed=0)
    assert [keras.backend.get_uid(kind) for kind in kinds] == [count + 1 for count in before]
