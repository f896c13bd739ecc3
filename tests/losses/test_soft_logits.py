"""Soft logits against SciPy's softmax and relative entropy, and against numbers worked out by hand."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from edgekd.errors import RecipeError, ShapeError
from edgekd.losses.soft_logits import soft_logits


@pytest.fixture
def logits():
    """Student and teacher logits, [6, 5] float64."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (6, 5)), rng.normal(0, 3, (6, 5))


def softmax(z):
    return scipy.special.softmax(z, axis=-1)


def by_scipy(student, teacher, temperature):
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return temperature**2 * scipy.special.rel_entr(p, q).sum(axis=-1)


def loss(student, teacher, **settings):
    return keras.ops.convert_to_numpy(soft_logits(tf.constant(student), tf.constant(teacher), **settings))


def gradient(student, teacher, **settings):
    variable = tf.Variable(student)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(soft_logits(variable, tf.constant(teacher), **settings))
    return tape.gradient(total, variable).numpy()


def test_two_classes_by_hand():
    # p = (3/4, 1/4) and q = (1/2, 1/2): KL = 3/4 log 3/2 + 1/4 log 1/2 = 3/4 log 3 - log 2.
    expected = 0.75 * np.log(3.0) - np.log(2.0)
    assert expected == pytest.approx(0.1308120, abs=1e-7)
    student, teacher = np.array([[0.0, 0.0]]), np.array([[np.log(3.0), 0.0]])
    assert loss(student, teacher, temperature=1.0) == pytest.approx([expected], rel=1e-12)
    # Twice the logits at twice the temperature are the same probabilities: four times the loss.
    assert loss(student, 2 * teacher, temperature=2.0) == pytest.approx([4 * expected], rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20])
def test_the_loss_is_the_relative_entropy_of_softened_probabilities_times_the_squared_temperature(logits, temperature):
    np.testing.assert_allclose(loss(*logits, temperature=temperature), by_scipy(*logits, temperature), rtol=1e-10)


def test_the_usual_temperature_is_4(logits):
    np.testing.assert_array_equal(loss(*logits), loss(*logits, temperature=4.0))


def test_the_loss_is_zero_where_both_agree_and_positive_elsewhere(logits):
    student, teacher = logits
    np.testing.assert_allclose(loss(teacher, teacher), 0.0, atol=1e-12)
    assert (loss(student, teacher) > 0).all()


def test_the_gradient_is_the_temperature_times_the_difference_of_probabilities(logits):
    student, teacher = logits
    for temperature in (1.0, 4.0):
        expected = temperature * (softmax(student / temperature) - softmax(teacher / temperature))
        np.testing.assert_allclose(gradient(*logits, temperature=temperature), expected, rtol=1e-9, atol=1e-12)


def test_the_gradient_keeps_its_size_at_a_high_temperature():
    # Hinton, Vinyals and Dean, eq. 4: for zero-mean logits and a high T it is (z_s - z_t) / classes.
    student, teacher = np.array([[1.0, -1.0, 0.0]]), np.array([[-2.0, 0.0, 2.0]])
    np.testing.assert_allclose(gradient(student, teacher, temperature=1000.0), (student - teacher) / 3, atol=3e-3)


def test_adding_a_constant_to_a_samples_logits_changes_nothing(logits):
    student, teacher = logits
    np.testing.assert_allclose(loss(student + 100.0, teacher - 50.0), loss(student, teacher), rtol=1e-9)


def test_the_divergence_is_from_teacher_to_student_and_not_the_other_way(logits):
    student, teacher = logits
    assert not np.allclose(loss(student, teacher), loss(teacher, student), rtol=0.05)
    # A class that the teacher deems likely and the student does not costs much; the reverse costs little.
    sure, unsure = np.array([[9.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0]])
    assert loss(sure, unsure, temperature=1.0)[0] > 4 * loss(unsure, sure, temperature=1.0)[0]


