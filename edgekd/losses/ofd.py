"""Overhaul of feature distillation: match the teacher before its ReLU, where it says something."""

import keras
from keras import ops

from edgekd.losses._channels import check_per_channel
from edgekd.losses._checks import check_feature_maps, check_same_shape
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed

COMPARES = "feature_maps"
NEEDS = ("margin",)
ADAPTER = "margins"


def ofd(student: keras.KerasTensor, teacher: keras.KerasTensor, *, margin: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's partial squared distance between the student's map and the teacher's margin-rectified one.

    Σ_{h,w,c} d(s, max(t, m_c)) with d(s, t) = 0 where s ≤ t ≤ 0, and (t − s)² elsewhere

    Both maps are taken before the ReLU. Where the teacher is negative the ReLU lets nothing through, so a student
    that is lower still is right already; positive responses are matched exactly. This is the paper's sum over
    elements, not a mean: the authors' code divides it by 1000, and halves it for each earlier stage.

    Args:
      student: [batch, height, width, channels] float map before the ReLU, from the adapter.
      teacher: [batch, height, width, channels] float map of the same shape before the ReLU.
      margin: [channels] float ≤ 0, the mean of the teacher's negative responses in each channel, from the adapter.

    Returns:
      [batch] float ≥ 0 of the student's dtype, at most its largest number; zero where the two are equal, or differ
      only below zero with the student the lower.

    Raises:
      ShapeError: the shapes differ, are not those of feature maps of known size, or the margin is not [channels].

    References:
      Heo et al., A Comprehensive Overhaul of Feature Distillation, 2019 (arXiv:1904.01866), margin ReLU and
      partial L2 distance.
    """
    check_feature_maps("ofd", student, teacher)
    check_same_shape("ofd", student, teacher, remedy="Give the term the adapter 'margins'.")
    check_per_channel("ofd", "margin", margin, student)
    ours, theirs, floor = widened(student, teacher, margin)
    target = ops.maximum(theirs, floor)
    # The reverse, `ours > target or target > 0`, would hide what is not a number.
    right_already = ops.logical_and(ours <= target, target <= 0)
    squared = ops.where(right_already, ops.zeros_like(ours), ops.square(ours - target))
    return narrowed(ops.sum(squared, axis=(1, 2, 3)), like=student)
