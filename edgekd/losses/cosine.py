"""Cosine: the student's features point where the teacher's do, whatever their length."""

import keras
from keras import ops

from edgekd.losses._checks import check_features, check_same_shape
from edgekd.losses._directions import flattened, unit_vectors
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed

COMPARES = "features"
ADAPTER = "pool"


def cosine(student: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's cosine distance between the student's and the teacher's flattened features.

    1 − s·t / (‖s‖₂ ‖t‖₂), computed as ½ ‖s/‖s‖₂ − t/‖t‖₂‖², which is the same number without its cancellation

    A vector of zeros has no direction: its cosine with any other is taken as zero, its distance is 1 and no gradient
    reaches it.

    Args:
      student: [batch, ...] float features.
      teacher: [batch, ...] float features of the same shape.

    Returns:
      [batch] float in [0, 2] of the student's dtype; zero where both point the same way.

    Raises:
      ShapeError: the shapes differ or are not [batch, ...] of known size.

    References:
      Knowledge Distillation Tutorial of pytorch.org, 2023 (flattened hidden representations, the teacher's
      average-pooled, weight 0.25): a cosine in the place of the hint's distance of FitNets (arXiv:1412.6550).
    """
    check_features("cosine", student, teacher)
    check_same_shape("cosine", student, teacher, remedy="Give the term the adapter 'pool' or 'regressor'.")
    ours, theirs = widened(student, teacher)
    our_direction, we_point = unit_vectors(flattened(ours))
    their_direction, they_point = unit_vectors(flattened(theirs))
    distance = 0.5 * ops.sum(ops.square(our_direction - their_direction), axis=-1)
    both_point = ops.logical_and(we_point, they_point)
    return narrowed(ops.where(both_point, distance, ops.ones_like(distance)), like=student)
