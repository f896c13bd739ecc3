"""One training step: reduction, weighting and stop-gradient happen here and nowhere else."""

import keras
import tensorflow as tf
from keras import ops

from edgekd.distill.objective import Objective
from edgekd.distill.taps import Outputs, TappedModel
from edgekd.distill.teacher import TeacherSource
from edgekd.errors import ShapeError


class TrainStep:
    """A compiled step that updates the student and returns its measurements.

    `names` says what the returned vector holds: the total loss, the batch's accuracy, then each weighted term.
    """

    def __init__(
        self, student: keras.Model, teacher: TeacherSource | None, objective: Objective, optimizer: keras.Optimizer
    ) -> None:
        if objective.terms and teacher is None:
            raise ShapeError(f"the terms {', '.join(objective.names)} need a teacher, but none is given.")
        self._student = TappedModel(student, objective.student_taps)
        self._variables = student.trainable_variables
        self._teacher = teacher
        self._objective = objective
        self._optimizer = optimizer
        # A user's own network may bring weight regularisers; Keras' fit adds them, and so do we.
        self._regularised = bool(student.losses)
        self.names = ("loss", "accuracy", *objective.names, *(("regularization",) if self._regularised else ()))
        self._compiled = tf.function(self._step, autograph=False)

    def __call__(self, images: tf.Tensor, labels: tf.Tensor, teacher_inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Updates the student on [batch, ...] images and [batch] integer labels; returns [len(names)] float32."""
        return self._compiled(images, labels, teacher_inputs)

    def _step(self, images: tf.Tensor, labels: tf.Tensor, teacher_inputs: tuple[tf.Tensor, ...]) -> tf.Tensor:
        teacher = self._teacher.outputs(images, teacher_inputs) if self._teacher and self._objective.terms else None
        with tf.GradientTape() as tape:
            student = self._student(images, training=True)
            terms = weighted_terms(self._objective, labels, student, teacher)
            if self._regularised:
                terms["regularization"] = ops.sum(self._student.model.losses)
            total = sum(terms.values())
        gradients = tape.gradient(total, self._variables)
        self._optimizer.apply(gradients, self._variables)
        accuracy = ops.mean(ops.cast(ops.argmax(student.logits, axis=-1) == ops.cast(labels, "int32"), "float32"))
        return ops.stack([ops.cast(value, "float32") for value in (total, accuracy, *terms.values())])


def weighted_terms(
    objective: Objective, labels: tf.Tensor, student: Outputs, teacher: Outputs | None
) -> dict[str, tf.Tensor]:
    """Returns each term's batch mean times its weight; their sum is the loss. No gradient reaches the teacher."""
    terms: dict[str, tf.Tensor] = {}
    if objective.labels_weight:
        classes = student.logits.shape[-1]
        targets = ops.one_hot(labels, classes) * (1.0 - objective.label_smoothing) + objective.label_smoothing / classes
        entropy = ops.categorical_crossentropy(targets, student.logits, from_logits=True)
        terms["labels"] = objective.labels_weight * ops.mean(entropy)
    for term in objective.terms:
        assert teacher is not None  # noqa: S101 - the constructor refused a missing teacher
        pairs = (
            [(student.taps[ours], teacher.taps[theirs]) for ours, theirs in term.taps]
            if term.taps
            else [(student.logits, teacher.logits)]
        )
        values = [ops.mean(term.function(ours, ops.stop_gradient(theirs))) for ours, theirs in pairs]
        terms[term.name] = term.weight * sum(values)
    return terms
