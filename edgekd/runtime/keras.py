"""Keras itself, for `.keras` files and models in memory: the reference that exported files are compared with."""

from collections.abc import Sequence
from pathlib import Path

import keras

from edgekd.architectures import load_model
from edgekd.errors import ModelError
from edgekd.records import TensorSpec
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays

SUFFIXES = (".keras",)
NATIVE_PARSER = False  # a zip of JSON and HDF5, read with Keras' safe mode


class KerasRunner(ClosingRunner):
    """A Keras model in inference mode."""

    def __init__(self, model: keras.Model, name: str) -> None:
        self._model = model
        self.name = name
        self.inputs = tuple(_spec(tensor) for tensor in model.inputs)
        self.outputs = tuple(_spec(tensor) for tensor in model.outputs)

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if self._model is None:
            raise ModelError(f"{self.name!r} is closed: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        received = arrays[0] if len(arrays) == 1 else list(arrays)
        outputs = keras.tree.flatten(self._model(received, training=False))
        return tuple(keras.ops.convert_to_numpy(output) for output in outputs)

    def close(self) -> None:
        self._model = None


def open_runner(path: Path, *, num_threads: int = 1) -> KerasRunner:
    """Returns a runner for a `.keras` file.

    Args:
      path: the file.
      num_threads: only 1 is accepted, and it bounds nothing: TensorFlow sizes its own thread pool once per process.
        This engine is for outputs, not for timing.

    Raises:
      ModelError: the file is not a Keras model, or more than one thread is asked for.
    """
    if num_threads != 1:
        raise ModelError(f"num_threads={num_threads} cannot be set for {path.name!r}: TensorFlow sizes its own pool.")
    return KerasRunner(load_model(path), path.name)


def _spec(tensor: keras.KerasTensor) -> TensorSpec:
    return TensorSpec(name=tensor.name, shape=tuple(tensor.shape), dtype=str(tensor.dtype))
