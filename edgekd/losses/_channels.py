"""The check of values that an adapter supplies for each channel."""

import keras

from edgekd.errors import ShapeError


def check_per_channel(loss: str, name: str, values: keras.KerasTensor, features: keras.KerasTensor) -> None:
    """Raises ShapeError unless there is one value for each channel, the features' last dimension."""
    if tuple(values.shape) != (features.shape[-1],):
        raise ShapeError(
            f"{loss}: {name} has shape {tuple(values.shape)}, but the student's tap has shape {tuple(features.shape)}; "
            f"expected one value for each of its channels, ({features.shape[-1]},)."
        )
