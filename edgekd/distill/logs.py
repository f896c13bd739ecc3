"""Learning curves in files: CSV for people and scripts, TensorBoard events for its viewer."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from edgekd import storage
from edgekd.distill.callback import Callback
from edgekd.distill.state import TrainingState
from edgekd.records import EpochRecord


@dataclasses.dataclass
class CsvLog(Callback):
    """Keeps a CSV file equal to the learning curve so far."""

    path: Path

    def on_epoch(self, state: TrainingState) -> None:
        """Writes the whole curve."""
        storage.write_text(self.path, to_csv(state.curve))


class TensorBoardLog(Callback):
    """Adds each epoch's numbers to TensorBoard event files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def on_epoch(self, state: TrainingState) -> None:
        """Adds the last epoch."""
        with self._writer.as_default(step=state.epoch):
            for name, value in columns(state.curve[-1]).items():
                if value is not None:
                    tf.summary.scalar(name, value)
        self._writer.flush()


def columns(row: EpochRecord) -> dict[str, float | None]:
    """Returns an epoch's numbers by name; the terms of the loss are called `term/<name>`, and what is not told None."""
    values = row.model_dump(exclude={"terms"})
    return values | {f"term/{name}": value for name, value in row.terms.items()}


def to_csv(curve: Sequence[EpochRecord]) -> str:
    """Returns a learning curve as CSV with a header line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(columns(curve[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(columns(row) for row in curve)
    return stream.getvalue()
