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
    """Returns values in an array's dtype; what it cannot hold becomes its largest number.

    The gradient of such a value shrinks by as much as the value does, so it keeps its direction and stays finite too.

    Args:
      values: [batch] losses, computed in at least float32.
      like: an array of the dtype that is wanted.
    """
    dtype = keras.backend.standardize_dtype(like.dtype)
    if dtype == keras.backend.standardize_dtype(values.dtype):
        return values
    largest = ops.convert_to_tensor(LARGEST[dtype], values.dtype)
    shrinking = ops.stop_gradient(largest / ops.maximum(ops.abs(values), largest))
    return ops.cast(values * shrinking, dtype)
