"""Relational knowledge distillation: distances and angles between samples are the teacher's."""

from typing import NamedTuple

import keras
from keras import ops

from edgekd.losses._checks import check_features, check_weights
from edgekd.losses._directions import flattened
from edgekd.losses._precision import rounding_step, scalar, widened
from edgekd.losses._range import narrowed
from edgekd.losses._relations import inner_products

COMPARES = "features"
MAY_DIFFER = ("size", "channels")
RELATES_SAMPLES = True

# Squared distances come from inner products: below so many rounding steps of the squared norms they are noise.
_ROUNDING_STEPS = 16


def rkd(
    student: keras.KerasTensor,
    teacher: keras.KerasTensor,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
) -> keras.KerasTensor:
    """Returns each sample's differences in distances to, and angles between, the other samples.

    w_d · mean_j h(d_s[b, j] − d_t[b, j]) + w_a · mean_ik h(cos_s[i, b, k] − cos_t[i, b, k])

    with h Huber's function (½ x² up to |x| = 1, then |x| − ½), d the Euclidean distance of two flattened features
    divided by the mean distance of the batch (over pairs that are apart), and cos[i, b, k] the cosine of the angle at b
    between i and k.

    Their mean over the batch is the loss of the authors' released code: the means run over all batch² pairs and
    batch³ triplets, also those that name a sample twice and are zero; the paper sums over distinct ones. Samples at the
    same place have distance 0, and every angle with them a cosine of 0, without gradient.

    Args:
      student: [batch, ...] float features.
      teacher: [batch, ...] float features; their size may differ from the student's.
      distance_weight: w_d ≥ 0.
      angle_weight: w_a ≥ 0.

    Returns:
      [batch] float ≥ 0 of the student's dtype; zero where one network's features are the other's, moved, turned or
      scaled as a whole, and for a batch of one. Memory grows with the cube of the batch.

    Raises:
      ShapeError: the batches differ, or the features are not [batch, ...] of known size.
      RecipeError: a weight is negative, or both are 0.

    References:
      Park, Kim, Lu and Cho, Relational Knowledge Distillation, 2019 (arXiv:1904.05068).
    """
    check_weights("rkd", distance_weight=distance_weight, angle_weight=angle_weight)
    check_features("rkd", student, teacher)
    ours, theirs = widened(student, teacher)
    distance_weight, angle_weight = scalar(distance_weight, ours), scalar(angle_weight, ours)
    ours, theirs = _geometry(ours), _geometry(theirs)
    distances = ops.mean(_huber(ours.distances - theirs.distances), axis=-1)
    angles = ops.mean(_huber(ours.cosines - theirs.cosines), axis=(-2, -1))
    return narrowed(distance_weight * distances + angle_weight * angles, student)


class _Geometry(NamedTuple):
    distances: keras.KerasTensor  # [batch, batch], mean 1
    cosines: keras.KerasTensor  # [batch, batch, batch]; the first index is the angle's vertex


def _geometry(features: keras.KerasTensor) -> _Geometry:
    rows = flattened(features)
    # All that follows is blind to place and scale. Centring and dividing keep the inner products exact and finite.
    rows = rows - ops.stop_gradient(ops.mean(rows, axis=0, keepdims=True))
    peak = ops.max(ops.abs(rows))
    products = inner_products(rows / ops.stop_gradient(ops.where(peak == 0, 1.0, peak)))
    squares = ops.diagonal(products)
    sums = squares[:, None] + squares[None, :]
    squared = sums - 2.0 * products
    together = squared <= _ROUNDING_STEPS * rounding_step(sums) * sums
    apart = ops.sqrt(ops.where(together, 1.0, squared))
    distances = ops.where(together, 0.0, apart)
    pairs = ops.sum(ops.cast(ops.logical_not(together), rows.dtype))
    mean = ops.where(pairs == 0, 1.0, ops.sum(distances)) / ops.maximum(pairs, 1.0)
    inverse = ops.where(together, 0.0, 1.0 / apart)
    # (f_i - f_b)·(f_k - f_b) from the inner products: nothing of size batch² · features is ever made.
    crossed = products[None, :, :] - products[:, :, None] - products[:, None, :] + squares[:, None, None]
    return _Geometry(distances / mean, crossed * inverse[:, :, None] * inverse[:, None, :])


def _huber(difference: keras.KerasTensor) -> keras.KerasTensor:
    size = ops.abs(difference)
    inside = ops.minimum(size, 1.0)
    return inside * (size - 0.5 * inside)
