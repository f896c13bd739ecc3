"""Variational information distillation: the student's features tell as much as they can of the teacher's."""

import keras
from keras import ops

from edgekd.losses._channels import check_per_channel
from edgekd.losses._checks import check_feature_maps, check_same_shape
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed

COMPARES = "feature_maps"
NEEDS = ("variance",)
ADAPTER = "variational"


def vid(student: keras.KerasTensor, teacher: keras.KerasTensor, *, variance: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's negative log-likelihood of the teacher's feature map under the student's Gaussian.

    (1/n) Σ_{h,w,c} ½ [(t − μ)² / σ²_c + log σ²_c] over the n elements of the map

    μ is the adapter's function of the student's map, and σ² its learnt variance of each channel. The constant
    ½ log 2π is left out, and the sum of the paper is a mean, as in the authors' code.

    Args:
      student: [batch, height, width, channels] float mean μ, from the adapter.
      teacher: [batch, height, width, channels] float feature map of the same shape.
      variance: [channels] float > 0, σ² of each channel, from the adapter.

    Returns:
      [batch] float of the student's dtype, within its finite range; least where student and teacher are equal: the
      mean of ½ log σ²_c, which may be negative.

    Raises:
      ShapeError: the shapes differ, are not those of feature maps of known size, or the variance is not [channels].

    References:
      Ahn et al., Variational Information Distillation for Knowledge Transfer, 2019 (arXiv:1904.05835), section 3.
    """
    check_feature_maps("vid", student, teacher)
    check_same_shape("vid", student, teacher, remedy="Give the term the adapter 'variational'.")
    check_per_channel("vid", "variance", variance, student)
    ours, theirs, spread = widened(student, teacher, variance)
    surprise = 0.5 * (ops.square(theirs - ours) / spread + ops.log(spread))
    return narrowed(ops.mean(surprise, axis=(1, 2, 3)), like=student)
