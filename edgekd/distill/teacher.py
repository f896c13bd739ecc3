"""Teacher sources: where the teacher's outputs for a batch come from. The loop does not know which one it has."""

from typing import Protocol

import keras
import numpy as np

from edgekd.data.batches import Batch
from edgekd.distill.taps import Outputs, TappedModel


class TeacherSource(Protocol):
    """Gives the teacher's outputs for exactly the views that the student sees."""

    def inputs(self, batch: Batch) -> tuple[np.ndarray, ...]:
        """Returns what the source knows of a batch outside the graph, such as stored outputs."""
        ...

    def outputs(self, images: keras.KerasTensor, inputs: tuple[keras.KerasTensor, ...]) -> Outputs:
        """Returns the teacher's outputs, inside the graph."""
        ...


class LiveTeacher:
    """Offline distillation: a frozen network runs on every batch, in inference mode."""

    def __init__(self, model: keras.Model, taps: tuple[str, ...] = ()) -> None:
        self._tapped = TappedModel(model, taps)

    def inputs(self, batch: Batch) -> tuple[np.ndarray, ...]:  # noqa: ARG002
        """Returns nothing: the network needs only the images."""
        return ()

    def outputs(self, images: keras.KerasTensor, inputs: tuple[keras.KerasTensor, ...]) -> Outputs:  # noqa: ARG002
        """Runs the network; its batch statistics do not move."""
        return self._tapped(images, training=False)