def test_probabilities_in_the_place_of_logits_give_another_loss(logits):
    student, teacher = logits
    right = loss(student, teacher)
    for wrong in (
        loss(softmax(student), teacher),
        loss(student, softmax(teacher)),
        loss(softmax(student), softmax(teacher)),
    ):
        assert not np.allclose(right, wrong, rtol=0.05)


def test_a_wrong_pairing_of_samples_is_another_loss(logits):
    student, teacher = logits
    assert loss(student, np.roll(teacher, 1, axis=0)).mean() != pytest.approx(loss(student, teacher).mean(), rel=0.01)
    assert (
        loss(teacher + 0.1 * student, np.roll(teacher, 1, axis=0)).mean()
        > 10 * loss(teacher + 0.1 * student, teacher).mean()
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5), ("float16", 2**-10), ("bfloat16", 2**-7)]
)
def test_the_result_has_the_students_dtype_and_its_precision(logits, dtype, tolerance):
    student, teacher = (tf.cast(each, dtype) for each in logits)
    result = soft_logits(student, teacher)
    assert result.dtype == dtype
    # The expected numbers come from the rounded logits: what remains is the loss's own error, one rounding.
    expected = by_scipy(tf.cast(student, "float64").numpy(), tf.cast(teacher, "float64").numpy(), 4.0)
    np.testing.assert_allclose(tf.cast(result, "float64").numpy(), expected, rtol=tolerance)


@pytest.mark.parametrize(
    ("student_dtype", "teacher_dtype"), [("float16", "float32"), ("float32", "float64"), ("float64", "float16")]
)
def test_student_and_teacher_may_have_different_dtypes(logits, student_dtype, teacher_dtype):
    student, teacher = logits
    result = soft_logits(tf.cast(student, student_dtype), tf.cast(teacher, teacher_dtype))
    assert result.dtype == student_dtype
    np.testing.assert_allclose(tf.cast(result, "float64").numpy(), by_scipy(student, teacher, 4.0), rtol=5e-3)


def test_a_difference_that_half_precision_cannot_hold_is_still_measured():
    # In half precision log-probabilities near log 10 are 2^-9 apart, so the difference of two would be all noise.
    teacher = tf.cast(np.linspace(0.0, 0.1, 10)[None], "float16")
    student = tf.cast(np.linspace(0.0, 0.14, 10)[None], "float16")
    expected = by_scipy(tf.cast(student, "float64").numpy(), tf.cast(teacher, "float64").numpy(), 1.0)
    result = soft_logits(student, teacher, temperature=1.0)
    np.testing.assert_allclose(tf.cast(result, "float64").numpy(), expected, rtol=2e-3)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_extreme_logits_give_finite_values_and_gradients(temperature):
    extreme = np.array([[1e30, 0.0, -1e30], [-1e30, 1e30, 0.0], [1e30, 1e30, 1e30], [1e-30, 0.0, 0.0]], np.float32)
    for student, teacher in ((extreme, extreme[::-1].copy()), (extreme, extreme), (extreme, 0 * extreme)):
        assert np.isfinite(loss(student, teacher, temperature=temperature)).all()
        assert np.isfinite(gradient(student, teacher, temperature=temperature)).all()


def test_extreme_logits_are_worth_what_the_formula_says():
    # The teacher is sure of class 0, the student of class 1: log p - log q is the student's own distance, 800.
    student, teacher = np.array([[0.0, 800.0]]), np.array([[900.0, 0.0]])
    assert loss(student, teacher, temperature=1.0) == pytest.approx([800.0], rel=1e-12)


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ((2, 3), (2, 4)),
        ((2, 3), (1, 3)),
        ((1, 3), (2, 3)),
        ((2, 3), (3,)),
        ((3,), (2, 3)),
        ((2, 1, 3), (2, 1, 3)),
        ((3,), (3,)),
    ],
)
def test_logits_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        soft_logits(tf.zeros(student), tf.zeros(teacher))
    assert f"student logits {student} and teacher logits {teacher}" in str(raised.value)


