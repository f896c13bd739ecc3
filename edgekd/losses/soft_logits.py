"""Soft logits: the student matches the teacher's softened class probabilities."""

import keras
from keras import ops

from edgekd.errors import RecipeError, ShapeError

COMPARES = "logits"


def soft_logits(
    student: keras.KerasTensor, teacher: keras.KerasTensor, *, temperature: float = 4.0
) -> keras.KerasTensor:
    """Returns each sample's Kullback-Leibler divergence from teacher to student, at a temperature.

    T² · Σ_i p_i (log p_i − log q_i) with p = softmax(teacher / T) and q = softmax(student / T)

    The factor T² keeps the gradient's size when T changes; the sum over classes is not divided by their number.

    Args:
      student: [batch, classes] float logits.
      teacher: [batch, classes] float logits.
      temperature: T > 0; 1 leaves the probabilities as they are, more makes them softer.

    Returns:
      [batch] float of the student's dtype, in nats times T²; zero where the two agree.

    Raises:
      ShapeError: the shapes differ or are not [batch, classes].
      RecipeError: the temperature is not a positive finite number.

    References:
      Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531).
    """
    if not 0 < temperature < float("inf"):
        raise RecipeError(f"soft_logits: temperature must be a positive finite number, got {temperature}.")
    if len(student.shape) != 2 or len(teacher.shape) != 2 or not _same_shape(student, teacher):
        raise ShapeError(
            f"soft_logits: student logits {tuple(student.shape)} and teacher logits {tuple(teacher.shape)} must both "
            "be [batch, classes] with the same batch and the same number of classes."
        )
    # The difference of two log-softmaxes is taken in at least float32: half precision loses small divergences.
    wide = keras.backend.result_type(student.dtype, teacher.dtype, "float32")
    log_p = ops.log_softmax(ops.cast(teacher, wide) / temperature, axis=-1)
    log_q = ops.log_softmax(ops.cast(student, wide) / temperature, axis=-1)
    divergence = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
    return ops.cast(temperature**2 * divergence, student.dtype)


def _same_shape(student: keras.KerasTensor, teacher: keras.KerasTensor) -> bool:
    # None is a batch whose size is known only when the graph runs.
    return all(
        ours == theirs or None in {ours, theirs} for ours, theirs in zip(student.shape, teacher.shape, strict=True)
    )
