"""The objective's arithmetic against numpy, and who moves in a step: the student alone."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from edgekd import recipe
from edgekd.data.batches import Batch
from edgekd.distill import objective, optimizers
from edgekd.distill.learners import Student
from edgekd.distill.lesson import Lesson, weighted_terms
from edgekd.distill.objective import Objective, Term
from edgekd.distill.step import TrainStep
from edgekd.distill.taps import Outputs
from edgekd.distill.teacher import LiveTeacher
from edgekd.errors import EdgekdError, RecipeError
from edgekd.losses.soft_logits import soft_logits

SHAPE = (8, 8, 1)
LOGITS = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], np.float32)
TEACHER_LOGITS = np.array([[2.0, 1.0, 0.0], [0.5, 0.5, 1.0]], np.float32)
LABELS = np.array([1, 0])


def terms_of(goal: Objective) -> dict[str, float]:
    student, teacher = Outputs(tf.constant(LOGITS), {}), Outputs(tf.constant(TEACHER_LOGITS), {})
    return {name: float(value) for name, value in weighted_terms(goal, tf.constant(LABELS), student, teacher).items()}


def test_labels_term_is_the_weighted_mean_cross_entropy() -> None:
    expected = -scipy.special.log_softmax(LOGITS, axis=1)[np.arange(2), LABELS].mean()
    assert terms_of(Objective(labels_weight=0.3))["labels"] == pytest.approx(0.3 * expected, rel=1e-6)


def test_label_smoothing_mixes_in_the_uniform_distribution() -> None:
    targets = np.eye(3)[LABELS] * 0.9 + 0.1 / 3
    expected = -(targets * scipy.special.log_softmax(LOGITS, axis=1)).sum(axis=1).mean()
    assert terms_of(Objective(label_smoothing=0.1))["labels"] == pytest.approx(expected, rel=1e-6)


def test_soft_targets_come_from_the_teacher_and_not_from_the_student() -> None:
    p, q = scipy.special.softmax(TEACHER_LOGITS / 2, axis=1), scipy.special.softmax(LOGITS / 2, axis=1)
    expected = 4 * (p * np.log(p / q)).sum(axis=1).mean()
    goal = Objective(labels_weight=0, terms=(Term("soft", lambda s, t: soft_logits(s, t, temperature=2.0), 0.7),))
    assert terms_of(goal) == {"soft": pytest.approx(0.7 * expected, rel=1e-5)}


def test_a_term_with_several_taps_is_their_sum() -> None:
    def mean_gap(ours: tf.Tensor, theirs: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(theirs - ours, axis=(1, 2, 3))

    student = Outputs(tf.constant(LOGITS), {"a": tf.zeros((2, 2, 2, 1)), "b": tf.zeros((2, 1, 1, 3))})
    teacher = Outputs(tf.constant(LOGITS), {"x": tf.ones((2, 2, 2, 1)), "y": 5 * tf.ones((2, 1, 1, 3))})
    goal = Objective(labels_weight=0, terms=(Term("gap", mean_gap, 2.0, (("a", "x"), ("b", "y"))),))
    assert float(weighted_terms(goal, tf.constant(LABELS), student, teacher)["gap"]) == pytest.approx(2.0 * (1 + 5))


def test_no_gradient_reaches_the_teacher() -> None:
    student, teacher = tf.constant(LOGITS), tf.constant(TEACHER_LOGITS)
    goal = Objective(terms=(Term("soft", soft_logits, 1.0),))
    with tf.GradientTape() as tape:
        tape.watch([student, teacher])
        terms = weighted_terms(goal, tf.constant(LABELS), Outputs(student, {}), Outputs(teacher, {}))
        total = sum(terms.values())
    to_student, to_teacher = tape.gradient(total, [student, teacher])
    assert to_teacher is None
    assert np.abs(to_student.numpy()).min() > 0


def test_an_objective_of_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match="empty"):
        Objective(labels_weight=0)


def test_terms_without_a_teacher_are_refused(tiny_network: Callable[..., keras.Model]) -> None:
    goal = Objective(terms=(Term("soft", soft_logits, 1.0),))
    with pytest.raises(EdgekdError, match="need a teacher"):
        Lesson(Student(tiny_network()), goal, input_shape=SHAPE)


def make_step(student: keras.Model, teacher: LiveTeacher | None, goal: Objective) -> TrainStep:
    training = recipe.section(recipe.Training, {"learning_rate": 0.05})
    shapes = teacher.shapes if teacher else None
    lesson = Lesson(Student(student, goal.student_taps), goal, input_shape=SHAPE, teacher_shapes=shapes)
    return TrainStep(lesson, optimizers.build(training, lesson.trainable_variables, steps_per_epoch=10))


def test_a_step_moves_every_student_weight_and_nothing_of_the_teacher(
    tiny_network: Callable[..., keras.Model],
    weights_of: Callable[..., list[np.ndarray]],
    live_teacher: Callable[..., LiveTeacher],
) -> None:
    student, teacher = tiny_network(seed=1, dropout=0.0), tiny_network(seed=2, width=6)
    section = recipe.section(
        recipe.Distill,
        {"losses": [{"loss": "soft_logits"}, {"loss": "attention_transfer", "taps": [["stage1", "stage1"]]}]},
    )
    goal = objective.from_recipe(section, label_smoothing=0.0)
    source = live_teacher(teacher, goal, student)
    student_before, teacher_before = weights_of(student), weights_of(teacher)
    step = make_step(student, source, goal)
    images = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
    labels = np.arange(16) % 3
    given = source.outputs(Batch(sample_ids=np.arange(16), images=images, labels=labels))
    values = step({"images": tf.constant(images), "labels": tf.constant(labels)}, given).numpy()

    for before, after in zip(teacher_before, weights_of(teacher), strict=True):
        np.testing.assert_array_equal(before, after)
    trained = [variable.path for variable in student.trainable_variables]
    for variable, before in zip(student.variables, student_before, strict=True):
        moved = np.abs(variable.numpy() - before).max() > 0
        assert moved or variable.path not in trained, variable.path
    assert step.names == ("loss", "accuracy", "labels", "soft_logits", "attention_transfer")
    assert values[0] == pytest.approx(values[2:].sum(), rel=1e-6)


def test_repeated_steps_lower_the_loss_on_one_batch(tiny_network: Callable[..., keras.Model]) -> None:
    step = make_step(tiny_network(dropout=0.0), None, Objective())
    images = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
    labels = tf.constant(np.arange(16) % 3)
    values = [step({"images": tf.constant(images), "labels": labels}).numpy()[0] for _ in range(30)]
    assert values[-1] < 0.8 * values[0]


def test_weight_regularisers_of_a_users_network_count(tiny_network: Callable[..., keras.Model]) -> None:
    images = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(images)
    model = keras.Model(images, keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))(flat))
    expected = 0.5 * float((model.layers[-1].kernel.numpy() ** 2).sum())
    step = make_step(model, None, Objective())
    values = step({"images": tf.zeros((4, 8, 8, 1)), "labels": tf.constant([0, 1, 2, 0])}).numpy()
    assert dict(zip(step.names, values, strict=True))["regularization"] == pytest.approx(expected, rel=1e-5)


def test_two_terms_of_one_loss_keep_apart_in_the_log() -> None:
    section = recipe.section(
        recipe.Distill, {"losses": [{"loss": "soft_logits"}, {"loss": "soft_logits", "temperature": 1.0}]}
    )
    goal = objective.from_recipe(section, label_smoothing=0.0)
    assert goal.names == ("labels", "soft_logits_1", "soft_logits_2")
