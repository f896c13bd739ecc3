"""Adaptive average pooling: any feature map to any smaller height and width."""

import keras
import numpy as np
from keras import ops


def smaller_size(first: keras.KerasTensor, second: keras.KerasTensor) -> tuple[int, int]:
    """Returns the height and width that both feature maps can be averaged to: the smaller of each."""
    height, width = (min(a, b) for a, b in zip(first.shape[1:3], second.shape[1:3], strict=True))
    return height, width


def average_pooled(features: keras.KerasTensor, size: tuple[int, int]) -> keras.KerasTensor:
    """Returns a feature map averaged over windows that cover it evenly; the same map where the size is its own.

    Row i averages rows floor(i·height/wanted) to ceil((i+1)·height/wanted), and columns likewise.

    Args:
      features: [batch, height, width, channels] float feature map of known height and width.
      size: wanted height and width, none larger than the given one.

    Returns:
      [batch, *size, channels] of the same dtype.
    """
    if tuple(features.shape[1:3]) == size:
        return features
    height, width = (given // wanted for given, wanted in zip(features.shape[1:3], size, strict=True))
    if tuple(features.shape[1:3]) == (height * size[0], width * size[1]):
        # Equal windows have a kernel of their own, several times as fast.
        return ops.average_pool(features, (height, width), (height, width), "valid", "channels_last")
    rows, columns = (
        ops.convert_to_tensor(_averaging(given, wanted), features.dtype)
        for given, wanted in zip(features.shape[1:3], size, strict=True)
    )
    return ops.einsum("ih,bhwc,jw->bijc", rows, features, columns)


def _averaging(given: int, wanted: int) -> np.ndarray:
    matrix = np.zeros((wanted, given))
    for row in range(wanted):
        start, end = row * given // wanted, -(-(row + 1) * given // wanted)
        matrix[row, start:end] = 1.0 / (end - start)
    return matrix
