"""Correlation congruence: samples correlate in the student's features as they do in the teacher's."""

import math

import keras
from keras import ops

from edgekd.errors import RecipeError
from edgekd.losses._checks import check_features, check_positive
from edgekd.losses._precision import scalar, widened
from edgekd.losses._range import narrowed
from edgekd.losses._relations import cosines

COMPARES = "features"
MAY_DIFFER = ("size", "channels")
RELATES_SAMPLES = True


def correlation_congruence(
    student: keras.KerasTensor, teacher: keras.KerasTensor, *, gamma: float = 0.4, order: int = 2
) -> keras.KerasTensor:
    """Returns each sample's mean squared difference between its correlations in the two networks.

    mean_j (C_s[b, j] − C_t[b, j])² with C[b, j] = exp(−2γ) · Σ_{p=0..P} (2γ)^p / p! · cos(f_b, f_j)^p

    C is the Gaussian kernel exp(−γ ‖f_b − f_j‖²) of flattened features at unit length, where ‖f_b − f_j‖² = 2 − 2 cos,
    with its Taylor series cut off after the power P: of the paper's kernels the one that it recommends. The features
    are brought to unit length as in the public implementations. The batch mean of the result is the paper's
    ‖C_s − C_t‖²_F / batch². A sample whose features are all zero has the cosine 0 with all.

    Args:
      student: [batch, ...] float features.
      teacher: [batch, ...] float features; their size may differ from the student's.
      gamma: γ > 0, the kernel's inverse squared width.
      order: P ≥ 1, the highest power.

    Returns:
      [batch] float ≥ 0 of the student's dtype; zero where the cosines agree, whatever each sample's scale, and for a
      batch of one.

    Raises:
      ShapeError: the batches differ, or the features are not [batch, ...] of known size.
      RecipeError: gamma is not a positive finite number, or the order is less than 1.

    References:
      Peng, Jin, Liu, Zhou, Wu, Liu, Li and Zhang, Correlation Congruence for Knowledge Distillation, 2019
      (arXiv:1904.01802).
    """
    check_positive("correlation_congruence", gamma=gamma)
    if order < 1:
        raise RecipeError(f"correlation_congruence: order must be at least 1, got {order}: the 0th power is constant.")
    check_features("correlation_congruence", student, teacher)
    ours, theirs = widened(student, teacher)
    gamma = scalar(gamma, ours)
    difference = _kernel(ours, gamma, order) - _kernel(theirs, gamma, order)
    return narrowed(ops.mean(ops.square(difference), axis=-1), student)


def _kernel(features: keras.KerasTensor, gamma: keras.KerasTensor, order: int) -> keras.KerasTensor:
    correlations = cosines(features)
    series = ops.ones_like(correlations) * (2.0 * gamma) ** order / math.factorial(order)
    for power in reversed(range(order)):  # Horner's scheme
        series = series * correlations + (2.0 * gamma) ** power / math.factorial(power)
    return ops.exp(-2.0 * gamma) * series
