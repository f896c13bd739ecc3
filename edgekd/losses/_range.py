"""What a dtype can hold: a loss beyond it saturates instead of becoming infinite."""

import keras
from keras import ops

# bfloat16 is unknown to NumPy's finfo.
LARGEST = {
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float32": float.fromhex("0x1.fffffep127"),
    "float64": float.fromhex("0x1.fffffffffffffp1023"),
}


def narrowed(values: keras.KerasTensor, like: keras.KerasTensor) -> keras.KerasTensor:
    """Returns values in an array's dtype; what it cannot hold becomes its largest number, and NaN stays NaN.

    The gradient of such a value shrinks by as much as the value does, so it keeps its direction and stays finite too.
    Of a value that has become infinite already nothing is known but its sign: its gradient is zero.

    Args:
      values: [batch] losses, computed in at least float32.
      like: an array of the dtype that is wanted.
    """
    dtype = keras.backend.standardize_dtype(like.dtype)
    largest = ops.convert_to_tensor(LARGEST[dtype], values.dtype)
    infinite = ops.isinf(values)
    saturated = ops.where(values > 0, largest, -largest)
    finite = ops.where(infinite, ops.zeros_like(values), values)
    shrinking = ops.stop_gradient(largest / ops.maximum(ops.abs(finite), largest))
    return ops.cast(ops.where(infinite, saturated, finite * shrinking), dtype)
