"""The state of a training: all that, with the weights, decides how it goes on."""

import dataclasses
import math

import keras
import numpy as np

from edgekd.data.batches import Batch
from edgekd.errors import NonFiniteError
from edgekd.records import EpochRecord


@dataclasses.dataclass
class TrainingState:
    """Where a training stands. The loop alone changes it; callbacks read it.

    Attributes:
      names: what a step measures: the total loss, the accuracy unless networks reconstruct, and each weighted term.
      epoch: the epoch that runs or comes next, from 0.
      step: steps done in that epoch.
      sums: the sums over those steps of what the step measures.
      curve: one record for each finished epoch.
      best_epoch: the finished epoch with the best validation accuracy, or the least validation loss where networks
        reconstruct, from 1; 0 before the first.
      best_weights: the network's variables after that epoch.
      seconds: time spent in training steps of this epoch, for the throughput only.
      training_seconds: time spent in training steps of all epochs, in whatever process they ran.
    """

    names: tuple[str, ...]
    epoch: int = 0
    step: int = 0
    sums: np.ndarray | None = None
    curve: list[EpochRecord] = dataclasses.field(default_factory=list)
    best_epoch: int = 0
    best_weights: list[np.ndarray] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    training_seconds: float = 0.0

    def add(self, values: np.ndarray, batch: Batch, seconds: float) -> None:
        """Counts one step's measurements.

        Raises:
          NonFiniteError: one of them is NaN or infinite; the message names the step, the terms and the samples.
        """
        if not np.isfinite(values).all():
            bad = [name for name, value in zip(self.names, values, strict=True) if not math.isfinite(value)]
            samples = ", ".join(str(sample) for sample in batch.sample_ids[:8])
            raise NonFiniteError(
                f"the loss is not finite at epoch {self.epoch + 1}, step {self.step + 1} ({', '.join(bad)}; batch of "
                f"samples {samples}, …). Checkpoints saved before are kept. Lower learning_rate, set clip_norm: 1, or "
                "check these samples."
            )
        self.sums = values.astype(np.float64) if self.sums is None else self.sums + values
        self.step += 1
        self.seconds += seconds
        self.training_seconds += seconds

    def end_epoch(
        self,
        *,
        validation: tuple[float, float | None],
        learning_rate: float,
        batch_size: int,
        weights: list[np.ndarray],
    ) -> None:
        """Closes the running epoch: its row of the curve, and its weights if they are the best so far.

        Raises:
          NonFiniteError: the validation loss is NaN or infinite.
        """
        loss, accuracy = validation
        if not math.isfinite(loss):
            raise NonFiniteError(
                f"the validation loss is not finite after epoch {self.epoch + 1}. Checkpoints saved before are kept. "
                "Lower learning_rate or set clip_norm: 1."
            )
        means = self.means()
        self.curve.append(
            EpochRecord(
                epoch=self.epoch + 1,
                loss=means.pop("loss"),
                accuracy=means.pop("accuracy", None),
                terms=means,
                validation_loss=loss,
                validation_accuracy=accuracy,
                learning_rate=learning_rate,
                images_per_second=self.images_per_second(batch_size),
            )
        )
        if not self.best_epoch or _better(self.curve[-1], self.curve[self.best_epoch - 1]):
            self.best_epoch, self.best_weights = self.epoch + 1, weights
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, None, 0.0

    def means(self) -> dict[str, float]:
        """Returns the means over the running epoch's steps so far, by name; empty before the first."""
        if self.sums is None:
            return {}
        return dict(zip(self.names, (float(value) for value in self.sums / self.step), strict=True))

    def images_per_second(self, batch_size: int) -> float:
        """Returns the throughput of the running epoch's steps."""
        return self.step * batch_size / self.seconds if self.seconds else 0.0

    def ended(self, *, epochs: int, early_stopping: int | None) -> bool:
        """Whether all epochs are done, or the last `early_stopping` ones were no better in validation."""
        stalled = early_stopping is not None and self.epoch - self.best_epoch >= early_stopping
        return self.epoch >= epochs or (stalled and self.epoch > 0)


def _better(row: EpochRecord, best: EpochRecord) -> bool:
    """Returns whether an epoch is better in validation than the best one before it."""
    if row.validation_accuracy is None or best.validation_accuracy is None:
        return row.validation_loss < best.validation_loss
    return row.validation_accuracy > best.validation_accuracy


def snapshot(variables: list[keras.Variable]) -> list[np.ndarray]:
    """Returns copies of the variables' values that later updates do not reach."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
