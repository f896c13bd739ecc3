"""Decoupled knowledge distillation: the label's class and the other classes are taught apart."""

import keras
from keras import ops

from edgekd.errors import ShapeError
from edgekd.losses._checks import check_labels, check_logits, check_positive, check_weights
from edgekd.losses._class_probabilities import decoupled, standardized
from edgekd.losses._precision import scalar, widened
from edgekd.losses._range import narrowed

COMPARES = "logits"
NEEDS = ("labels",)


def dkd(
    student: keras.KerasTensor,
    teacher: keras.KerasTensor,
    *,
    labels: keras.KerasTensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    standardize: bool = False,
) -> keras.KerasTensor:
    """Returns each sample's divergence in the label's class plus its divergence among all other classes.

    T² · [α · KL(b_t ‖ b_s) + β · KL(p̂_t ‖ p̂_s)]

    with p = softmax(logits / T), b = (p_label, 1 − p_label), and p̂ the probabilities of the other classes divided by
    their sum. With α = 1 and β = 1 − p_t,label (which differs by sample) it would be `soft_logits`; a constant β keeps
    what a sure teacher knows of the other classes from vanishing. The paper warms the weight up over 20 epochs.

    Args:
      student: [batch, classes] float logits, at least two classes.
      teacher: [batch, classes] float logits.
      labels: [batch] integer class indices.
      alpha: α ≥ 0, the weight of the label's class.
      beta: β ≥ 0, the weight of the other classes; 2 to 8 in the paper, more for a surer teacher.
      temperature: T > 0.
      standardize: whether each sample's logits are first brought to mean 0 and standard deviation 1, as in
        `soft_logits`.

    Returns:
      [batch] float of the student's dtype, in nats times T²; zero where the two agree.

    Raises:
      ShapeError: the logits differ in shape, have less than two classes, or the labels are not one per sample.
      RecipeError: the temperature is not a positive finite number, or a weight is negative, or both are 0.

    References:
      Zhao, Cui, Song, Qiu and Liang, Decoupled Knowledge Distillation, 2022 (arXiv:2203.08679).
      Sun, Ren, Li, Wang and Cao, Logit Standardization in Knowledge Distillation, 2024 (arXiv:2403.01427).
    """
    check_positive("dkd", temperature=temperature)
    check_weights("dkd", alpha=alpha, beta=beta)
    check_logits("dkd", student, teacher)
    check_labels("dkd", labels, student)
    if student.shape[-1] < 2:
        raise ShapeError(f"dkd: logits {tuple(student.shape)} have no class besides the label's; expected two or more.")
    ours, theirs = widened(student, teacher)
    if standardize:
        ours, theirs = standardized(ours), standardized(theirs)
    alpha, beta, temperature = (scalar(value, ours) for value in (alpha, beta, temperature))
    ours, theirs = decoupled(ours / temperature, labels), decoupled(theirs / temperature, labels)
    odds, their_odds = ours.log_odds, theirs.log_odds
    target = _divergence(-ops.softplus(-their_odds), -ops.softplus(-odds))
    others = _divergence(-ops.softplus(their_odds), -ops.softplus(odds))
    rest = ops.sum(_divergence(ops.log_softmax(theirs.rest, axis=-1), ops.log_softmax(ours.rest, axis=-1)), axis=-1)
    return narrowed(temperature**2 * (alpha * (target + others) + beta * rest), student)


def _divergence(log_p: keras.KerasTensor, log_q: keras.KerasTensor) -> keras.KerasTensor:
    return ops.exp(log_p) * (log_p - log_q)
