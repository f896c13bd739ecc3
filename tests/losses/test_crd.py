"""The contrastive loss against loops over anchors and negatives, and a case worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from edgekd.errors import RecipeError, ShapeError
from edgekd.losses.crd import crd

LABELS = [0, 1, 0, 2, 1]


@pytest.fixture
def embeddings():
    """Student and teacher embeddings, [5, 4] float64 of any length."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 4)), 3.0 * rng.normal(size=(5, 4))


def by_loop(student, teacher, labels, temperature=0.07, normalizer=1.0):
    """Noise-contrastive estimation as the paper writes it: probabilities first, then their logarithms."""

    def unit(vectors):
        return [vector / np.linalg.norm(vector) for vector in vectors]

    def one_direction(i, anchors, others):
        negatives = [j for j in range(len(labels)) if labels[j] != labels[i]]
        if not negatives:
            return 0.0

        def h(j):
            score = math.exp(float(np.dot(anchors[i], others[j])) / temperature)
            return score / (score + len(negatives) * normalizer)

        return -math.log(h(i)) - sum(math.log(1.0 - h(j)) for j in negatives)

    ours, theirs = unit(student), unit(teacher)
    return [one_direction(i, ours, theirs) + one_direction(i, theirs, ours) for i in range(len(labels))]


def loss(student, teacher, labels=LABELS, **settings):
    return crd(tf.constant(student), tf.constant(teacher), labels=tf.constant(labels, "int64"), **settings).numpy()


def gradient(student, teacher, labels=LABELS, **settings):
    variable = tf.Variable(student)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(
            crd(variable, tf.constant(teacher), labels=tf.constant(labels, "int64"), **settings)
        )  # fmt: skip
    return tape.gradient(total, variable).numpy()


def test_two_samples_of_two_classes_by_hand():
    # Both networks say (1, 0) and (0, 1): at τ = 1/log 3 a sample scores e^{1/τ} = 3 with itself, 1 with the other.
    # One negative: h = 3/4 for the positive and 1/2 for the negative, -log 3/4 - log 1/2 = log 8/3, twice.
    unit = np.eye(2)
    expected = 2 * math.log(8.0 / 3.0)
    assert expected == pytest.approx(1.9616585, abs=1e-7)
    result = loss(unit, unit, [0, 1], temperature=1 / math.log(3.0))
    assert result == pytest.approx([expected, expected], rel=1e-12)
    # With z = 3: h = 3/6 and 1/4, -log 1/2 - log 3/4 is the same number; with z = 1/2: 6/7 and 2/3, log 7/6 + log 3.
    assert loss(unit, unit, [0, 1], temperature=1 / math.log(3.0), normalizer=3.0) == pytest.approx([expected] * 2)
    assert loss(unit, unit, [0, 1], temperature=1 / math.log(3.0), normalizer=0.5) == pytest.approx(
        [2 * math.log(3.5)] * 2
    )


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5}, {"temperature": 1.0, "normalizer": 2.5}])
def test_the_loss_is_the_noise_contrastive_objective_in_both_directions(embeddings, settings):
    np.testing.assert_allclose(loss(*embeddings, **settings), by_loop(*embeddings, LABELS, **settings), rtol=1e-9)


def test_a_normalizer_of_one_over_the_number_of_training_samples_is_the_papers_h(embeddings):
    # h = e^{u/τ} / (e^{u/τ} + N/M) with M = 50 training samples and N = 4 negatives, one by one.
    student, teacher = embeddings
    ours, theirs = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in embeddings)
    labels = [0, 1, 2, 3, 4]
    scores = np.exp(ours @ theirs.T / 0.5)
    h = scores / (scores + 4 / 50)
    expected = []
    for i in range(5):
        others = [j for j in range(5) if j != i]
        expected.append(-2 * math.log(h[i, i]) - sum(math.log(1 - h[i, j]) + math.log(1 - h[j, i]) for j in others))
    np.testing.assert_allclose(loss(student, teacher, labels, temperature=0.5, normalizer=1 / 50), expected, rtol=1e-9)


def test_the_length_of_embeddings_changes_nothing(embeddings):
    student, teacher = embeddings
    np.testing.assert_allclose(loss(1e4 * student, 1e-4 * teacher), loss(student, teacher), rtol=1e-9)


def test_the_names_of_classes_change_nothing_and_who_shares_one_does(embeddings):
    original = loss(*embeddings)
    np.testing.assert_array_equal(loss(*embeddings, [7, 3, 7, 100, 3]), original)
    assert not np.allclose(loss(*embeddings, [0, 1, 1, 2, 0]), original, rtol=0.01)


