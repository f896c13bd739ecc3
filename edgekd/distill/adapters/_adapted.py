"""What an adapter is to the training step."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

Shapes = Sequence[tuple[int, ...]]
Tensors = Sequence[keras.KerasTensor]


class Adapted(NamedTuple):
    """One pair of taps, ready for its loss.

    Attributes:
      student: [batch, ...] float, what the loss compares.
      teacher: [batch, ...] float, what it is compared with.
      extras: keyword arguments for the loss, by name.
    """

    student: keras.KerasTensor
    teacher: keras.KerasTensor
    extras: dict[str, keras.KerasTensor]


class Adapter(keras.layers.Layer):
    """A layer over all pairs of taps of one term: `(students, teachers, training) -> tuple[Adapted, ...]`.

    Its arrays arrive in the precision that the networks gave them: under mixed precision only the layers inside
    compute in half, so that what needs no weights, such as pooling, loses nothing.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, autocast=False)