def test_a_batch_known_only_when_the_graph_runs_is_accepted_and_its_classes_still_checked():
    batches = tf.TensorSpec([None, 3]), tf.TensorSpec([None, 3])
    graph = tf.function(soft_logits).get_concrete_function(*batches)
    assert graph(tf.zeros((7, 3)), tf.zeros((7, 3))).shape == (7,)
    with pytest.raises(ShapeError, match=r"\(None, 3\) and teacher logits \(None, 4\)"):
        tf.function(soft_logits).get_concrete_function(tf.TensorSpec([None, 3]), tf.TensorSpec([None, 4]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_no_positive_number_is_refused(temperature):
    with pytest.raises(RecipeError, match=f"temperature must be a positive finite number, got {temperature}"):
        soft_logits(tf.zeros((1, 2)), tf.zeros((1, 2)), temperature=temperature)


def standardized(z):
    return (z - z.mean(axis=-1, keepdims=True)) / (z.std(axis=-1, ddof=1, keepdims=True) + 1e-7)


def test_standardised_logits_by_hand():
    # Mean 2 and standard deviation 1 (with classes - 1): -1, 0, 1, whatever the scale; the student has them reversed.
    teacher, student = np.array([[10.0, 20.0, 30.0]]), np.array([[3.0, 2.0, 1.0]])
    assert loss(teacher / 7, teacher, standardize=True) == pytest.approx([0.0], abs=1e-9)
    # Both sums of exponentials are e + 1 + 1/e, so the divergence is Σ p (z_t - z_s) = 2 (e - 1/e) / (e + 1 + 1/e).
    expected = 2 * (np.e - 1 / np.e) / (np.e + 1 + 1 / np.e)
    assert expected == pytest.approx(1.1504207, abs=1e-7)
    # The 1e-7 that is added to a standard deviation of 1 shows in the seventh digit.
    assert loss(student, teacher, temperature=1.0, standardize=True) == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_standardised_logits_are_compared_as_the_formula_says(logits, temperature):
    expected = by_scipy(*(standardized(each) for each in logits), temperature)
    np.testing.assert_allclose(loss(*logits, temperature=temperature, standardize=True), expected, rtol=1e-10)


def test_the_papers_standard_deviation_is_a_lower_temperature(logits):
    # Divided by the number of classes, 5, instead of 4.
    student, teacher = ((each - each.mean(-1, keepdims=True)) / each.std(-1, keepdims=True) for each in logits)
    found = loss(*logits, temperature=2.0 * np.sqrt(4 / 5), standardize=True)
    np.testing.assert_allclose(found / (4 / 5), by_scipy(student, teacher, 2.0), rtol=1e-6)


def test_standardising_makes_the_scale_and_offset_of_each_samples_logits_irrelevant(logits):
    student, teacher = logits
    scales = np.array([1e-2, 1.0, 7.0, 1e2, 2.0, 0.5])[:, None]
    found = loss(scales * student - 3.0, teacher / scales + 100.0, standardize=True)
    np.testing.assert_allclose(found, loss(student, teacher, standardize=True), rtol=1e-4)
    assert not np.allclose(loss(student, teacher), loss(student, teacher, standardize=True), rtol=0.05)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_equal_logits_standardise_to_a_uniform_prediction_without_gradient(logits, dtype):
    _, teacher = logits
    for flat in (np.zeros((6, 5), dtype), np.full((6, 5), 7.0, dtype)):
        expected = by_scipy(np.zeros((6, 5)), standardized(teacher), 4.0)
        np.testing.assert_allclose(loss(flat, teacher.astype(dtype), standardize=True), expected, rtol=5e-3)
        np.testing.assert_array_equal(gradient(flat, teacher.astype(dtype), standardize=True), 0.0)


def test_huge_and_tiny_logits_standardise_too(logits):
    student, teacher = (each.astype("float32") for each in logits)
    expected = by_scipy(standardized(student), standardized(teacher), 4.0)
    np.testing.assert_allclose(loss(student * 1e30, teacher * 1e25, standardize=True), expected, rtol=1e-4)
    assert np.isfinite(gradient(student * 1e-30, teacher, standardize=True)).all()
