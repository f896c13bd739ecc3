"""Simple recipe distillation: normalised features, and the logarithm of a sum that the largest differences rule."""

import numbers
from typing import Any

import keras
from keras import ops

from edgekd.errors import RecipeError
from edgekd.losses._checks import check_features, check_same_shape
from edgekd.losses._directions import flattened
from edgekd.losses._precision import scalar, widened
from edgekd.losses._range import narrowed

COMPARES = "features"
RELATES_SAMPLES = True
ADAPTER = "projector"

_LEAST_VARIANCE = 1e-4
_LEAST_SUM = 1e-5


def srd(student: keras.KerasTensor, teacher: keras.KerasTensor, *, alpha: float = 4.0) -> keras.KerasTensor:
    """Returns each sample's copy of the batch's LogSum distance between normalised features of student and teacher.

    log(Σ_{b,k} |ŝ_bk − t̂_bk|^α + 1e-5) with x̂ = (x − mean over the batch) / √(variance over the batch + 1e-4)

    Each feature is normalised over the batch without scale and shift, the student's behind the projector that is the
    term's adapter. The sum runs over the whole batch, so every sample gets the same number and their mean is the
    published loss. The 1e-5, from the authors' code, keeps the logarithm finite where both agree. Feature maps should
    be averaged over positions first; they are flattened here.

    Args:
      student: [batch, ...] float features, from the projector.
      teacher: [batch, ...] float features of the same shape.
      alpha: α ≥ 1, how much the largest differences rule.

    Returns:
      [batch] float of the student's dtype, all equal; least, log 1e-5, where the normalised features agree.

    Raises:
      ShapeError: the shapes differ or are not [batch, ...] of known size.
      RecipeError: alpha is not a finite number of at least 1.

    References:
      Miles and Mikolajczyk, Understanding the Role of the Projector in Knowledge Distillation, AAAI 2024
      (arXiv:2303.11098), the LogSum distance, with α = 4 as in the authors' code.
    """
    _check_alpha(alpha)
    check_features("srd", student, teacher)
    check_same_shape("srd", student, teacher, remedy="Give the term the adapter 'projector'.")
    ours, theirs = (_normalised(flattened(each)) for each in widened(student, teacher))
    powers = ops.sum(ops.abs(ours - theirs) ** scalar(alpha, ours), axis=-1)
    distance = ops.log(ops.sum(powers) + _LEAST_SUM)
    return narrowed(distance + ops.zeros_like(powers), like=student)


def _normalised(features: keras.KerasTensor) -> keras.KerasTensor:
    # Dividing by the largest value first changes nothing in the result and keeps the squares finite.
    peak = ops.stop_gradient(ops.maximum(ops.max(ops.abs(features), axis=0), 1.0))
    scaled = features / peak
    centred = scaled - ops.mean(scaled, axis=0)
    variance = ops.mean(ops.square(centred), axis=0)
    # In the place of a least variance so small that it is rounded to zero comes one that changes nothing either.
    return centred / ops.sqrt(variance + ops.maximum(_LEAST_VARIANCE / peak / peak, 1e-30))


def _check_alpha(alpha: Any) -> None:
    if isinstance(alpha, numbers.Real) and not 1 <= float(alpha) < float("inf"):
        raise RecipeError(f"srd: alpha must be a finite number of at least 1, got {alpha}.")
