"""Teacher sources: where the teacher's outputs for a batch come from. The loop does not know which one it has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import scipy
import tensorflow as tf

from edgekd.data.batches import Batch
from edgekd.distill.objective import LOGITS, TeacherOutput
from edgekd.errors import RecipeError, ShapeError

Arrays = Mapping[str, Any]


class TeacherSource(Protocol):
    """Gives the teacher's outputs for exactly the views that the student sees."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of each output, by key, without the batch axis."""
        ...

    def outputs(self, batch: Batch) -> Arrays:
        """Returns [batch, ...] float arrays by key."""
        ...


class Network(Protocol):
    """A frozen network: what it gives for images, by tap; its logits are called `logits`."""

    def outputs(self, images: np.ndarray) -> Arrays:
        """Returns [batch, ...] arrays for [batch, ...] float32 images, in inference mode."""
        ...


class LiveTeacher:
    """Offline distillation: a frozen network runs on every batch, in inference mode, once."""

    def __init__(self, network: Network, wanted: Sequence[TeacherOutput], *, input_shape: tuple[int, ...]) -> None:
        """Tries the network.

        Args:
          network: gives the logits and every tap that is wanted.
          wanted: what the objective needs.
          input_shape: of one sample.
        """
        self._network = network
        self._wanted = tuple(wanted)
        self._compiled: dict[int, Callable[[Arrays], Arrays]] = {}
        trial = self.of_images(np.zeros((2, *input_shape), np.float32))
        self.shapes = {key: tuple(each.shape[1:]) for key, each in trial.items()}

    def outputs(self, batch: Batch) -> Arrays:
        """Runs the network on the batch's images."""
        return self.of_images(batch.images)

    def of_images(self, images: np.ndarray) -> Arrays:
        """Runs the network on [batch, ...] float32 images."""
        given = self._network.outputs(images)
        arrays = {output.tap or LOGITS: tf.convert_to_tensor(given[output.tap or LOGITS]) for output in self._wanted}
        if len(images) not in self._compiled:  # training, filling of the cache and trial: three at most
            graph = tf.function(self._summaries, autograph=False)
            self._compiled[len(images)] = graph.get_concrete_function(arrays)
        return self._compiled[len(images)](arrays)

    def _summaries(self, given: Arrays) -> Arrays:
        found = {}
        for output in self._wanted:
            value = given[output.tap or LOGITS]
            found[output.key] = output.summarise(value) if output.summarise else value
        return found


def of_teacher(wanted: Sequence[TeacherOutput], name: str) -> tuple[TeacherOutput, ...]:
    """Returns what one teacher of an ensemble is asked for: its own taps without its name, and the logits."""
    prefix = f"{name}/"
    mine = []
    for output in wanted:
        if output.tap is None:
            mine.append(output)
        elif output.tap.startswith(prefix):
            key, tap = output.key.removeprefix(prefix), output.tap.removeprefix(prefix)
            mine.append(TeacherOutput(key, tap, output.summarise))
    return tuple(mine)


class Ensemble:
    """Several teachers as one: their soft targets or logits averaged, their taps by `<teacher>/<tap>`.

    Attributes:
      sources: the teachers, by name.
      shapes: of each output, by key, without the batch axis.

    References:
      Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531), for the mean of
      soft targets.
    """

    def __init__(
        self,
        sources: Mapping[str, TeacherSource],
        *,
        weights: Sequence[float] = (),
        combine: str = "soft_targets",
        temperature: float = 1.0,
    ) -> None:
        """Checks that the teachers fit each other.

        Args:
          sources: the teachers, by name.
          weights: one for each, normalised to a sum of 1; equal by default.
          combine: `soft_targets`: the mean of softmax(logits / temperature), given as logits that have it at that
            temperature; or `logits`: the mean of the logits.
          temperature: of the soft targets.

        Raises:
          ShapeError: different numbers of classes.
          RecipeError: weights that are not one for each teacher, negative, or all zero.
        """
        weights = tuple(weights) or (1.0,) * len(sources)
        if len(weights) != len(sources) or min(weights) < 0 or not sum(weights):
            raise RecipeError(
                f"the ensemble's weights are {list(weights)} for {len(sources)} teachers: give each a number of at "
                "least 0, and one of them more."
            )
        classes = {name: source.shapes[LOGITS][-1] for name, source in sources.items() if LOGITS in source.shapes}
        if len(set(classes.values())) > 1:
            raise ShapeError(f"the teachers have different numbers of classes ({classes}): they must agree.")
        self.sources = dict(sources)
        self._weights = np.asarray(weights, np.float32) / np.float32(sum(weights))
        self._combine = combine
        self._temperature = temperature
        self.shapes = {
            f"{name}/{key}": shape for name, source in sources.items() for key, shape in source.shapes.items()
        }
        if len(classes) == len(sources):
            self.shapes[LOGITS] = (next(iter(classes.values())),)

    def outputs(self, batch: Batch) -> Arrays:
        """Asks every teacher once."""
        found: dict[str, Any] = {}
        logits = []
        for name, source in self.sources.items():
            for key, value in source.outputs(batch).items():
                found[f"{name}/{key}"] = value
                if key == LOGITS:
                    logits.append(np.asarray(value, np.float32))
        if len(logits) == len(self.sources):
            found[LOGITS] = self._combined(np.stack(logits))
        return found

    def _combined(self, logits: np.ndarray) -> np.ndarray:
        weights = self._weights[:, np.newaxis, np.newaxis]
        if self._combine == "logits":
            return np.sum(weights * logits, axis=0)
        log_p = scipy.special.log_softmax(logits / self._temperature, axis=-1)
        mean = scipy.special.logsumexp(log_p, b=weights, axis=0)
        return np.asarray(self._temperature * mean, np.float32)
