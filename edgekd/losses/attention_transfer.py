"""Attention transfer: the student looks where the teacher looks."""

from collections.abc import Sequence

import keras
from keras import ops

from edgekd.errors import ShapeError
from edgekd.losses._checks import check_feature_maps, check_one_of
from edgekd.losses._pooling import average_pooled, smaller_size
from edgekd.losses._precision import widened

COMPARES = "feature_maps"
MAY_DIFFER = ("size", "channels")
SUMMARISES_TEACHER = True

# The least squared norm that is divided by: an all-zero map has no direction, and its attention is zero.
_LEAST_SQUARED_NORM = 1e-24


def attention_transfer(
    student: keras.KerasTensor, teacher: keras.KerasTensor, *, variant: str = "mean_square"
) -> keras.KerasTensor:
    """Returns each sample's distance between the student's and the teacher's attention maps.

    With Q = vec(mean_c F²) / ‖vec(mean_c F²)‖₂ of either map:

    - `mean_square`: mean over positions of (Q_s − Q_t)²: what the authors' released code computes, used with weight
      1000. Its effective weight falls as the map grows.
    - `paper`: ½ ‖Q_s − Q_t‖₂, equation 2 of the paper, to be weighted with its β.

    Maps of different size are compared at the smaller one's height and width: the larger is averaged over windows, as
    adaptive average pooling does. The numbers of channels may differ.

    Args:
      student: [batch, height, width, channels] float feature map.
      teacher: [batch, height, width, channels] float feature map.
      variant: `mean_square` or `paper`.

    Returns:
      [batch] float ≥ 0 of the student's dtype; zero where both look at the same places, whatever the features' scale.

    Raises:
      ShapeError: the batches differ, a map is not four-dimensional, or its height or width is not known.
      RecipeError: the variant is unknown.

    References:
      Zagoruyko and Komodakis, Paying More Attention to Attention, 2017 (arXiv:1612.03928), eq. 2 with F = Σ|A|².
    """
    check_one_of("attention_transfer", "variant", variant, ("mean_square", "paper"))
    check_feature_maps("attention_transfer", student, teacher)
    size = smaller_size(student, teacher)
    # Half precision loses the squares of small differences.
    ours, theirs = widened(student, teacher)
    difference = ops.square(attention_map(average_pooled(ours, size)) - attention_map(average_pooled(theirs, size)))
    if variant == "mean_square":
        return ops.cast(ops.mean(difference, axis=-1), student.dtype)
    squared = ops.sum(difference, axis=-1)
    # The square root has an infinite slope at zero; a gradient of zero is right where both maps agree.
    # Not `> 0`: what is not a number must stay visible.
    apart = ops.not_equal(squared, 0)
    distance = ops.where(apart, 0.5 * ops.sqrt(ops.where(apart, squared, 1.0)), 0.0)
    return ops.cast(distance, student.dtype)


def summarise_teacher(teacher: keras.KerasTensor, *, student_shape: Sequence[int | None]) -> keras.KerasTensor:
    """Returns a map of one channel that stands in for the teacher's: attention_transfer gives the same with either.

    √(mean_c F²) of the teacher's map, averaged first to the height and width at which the two are compared

    Summarising a summary changes nothing beyond rounding.

    Args:
      teacher: [batch, height, width, channels] float feature map.
      student_shape: shape of the student's tap, ([batch,] height, width, channels).

    Returns:
      [batch, smaller height, smaller width, 1] float ≥ 0 of the teacher's dtype widened to at least float32.

    Raises:
      ShapeError: a shape is not that of a feature map, or its height or width is not known.
    """
    if len(student_shape) not in {3, 4} or None in student_shape[-3:]:
        raise ShapeError(
            f"attention_transfer: the student's tap has shape {tuple(student_shape)}; expected that of a feature map "
            "([batch,] height, width, channels) of known size. Choose outputs of convolutional stages."
        )
    check_feature_maps("attention_transfer", teacher, teacher)
    height, width = (min(ours, theirs) for ours, theirs in zip(student_shape[-3:-1], teacher.shape[1:3], strict=True))
    (wide,) = widened(teacher)
    scaled, peak = _scaled(average_pooled(wide, (height, width)))
    return peak * ops.sqrt(ops.mean(ops.square(scaled), axis=-1, keepdims=True))


def attention_map(features: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's normalised spatial attention.

    Q = vec(mean_c F²) / ‖vec(mean_c F²)‖₂

    Args:
      features: [batch, height, width, channels] float feature map.

    Returns:
      [batch, height * width] float, unit L2 norm per sample; zero where the whole map is zero.

    References:
      Zagoruyko and Komodakis, Paying More Attention to Attention, 2017 (arXiv:1612.03928), eq. 2 with F = Σ|A|².
    """
    _, height, width, _ = features.shape
    (wide,) = widened(features)
    scaled, _ = _scaled(wide)
    energy = ops.reshape(ops.mean(ops.square(scaled), axis=-1), (-1, height * width))
    norm = ops.sqrt(ops.maximum(ops.sum(ops.square(energy), axis=-1, keepdims=True), _LEAST_SQUARED_NORM))
    return ops.cast(energy / norm, features.dtype)


def _scaled(features: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Returns each sample's map divided by its largest value, which keeps squares finite, and that value."""
    peak = ops.max(ops.abs(features), axis=(1, 2, 3), keepdims=True)
    peak = ops.stop_gradient(ops.where(peak > 0, peak, 1.0))
    return features / peak, peak
