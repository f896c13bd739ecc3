"""The precision that losses compute in: half precision loses the squares and differences that they live on."""

from typing import Any

import keras
import numpy as np
from keras import ops


def widened(*arrays: keras.KerasTensor) -> tuple[keras.KerasTensor, ...]:
    """Returns the arrays in their common dtype, which is at least float32."""
    wide = keras.backend.result_type(*(array.dtype for array in arrays), "float32")
    return tuple(ops.cast(array, wide) for array in arrays)


def scalar(value: Any, like: keras.KerasTensor) -> keras.KerasTensor:
    """Returns a hyper-parameter, a number or a scalar tensor of any dtype, in an array's dtype."""
    return ops.convert_to_tensor(value, like.dtype)


def rounding_step(array: keras.KerasTensor) -> float:
    """Returns the distance from 1 to the next number of a float32 or float64 array's dtype."""
    return float(np.finfo(keras.backend.standardize_dtype(array.dtype)).eps)
