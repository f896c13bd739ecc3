"""Attention transfer: the student looks where the teacher looks."""

import keras
import numpy as np
from keras import ops

from edgekd.errors import RecipeError, ShapeError

COMPARES = "feature_maps"

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
    if variant not in {"mean_square", "paper"}:
        raise RecipeError(f"attention_transfer: variant must be 'mean_square' or 'paper', got {variant!r}.")
    _check_shapes(student, teacher)
    # All is computed in at least float32: half precision loses the squares of small differences.
    wide = keras.backend.result_type(student.dtype, teacher.dtype, "float32")
    height, width = (min(ours, theirs) for ours, theirs in zip(student.shape[1:3], teacher.shape[1:3], strict=True))
    difference = ops.square(
        attention_map(_pooled(ops.cast(student, wide), (height, width)))
        - attention_map(_pooled(ops.cast(teacher, wide), (height, width)))
    )
    if variant == "mean_square":
        return ops.cast(ops.mean(difference, axis=-1), student.dtype)
    squared = ops.sum(difference, axis=-1)
    # The square root has an infinite slope at zero; a gradient of zero is right where both maps agree.
    apart = squared > 0
    distance = ops.where(apart, 0.5 * ops.sqrt(ops.where(apart, squared, 1.0)), 0.0)
    return ops.cast(distance, student.dtype)


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
    wide = ops.cast(features, keras.backend.result_type(features.dtype, "float32"))
    # Dividing by the largest value first changes nothing in Q and keeps the squares finite.
    peak = ops.max(ops.abs(wide), axis=(1, 2, 3), keepdims=True)
    wide = wide / ops.stop_gradient(ops.where(peak > 0, peak, 1.0))
    energy = ops.reshape(ops.mean(ops.square(wide), axis=-1), (-1, height * width))
    norm = ops.sqrt(ops.maximum(ops.sum(ops.square(energy), axis=-1, keepdims=True), _LEAST_SQUARED_NORM))
    return ops.cast(energy / norm, features.dtype)


def _check_shapes(student: keras.KerasTensor, teacher: keras.KerasTensor) -> None:
    received = f"the student's tap has shape {tuple(student.shape)} and the teacher's {tuple(teacher.shape)}"
    if any(len(features.shape) != 4 or None in features.shape[1:] for features in (student, teacher)):
        raise ShapeError(
            f"attention_transfer: {received}; expected feature maps [batch, height, width, channels] of known size. "
            "Choose outputs of convolutional stages."
        )
    # A batch of one would be broadcast silently; None is one that is known only when the graph runs.
    batches = {student.shape[0], teacher.shape[0]} - {None}
    if len(batches) > 1:
        raise ShapeError(f"attention_transfer: {received}; expected the same batch of samples.")


def _pooled(features: keras.KerasTensor, size: tuple[int, int]) -> keras.KerasTensor:
    if tuple(features.shape[1:3]) == size:
        return features
    rows, columns = (
        ops.convert_to_tensor(_averaging(given, wanted), features.dtype)
        for given, wanted in zip(features.shape[1:3], size, strict=True)
    )
    return ops.einsum("ih,bhwc,jw->bijc", rows, features, columns)


def _averaging(given: int, wanted: int) -> np.ndarray:
    """Returns the [wanted, given] matrix whose row i averages positions floor(i·given/wanted) to ceil((i+1)·…)."""
    matrix = np.zeros((wanted, given))
    for row in range(wanted):
        start, end = row * given // wanted, -(-(row + 1) * given // wanted)
        matrix[row, start:end] = 1.0 / (end - start)
    return matrix