def test_samples_of_the_same_class_are_not_negatives():
    # The second sample is all that differs; it matters to the first only where it is of another class.
    teacher = np.eye(3)
    student, moved = np.eye(3), np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    settings = {"temperature": 0.5}
    same, other = [0, 0, 1], [0, 1, 2]
    assert loss(student, teacher, same, **settings)[0] == pytest.approx(loss(moved, teacher, same, **settings)[0])
    assert loss(moved, teacher, other, **settings)[0] > loss(student, teacher, other, **settings)[0] + 0.1


def test_a_sample_of_unknown_class_neither_is_nor_has_a_negative(embeddings):
    unknown = [0, 1, -1, 2, 1]
    result = loss(*embeddings, unknown)
    known = [i for i, label in enumerate(unknown) if label >= 0]
    student, teacher = (each[known] for each in embeddings)
    np.testing.assert_allclose(result[known], by_loop(student, teacher, [0, 1, 2, 1]), rtol=1e-9)
    assert result[2] == 0


def test_a_batch_without_a_negative_teaches_nothing(embeddings):
    np.testing.assert_array_equal(loss(*embeddings, [3] * 5), 0.0)
    np.testing.assert_array_equal(gradient(*embeddings, [3] * 5), 0.0)
    np.testing.assert_array_equal(loss(embeddings[0][:1], embeddings[1][:1], [3]), 0.0)


def test_the_gradient_is_the_slope_for_student_and_teacher(embeddings):
    variables = [tf.Variable(each) for each in embeddings]
    with tf.GradientTape() as tape:
        both = map(tf.convert_to_tensor, variables)
        total = tf.reduce_sum(crd(*both, labels=tf.constant(LABELS), temperature=0.5))
    found = tape.gradient(total, variables)
    rng = np.random.default_rng(1)
    for which in (0, 1):  # the embedding of the teacher's side is trained, too
        direction = rng.normal(size=embeddings[which].shape)
        values = []
        for sign in (1, -1):
            moved = list(embeddings)
            moved[which] = embeddings[which] + sign * 1e-6 * direction
            values.append(sum(by_loop(*moved, LABELS, 0.5)))
        assert np.sum(found[which].numpy() * direction) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)


def test_descending_makes_the_student_recognise_its_own_sample():
    student, teacher = np.random.default_rng(2).normal(size=(5, 5)), np.eye(5)
    assert (np.argmax(student @ teacher, axis=1) != np.arange(5)).any()
    for _ in range(20):
        student = student - 0.3 * gradient(student, teacher, [0, 1, 2, 3, 4], temperature=0.5)
    np.testing.assert_array_equal(np.argmax(student @ teacher, axis=1), np.arange(5))


def test_a_wrong_pairing_of_samples_is_worse(embeddings):
    _, teacher = embeddings
    assert loss(np.roll(teacher, 1, axis=0), teacher).mean() > 2 * loss(teacher, teacher).mean()


def test_zero_vectors_and_extreme_ones_are_finite(embeddings):
    student, teacher = (each.astype(np.float32) for each in embeddings)
    for scale in (0.0, 1e30, 1e-30):
        for ours, theirs in ((student * np.float32(scale), teacher), (student, teacher * np.float32(scale))):
            assert np.isfinite(loss(ours, theirs)).all()
            assert np.isfinite(gradient(ours, theirs)).all()


@pytest.mark.parametrize("name", ["temperature", "normalizer"])
def test_settings_that_are_no_positive_number_are_refused_and_tensors_are_taken(embeddings, name):
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match=f"{name} must be a positive finite number, got {value}"):
            loss(*embeddings, **{name: value})
    np.testing.assert_allclose(
        loss(*embeddings, **{name: tf.constant(0.5)}), loss(*embeddings, **{name: 0.5}), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("student", "teacher"), [((2, 3), (2, 4)), ((2, 3), (1, 3)), ((2, 4), (2, 2, 2)), ((2,), (2,))]
)
def test_embeddings_that_do_not_fit_are_refused_with_both_shapes(student, teacher):
    with pytest.raises(ShapeError) as raised:
        crd(tf.zeros(student), tf.zeros(teacher), labels=tf.constant([0, 1]))
    assert str(student) in str(raised.value)
    assert str(teacher) in str(raised.value)


@pytest.mark.parametrize("labels", [[[0], [1]], [0, 1, 2], [0]])
def test_labels_that_are_not_one_for_each_sample_are_refused(labels):
    with pytest.raises(ShapeError, match="labels of shape"):
        crd(tf.zeros((2, 3)), tf.zeros((2, 3)), labels=tf.constant(labels))
