"""Checkpoints: one file from which a training goes on as if nothing had happened."""

import contextlib
import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from edgekd import storage
from edgekd.distill.state import TrainingState, snapshot
from edgekd.distill.stopping import StopRequest
from edgekd.errors import StorageError
from edgekd.records import EpochRecord

_FORMAT = 1


@dataclasses.dataclass
class Checkpoint:
    """Saves after each epoch and when a stop is requested, and puts a saved state back at the start.

    Attributes:
      path: the checkpoint file, a .npz without pickled objects; its entries carry checksums.
      key: what the training is; a checkpoint of another key is of another training and is not used.
      stop: asked after each step whether to save and stop.
    """

    path: Path
    key: str
    stop: StopRequest | None = None

    def resumes(self) -> bool:
        """Whether there is a checkpoint of this training to go on from.

        Raises:
          StorageError: the file is damaged.
        """
        return self.path.exists() and self._is_ours(_read(self.path))

    def restore(self, variables: Sequence[keras.Variable], optimizer: keras.Optimizer, state: TrainingState) -> None:
        """Puts the saved variables, optimizer and state back, if there is a checkpoint of the same training.

        Args:
          variables: of the networks and of the helpers that are trained with them, always in the same order.
          optimizer: built.
          state: is changed to the saved one.

        Raises:
          StorageError: the file is damaged.
        """
        self._variables, self._optimizer = list(variables), optimizer
        if self.path.exists():
            self._restore(state)

    def after_step(self, state: TrainingState) -> None:
        """Saves and raises StoppedError if a stop is requested."""
        if self.stop and self.stop.received is not None:
            self.save(state)
            self.stop.check(f"in epoch {state.epoch + 1}, after step {state.step}; the state is saved")

    def after_epoch(self, state: TrainingState) -> None:
        """Saves; then raises StoppedError if a stop was requested during validation."""
        self.save(state)
        if self.stop:
            self.stop.check(f"after epoch {state.epoch}; the state is saved")

    def save(self, state: TrainingState) -> None:
        """Writes the weights, the optimizer and the state atomically."""
        about = {
            "format": _FORMAT,
            "key": self.key,
            "epoch": state.epoch,
            "step": state.step,
            "best_epoch": state.best_epoch,
            "seconds": state.seconds,
            "training_seconds": state.training_seconds,
            "curve": [row.model_dump(mode="json") for row in state.curve],
        }
        arrays = _numbered("model", snapshot(self._variables))
        arrays |= _numbered("optimizer", snapshot(self._optimizer.variables))
        arrays |= _numbered("best", state.best_weights)
        if state.sums is not None:
            arrays["sums"] = state.sums
        # A damaged archive may lose an entry without a word.
        about["entries"] = sorted(arrays)
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        storage.write_bytes(self.path, buffer.getvalue())

    def _restore(self, state: TrainingState) -> None:
        arrays = _read(self.path)
        if not self._is_ours(arrays):
            return  # the recipe has changed since: this training starts anew and replaces the file
        with _damage_named(self.path):
            self._assign(arrays, state)

    def _is_ours(self, arrays: dict[str, np.ndarray]) -> bool:
        with _damage_named(self.path):
            about = json.loads(arrays["about"].tobytes())
            return bool(about["format"] == _FORMAT and about["key"] == self.key)

    def _assign(self, arrays: dict[str, np.ndarray], state: TrainingState) -> None:
        about = json.loads(arrays["about"].tobytes())
        if about["entries"] != sorted(arrays.keys() - {"about"}):
            raise ValueError("an entry is missing")
        for name, variables in (("model", self._variables), ("optimizer", self._optimizer.variables)):
            for variable, value in zip(variables, _listed(name, arrays), strict=True):
                if tuple(variable.shape) != value.shape:
                    raise ValueError(f"{variable.path} has shape {tuple(variable.shape)}, not {value.shape}")
                variable.assign(value)
        state.epoch, state.step, state.best_epoch = about["epoch"], about["step"], about["best_epoch"]
        state.seconds, state.training_seconds = about["seconds"], about["training_seconds"]
        state.curve = [EpochRecord.model_validate(row) for row in about["curve"]]
        state.best_weights = _listed("best", arrays)
        state.sums = arrays.get("sums")


def _read(path: Path) -> dict[str, np.ndarray]:
    with _damage_named(path), np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    # NotImplementedError and RuntimeError are zipfile's for a compression or encryption that we never write.
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise StorageError(
            f"checkpoint {str(path)!r} is damaged ({error}): delete that file to train this stage from the start."
        ) from error


def _numbered(name: str, values: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}/{position:05}": value for position, value in enumerate(values)}


def _listed(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[key] for key in sorted(arrays) if key.startswith(f"{name}/")]
