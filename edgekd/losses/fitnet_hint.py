"""FitNets' hint: a regressor on the student's feature map predicts the teacher's."""

import keras
from keras import ops

from edgekd.losses._checks import check_feature_maps, check_same_shape
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed

COMPARES = "feature_maps"
ADAPTER = "regressor"


def fitnet_hint(student: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's mean squared error of the student's guess at the teacher's hint.

    (1/n) Σ_k (r(F_s)_k − F_t,k)² over the n = height · width · channels elements of the map

    The regressor r is the term's adapter. The paper has ½ Σ_k, which is n/2 times as much; like most implementations
    this takes the mean, so that one weight (100 is usual) suits maps of any size.

    Args:
      student: [batch, height, width, channels] float feature map, from the regressor.
      teacher: [batch, height, width, channels] float feature map of the same shape, the hint.

    Returns:
      [batch] float ≥ 0 of the student's dtype, at most its largest number; zero where the two are equal.

    Raises:
      ShapeError: the shapes differ or are not those of feature maps of known size.

    References:
      Romero et al., FitNets: Hints for Thin Deep Nets, 2015 (arXiv:1412.6550), eq. 3.
    """
    check_feature_maps("fitnet_hint", student, teacher)
    check_same_shape("fitnet_hint", student, teacher, remedy="Give the term the adapter 'regressor'.")
    ours, theirs = widened(student, teacher)
    return narrowed(ops.mean(ops.square(ours - theirs), axis=(1, 2, 3)), like=student)
