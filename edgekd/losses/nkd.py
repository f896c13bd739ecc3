"""Normalised knowledge distillation: the label's class weighed by the teacher's trust, the others normalised."""

import keras
from keras import ops

from edgekd.errors import ShapeError
from edgekd.losses._checks import check_labels, check_logits, check_not_negative, check_positive
from edgekd.losses._class_probabilities import decoupled
from edgekd.losses._precision import scalar, widened
from edgekd.losses._range import narrowed

COMPARES = "logits"
NEEDS = ("labels",)
# The first part falls as long as the student's probability of the label's class grows, also beyond the teacher's.
LEAST_AT_TEACHER = False


def nkd(
    student: keras.KerasTensor,
    teacher: keras.KerasTensor,
    *,
    labels: keras.KerasTensor,
    gamma: float = 1.5,
    temperature: float = 1.0,
) -> keras.KerasTensor:
    """Returns each sample's cross-entropy with its label, trusted as the teacher does, plus that of the other classes.

    − p_t[y] · log p_s[y] − γ · T² · Σ_{i≠y} p̂_t[i] · log p̂_s[i]

    with y the label, p = softmax(logits) and p̂ the softmax of the logits without the label's, divided by T.

    Both parts are cross-entropies: the second is least, at γ T² times the entropy of p̂_t, where the other classes
    agree; the first has no minimum at the teacher but falls towards zero as the student becomes sure of the label.

    Args:
      student: [batch, classes] float logits, at least two classes.
      teacher: [batch, classes] float logits.
      labels: [batch] integer class indices.
      gamma: γ ≥ 0, the weight of the other classes.
      temperature: T > 0, of the other classes only.

    Returns:
      [batch] float ≥ 0 of the student's dtype, in nats.

    Raises:
      ShapeError: the logits differ in shape, have less than two classes, or the labels are not one per sample.
      RecipeError: the temperature is not a positive finite number, or gamma is negative.

    References:
      Yang, Zeng, Li, Zhang, Yuan and Li, From Knowledge Distillation to Self-Knowledge Distillation, 2023
      (arXiv:2303.13005).
    """
    check_positive("nkd", temperature=temperature)
    check_not_negative("nkd", gamma=gamma)
    check_logits("nkd", student, teacher)
    check_labels("nkd", labels, student)
    if student.shape[-1] < 2:
        raise ShapeError(f"nkd: logits {tuple(student.shape)} have no class besides the label's; expected two or more.")
    ours, theirs = widened(student, teacher)
    gamma, temperature = scalar(gamma, ours), scalar(temperature, ours)
    ours, theirs = decoupled(ours, labels), decoupled(theirs, labels)
    # The logarithm of a sigmoid, - softplus(-x), stays exact where the student is sure.
    target = ops.sigmoid(theirs.log_odds) * ops.softplus(-ours.log_odds)
    p, log_q = ops.softmax(theirs.rest / temperature, axis=-1), ops.log_softmax(ours.rest / temperature, axis=-1)
    return narrowed(target - gamma * temperature**2 * ops.sum(p * log_q, axis=-1), student)
