"""DIST: the student's probabilities correlate with the teacher's, across classes and across the batch."""

import keras
from keras import ops

from edgekd.losses._checks import check_logits, check_positive, check_weights
from edgekd.losses._directions import unit_vectors
from edgekd.losses._precision import rounding_step, scalar, widened
from edgekd.losses._range import narrowed

COMPARES = "logits"
RELATES_SAMPLES = True

# Probabilities that differ by less than so many rounding steps of the largest one do not vary.
_ROUNDING_STEPS = 8


def dist(
    student: keras.KerasTensor,
    teacher: keras.KerasTensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 4.0,
) -> keras.KerasTensor:
    """Returns each sample's lack of correlation over classes, plus the classes' mean lack of it over the batch.

    T² · [β · (1 − ρ(p_s[b, :], p_t[b, :])) + γ · mean_c (1 − ρ(p_s[:, c], p_t[:, c]))]

    with p = softmax(logits / T) and ρ Pearson's correlation. Their mean over the batch b is the published loss; the
    second part belongs to the batch and is the same for all of its samples.

    Where the teacher's probabilities do not vary, beyond rounding, there is nothing to follow and 1 − ρ counts as 0: so
    the second part of a batch of one sample is 0. Where only the student's do not vary, 1 − ρ is 1. Neither has a
    gradient. (The released code adds 1e-8 to the denominator instead.) The factor T² is the released code's.

    Args:
      student: [batch, classes] float logits.
      teacher: [batch, classes] float logits.
      beta: β ≥ 0, the weight of the correlation over classes (the paper's inter-class relation).
      gamma: γ ≥ 0, the weight of the correlation over the batch (its intra-class relation).
      temperature: T > 0; 4 on CIFAR and 1 on ImageNet in the paper.

    Returns:
      [batch] float between 0 and 2 T² (β + γ), of the student's dtype; zero where the two agree.

    Raises:
      ShapeError: the shapes differ or are not [batch, classes].
      RecipeError: the temperature is not a positive finite number, or a weight is negative, or both are 0.

    References:
      Huang, You, Wang, Qian and Xu, Knowledge Distillation from A Stronger Teacher, 2022 (arXiv:2205.10536).
    """
    check_positive("dist", temperature=temperature)
    check_weights("dist", beta=beta, gamma=gamma)
    check_logits("dist", student, teacher)
    ours, theirs = widened(student, teacher)
    beta, gamma, temperature = (scalar(value, ours) for value in (beta, gamma, temperature))
    ours, theirs = (ops.softmax(logits / temperature, axis=-1) for logits in (ours, theirs))
    over_classes = _lack_of_correlation(ours, theirs)
    over_batch = ops.mean(_lack_of_correlation(ops.transpose(ours), ops.transpose(theirs)))
    return narrowed(temperature**2 * (beta * over_classes + gamma * over_batch), student)


def _lack_of_correlation(ours: keras.KerasTensor, theirs: keras.KerasTensor) -> keras.KerasTensor:
    """Returns 1 - Pearson's correlation of the rows of two [rows, values] arrays."""
    ours, ours_flat = _centred(ours)
    theirs, theirs_flat = _centred(theirs)
    # Half the squared distance of unit vectors is 1 - ρ, without the rounding of a difference from 1.
    distance = 0.5 * ops.sum(ops.square(unit_vectors(ours)[0] - unit_vectors(theirs)[0]), axis=-1)
    return ops.where(theirs_flat, 0.0, ops.where(ours_flat, 1.0, distance))


def _centred(rows: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns the rows less their means, and which of them do not vary."""
    centred = rows - ops.mean(rows, axis=-1, keepdims=True)
    flat = ops.max(ops.abs(centred), axis=-1) <= _ROUNDING_STEPS * rounding_step(rows) * ops.max(ops.abs(rows), axis=-1)
    return centred, flat
