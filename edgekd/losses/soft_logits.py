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
      [batch] float, in nats times T²; zero where the two agree.

    Raises:
      ShapeError: the shapes differ or are not [batch, classes].
      RecipeError: the temperature is not positive.

    References:
      Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531).
    """
    if not temperature > 0:
        raise RecipeError(f"soft_logits: temperature must be positive, got {temperature}.")
    if len(student.shape) != 2 or tuple(student.shape[1:]) != tuple(teacher.shape[1:]):
        raise ShapeError(
            f"soft_logits: student logits {tuple(student.shape)} and teacher logits {tuple(teacher.shape)} must both "
            "be [batch, classes] with the same number of classes."
        )
    # The difference of two log-softmaxes is taken in at least float32: half precision loses small divergences.
    dtype = student.dtype
    log_p = ops.log_softmax(_wide(teacher) / temperature, axis=-1)
    log_q = ops.log_softmax(_wide(student) / temperature, axis=-1)
    divergence = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
    return ops.cast(temperature**2 * divergence, dtype)


def _wide(logits: keras.KerasTensor) -> keras.KerasTensor:
    return ops.cast(logits, "float64" if keras.backend.standardize_dtype(logits.dtype) == "float64" else "float32")
