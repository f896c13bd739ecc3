"""Similarity preserving: samples that look alike to the teacher look alike to the student."""

import keras
from keras import ops

from edgekd.losses._checks import check_features
from edgekd.losses._directions import flattened, unit_vectors
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed
from edgekd.losses._relations import inner_products

COMPARES = "features"
MAY_DIFFER = ("size", "channels")
RELATES_SAMPLES = True


def similarity_preserving(student: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's squared distance between its rows of the two networks' similarity matrices.

    Σ_j (G_s[b, j] − G_t[b, j])² / batch, with G = F Fᵀ of the flattened features, each row at unit L2 norm

    Their mean over the batch is the published loss ‖G_t − G_s‖²_F / batch². A sample whose features are all zero is
    similar to none: its row is zero.

    Args:
      student: [batch, ...] float features.
      teacher: [batch, ...] float features; their size may differ from the student's.

    Returns:
      [batch] float ≥ 0 of the student's dtype; zero where the similarities agree, whatever the features' scale, and for
      a batch of one.

    Raises:
      ShapeError: the batches differ, or the features are not [batch, ...] of known size.

    References:
      Tung and Mori, Similarity-Preserving Knowledge Distillation, 2019 (arXiv:1907.09682); usual weight 3000.
    """
    check_features("similarity_preserving", student, teacher)
    ours, theirs = widened(student, teacher)
    difference = _similarities(ours) - _similarities(theirs)
    return narrowed(ops.mean(ops.square(difference), axis=-1), student)


def _similarities(features: keras.KerasTensor) -> keras.KerasTensor:
    rows = flattened(features)
    # Dividing by the largest value first changes nothing in the result and keeps the products finite.
    peak = ops.max(ops.abs(rows))
    return unit_vectors(inner_products(rows / ops.stop_gradient(ops.where(peak == 0, 1.0, peak))))[0]
