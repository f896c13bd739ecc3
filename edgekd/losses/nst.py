"""Neuron selectivity transfer: the student's channels respond to the same places as the teacher's."""

import keras
from keras import ops

from edgekd.losses._checks import check_feature_maps, check_same_shape
from edgekd.losses._directions import unit_vectors
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed

COMPARES = "feature_maps"
MAY_DIFFER = ("channels",)


def nst(student: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's squared maximum mean discrepancy between the two networks' channels.

    mean_{i,i'} k(t_i, t_i') + mean_{j,j'} k(s_j, s_j') − 2 mean_{i,j} k(t_i, s_j) with k(x, y) = (xᵀ y)²

    Here s_j and t_i are channels as vectors over the positions, each at unit L2 norm: each network's channels are
    points, and the two sets of points should be distributed alike. The kernel is the paper's polynomial one (degree 2,
    constant 0), which it found best and which is used in practice; its loss has a further factor ½ beside the weight.
    A channel that is zero everywhere counts as the zero vector.

    Args:
      student: [batch, height, width, channels] float feature map.
      teacher: [batch, height, width, channels] float feature map of the same height and width; the numbers of channels
        may differ.

    Returns:
      [batch] float of the student's dtype, between 0 (up to rounding) and 2; zero where the channels are the same but
      for their order, scale and sign.

    Raises:
      ShapeError: the batches, heights or widths differ, or a map is not four-dimensional or not of known size.

    References:
      Huang and Wang, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, 2017 (arXiv:1707.01219);
      usual weight 50.
    """
    check_feature_maps("nst", student, teacher)
    check_same_shape(
        "nst",
        student,
        teacher,
        of="height and width",
        remedy="Choose taps of the same resolution, or give the term an adapter that resizes.",
    )
    ours, theirs = (_channels(features) for features in widened(student, teacher))
    alike = _mean_kernel(ours, ours) + _mean_kernel(theirs, theirs)
    return narrowed(alike - 2.0 * _mean_kernel(theirs, ours), student)


def _channels(features: keras.KerasTensor) -> keras.KerasTensor:
    """Returns [batch, channels, positions], each channel at unit norm."""
    _, height, width, channels = features.shape
    return unit_vectors(ops.transpose(ops.reshape(features, (-1, height * width, channels)), (0, 2, 1)))[0]


def _mean_kernel(first: keras.KerasTensor, second: keras.KerasTensor) -> keras.KerasTensor:
    products = ops.matmul(first, ops.transpose(second, (0, 2, 1)))
    return ops.mean(ops.square(products), axis=(-2, -1))
