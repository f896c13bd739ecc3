"""Stacks of equal convolutions, for benchmarks whose amount of work must be known: exported, without training."""

import dataclasses
from pathlib import Path

import edgekd


@dataclasses.dataclass(frozen=True)
class Stack:
    """A network of `layers` equal 3x3 convolutions on a square image.

    Attributes:
      name: of its files.
      size: height and width of the image.
      channels: of the image and of every layer.
      layers: how many; the work is proportional to it.
    """

    name: str
    size: int
    channels: int
    layers: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return 9 * self.size**2 * self.channels**2 * self.layers


def export(stack: Stack, folder: Path, suffix: str) -> Path:
    """Writes a stack as float32 `.tflite` or `.onnx` file and returns its path; one that is there already is kept."""
    path = folder / f"{stack.name}{suffix}"
    if path.is_file():
        return path
    import keras

    inputs = keras.Input((stack.size, stack.size, stack.channels))
    hidden = inputs
    for index in range(stack.layers):
        initializer = keras.initializers.HeNormal(seed=index)
        layer = keras.layers.Conv2D(
            stack.channels, 3, padding="same", activation="relu", kernel_initializer=initializer
        )
        hidden = layer(hidden)
    edgekd.export_model(keras.Model(inputs, hidden), path)
    return path
