"""Knowledge review: fused features of the student against the teacher's, from fine to coarse."""

import keras
from keras import ops

from edgekd.losses._checks import check_feature_maps, check_same_shape
from edgekd.losses._pooling import average_pooled
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed

COMPARES = "feature_maps"
ADAPTER = "fusion"

# Heights and widths of the pyramid's coarser levels; each counts half as much as the one before it.
_LEVELS = (4, 2, 1)


def review(student: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's hierarchical context loss between a fused map of the student and the teacher's map.

    Σ_l w_l · mean (P_l(F_s) − P_l(F_t))² / Σ_l w_l

    P_0 leaves the map as it is and has weight 1; the others average it adaptively to 4×4, 2×2 and 1×1 with weights
    1/2, 1/4 and 1/8. As in the authors' code, a level that is not smaller than the map is left out with its weight: the
    next one gets the next weight. The fusion is the term's adapter, and the values of the term's taps are summed;
    the paper's weight is 0.6 to 8 with a linear warm-up of 20 epochs.

    Args:
      student: [batch, height, width, channels] float feature map, from the fusion.
      teacher: [batch, height, width, channels] float feature map of the same shape.

    Returns:
      [batch] float ≥ 0 of the student's dtype, at most its largest number; zero where the two are equal.

    Raises:
      ShapeError: the shapes differ or are not those of feature maps of known size.

    References:
      Chen et al., Distilling Knowledge via Knowledge Review, 2021 (arXiv:2104.09044), section 3.3 (HCL).
    """
    check_feature_maps("review", student, teacher)
    check_same_shape("review", student, teacher, remedy="Give the term the adapter 'fusion'.")
    ours, theirs = widened(student, teacher)
    difference = ours - theirs
    # Averaging is linear: the average of the difference is the difference of the averages.
    levels = [level for level in _LEVELS if level < min(difference.shape[1:3])]
    pyramid = [difference, *(average_pooled(difference, (level, level)) for level in levels)]
    weights = [0.5**depth for depth in range(len(pyramid))]
    total = sum(
        weight * ops.mean(ops.square(each), axis=(1, 2, 3)) for weight, each in zip(weights, pyramid, strict=True)
    )
    return narrowed(total / sum(weights), like=student)
