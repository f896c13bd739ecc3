"""Keras itself, for `.keras` files and models in memory: the reference that exported files are compared with."""

from collections.abc import Mapping, Sequence
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
        if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
            raise ModelError(
                f"{name!r} is a subclassed network that does not say what it takes: export it, and compare its file."
            )
        self.inputs = tuple(_spec(tensor, tensor.name) for tensor in model.inputs)
        self.outputs = tuple(
            _spec(tensor, called) for tensor, called in zip(model.outputs, _output_names(model), strict=True)
        )

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if self._model is None:
            raise ModelError(f"{self.name!r} is closed: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        structure = self._model.inputs[0] if isinstance(self._model, keras.Sequential) else self._model.input
        received = keras.tree.pack_sequence_as(structure, list(arrays))
        outputs = keras.tree.flatten(self._model(received, training=False))
        return tuple(keras.ops.convert_to_numpy(output) for output in outputs)

    @property
    def stateful(self) -> bool:
        """Whether a layer, such as a recurrent one with stateful=True, carries its state from batch to batch."""
        return any(getattr(layer, "stateful", False) for layer in self._model._flatten_layers())

    def reset(self) -> None:
        if self.stateful:
            raise ModelError(
                f"{self.name!r} has layers with stateful=True, whose state depends on the batches before: make it with "
                "stateful=False, or export it with its state as inputs and outputs."
            )

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


def _output_names(model: keras.Model) -> list[str]:
    """Returns the keys of a mapping of outputs, or else the layers' names, as exported files call the outputs."""
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name]
    if isinstance(model.output, Mapping) and len(model.output) == len(model.outputs):
        return [str(key) for key in sorted(model.output)]
    names = [str(name) for name in model.output_names]
    return names if len(set(names)) == len(model.outputs) else [tensor.name for tensor in model.outputs]


def _spec(tensor: keras.KerasTensor, name: str) -> TensorSpec:
    return TensorSpec(name=name, shape=tuple(tensor.shape), dtype=str(tensor.dtype))
