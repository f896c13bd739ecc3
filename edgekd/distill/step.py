"""One compiled training step."""

import contextlib
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from edgekd.distill.batch_norm import fused_batch_norm
from edgekd.distill.distribution import Replicas, known_per_replica
from edgekd.distill.lesson import Lesson, Targets

Batch = Mapping[str, tf.Tensor]


class TrainStep:
    """A compiled step that updates the learners and returns its measurements.

    `names` says what the returned vector holds: the total loss, the student's accuracy on the batch unless networks
    reconstruct, then each weighted term.
    """

    def __init__(
        self,
        lesson: Lesson,
        optimizer: keras.Optimizer,
        *,
        schedules: tuple[str, ...] = (),
        complete: bool = True,
        xla: bool = False,
        replicas: Replicas | None = None,
    ) -> None:
        """Prepares the step; it is traced when it is first called.

        Args:
          lesson: what is minimised.
          optimizer: built for the lesson's trainable variables.
          schedules: names of the values that change from step to step.
          complete: whether the class of every sample is known.
          xla: whether XLA compiles the step.
          replicas: the devices that share the step's work; one by default.
        """
        self._lesson = lesson
        self._variables = lesson.trainable_variables
        self._parts = (*lesson.learners.models, *lesson.helpers)
        self._optimizer = optimizer
        self._schedules = schedules
        self._complete = complete
        self._replicas = replicas or Replicas()
        regularised = any(model.losses for model in lesson.learners.models)
        accuracy = () if lesson.reconstructs else ("accuracy",)
        self.names = ("loss", *accuracy, *lesson.names, *(("regularization",) if regularised else ()))
        self._compiled = tf.function(self._step, autograph=False, jit_compile=xla)

    def __call__(self, batch: Batch, teacher: Batch | None = None, values: Any = ()) -> tf.Tensor:
        """Updates the learners.

        Args:
          batch: this worker's part: `images` [batch, ...] float32, `labels` [batch] integers, and with mixup
            `partner_labels` and `partner_weight`.
          teacher: what the outside teacher gives for these images.
          values: [len(schedules)] float32.

        Returns:
          [len(names)] float32.
        """
        return self._compiled(dict(batch), None if teacher is None else dict(teacher), tf.constant(values, tf.float32))

    def _step(self, batch: Batch, teacher: Batch | None, values: tf.Tensor) -> tf.Tensor:
        def loss(batch: Batch, teacher: Batch | None) -> tuple[Any, Any]:
            return self._loss(batch, teacher, values)

        gradients, measured = self._replicas.gradients(loss, self._variables, self._parts, batch, teacher)
        self._optimizer.apply(gradients, self._variables)
        return measured

    def _loss(self, batch: Batch, teacher: Batch | None, values: tf.Tensor) -> tuple[Any, Any]:
        """Returns what to differentiate, and the measurements."""
        targets = Targets(batch["labels"], batch.get("partner_labels"), batch.get("partner_weight"), self._complete)
        with contextlib.ExitStack() as fused:
            for part in self._parts:
                fused.enter_context(fused_batch_norm(part, synchronized=self._replicas.count > 1))
            named = {name: values[position] for position, name in enumerate(self._schedules)}
            terms, logits = self._lesson.terms(batch["images"], targets, teacher, named, training=True)
            terms = {name: ops.cast(value, "float32") for name, value in terms.items()}
            total = sum(terms.values())
        accuracy = [] if self._lesson.reconstructs else [_accuracy(logits, targets)]
        return self._optimizer.scale_loss(total), ops.stack([total, *accuracy, *terms.values()])


def _accuracy(logits: Any, targets: Targets) -> Any:
    """Returns the share of right answers; of a mixed image the image that it shows most of counts."""
    labels = targets.labels
    if targets.partner_labels is not None:
        labels = ops.where(targets.partner_weight > 0.5, targets.partner_labels, labels)
    right = ops.cast(ops.argmax(logits, axis=-1) == ops.cast(labels, "int32"), "float32")
    known = ops.cast(labels >= 0, "float32")
    return ops.sum(right * known) / known_per_replica(known)
