"""Feature MSE: the student's features equal the teacher's, element by element."""

import keras
from keras import ops

from edgekd.losses._checks import check_features, check_same_shape
from edgekd.losses._directions import flattened
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed

COMPARES = "features"
ADAPTER = "pool"


def feature_mse(student: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's mean squared difference between the student's and the teacher's features.

    (1/n) Σ_k (s_k − t_k)² over a sample's n elements

    The plainest comparison of features: FitNets' hint without a regressor. The scale of the features counts.

    Args:
      student: [batch, ...] float features.
      teacher: [batch, ...] float features of the same shape.

    Returns:
      [batch] float ≥ 0 of the student's dtype, at most its largest number; zero where the two are equal.

    Raises:
      ShapeError: the shapes differ or are not [batch, ...] of known size.

    References:
      Romero et al., FitNets: Hints for Thin Deep Nets, 2015 (arXiv:1412.6550), eq. 3 without its regressor.
    """
    check_features("feature_mse", student, teacher)
    check_same_shape("feature_mse", student, teacher, remedy="Give the term the adapter 'pool' or 'regressor'.")
    ours, theirs = widened(student, teacher)
    return narrowed(ops.mean(ops.square(flattened(ours - theirs)), axis=-1), like=student)
