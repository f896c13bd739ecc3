"""Soft logits: the student matches the teacher's softened class probabilities."""

import keras
from keras import ops

from edgekd.losses._checks import check_logits, check_positive
from edgekd.losses._class_probabilities import standardized
from edgekd.losses._precision import scalar, widened
from edgekd.losses._range import narrowed

COMPARES = "logits"


def soft_logits(
    student: keras.KerasTensor, teacher: keras.KerasTensor, *, temperature: float = 4.0, standardize: bool = False
) -> keras.KerasTensor:
    """Returns each sample's Kullback-Leibler divergence from teacher to student, at a temperature.

    T² · Σ_i p_i (log p_i − log q_i) with p = softmax(teacher / T) and q = softmax(student / T)

    The factor T² keeps the gradient's size when T changes; the sum over classes is not divided by their number.

    With `standardize` both networks' logits are first brought to mean 0 and standard deviation 1, sample by sample:
    z → (z − mean z) / (std z + 1e-7), so that the student need not match the size of the teacher's logits. The standard
    deviation is the sample one (divided by classes − 1), as in the authors' released code; the paper's own formula
    divides by the number of classes, which is the same as a temperature sqrt(1 − 1 / classes) times as high. Usual
    there: temperature 2, weight 9.

    Args:
      student: [batch, classes] float logits.
      teacher: [batch, classes] float logits.
      temperature: T > 0; 1 leaves the probabilities as they are, more makes them softer.
      standardize: whether the logits are standardised; a sample whose logits are all equal then counts as uniform.

    Returns:
      [batch] float of the student's dtype, in nats times T²; zero where the two agree.

    Raises:
      ShapeError: the shapes differ or are not [batch, classes].
      RecipeError: the temperature is not a positive finite number.

    References:
      Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531).
      Sun, Ren, Li, Wang and Cao, Logit Standardization in Knowledge Distillation, 2024 (arXiv:2403.01427).
    """
    check_positive("soft_logits", temperature=temperature)
    check_logits("soft_logits", student, teacher)
    # The difference of two log-softmaxes is taken in at least float32: half precision loses small divergences.
    ours, theirs = widened(student, teacher)
    if standardize:
        ours, theirs = standardized(ours), standardized(theirs)
    temperature = scalar(temperature, ours)
    log_p = ops.log_softmax(theirs / temperature, axis=-1)
    log_q = ops.log_softmax(ours / temperature, axis=-1)
    divergence = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
    return narrowed(temperature**2 * divergence, student)
