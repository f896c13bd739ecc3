"""Files of tf_keras networks that may be quantised: only the HDF5 format brings those back."""

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import tf_keras

from edgekd import storage
from edgekd.errors import ModelError, said
from edgekd.quantize.legacy import _copying, _tfmot, stripping

_SUFFIX = ".h5"
# By tf_keras' names: Python functions, and calls of TensorFlow's functions by name.
_CODE = frozenset({"Lambda", "__lambda__", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod"})
_MODULES = frozenset({"keras", "tf_keras", "builtins", "tensorflow_model_optimization", "edgekd"})


def save(model: Any, path: Path) -> None:
    """Writes a network, plain or quantised by `quantize_aware`, to an `.h5` file, atomically.

    Raises:
      ModelError: another suffix; or a network that is being pruned, clustered, or quantised while something is
        preserved, which no file brings back whole; or one that holds code.
      StorageError: the file cannot be written.
    """
    _copying.require_network(model)
    if path.suffix != _SUFFIX:
        raise ModelError(f"a quantised tf_keras network reloads from {_SUFFIX} files only, received {path.name!r}.")
    unfinished = stripping.in_training(model)
    if unfinished:
        raise ModelError(
            f"{len(unfinished)} layer(s) of model {model.name!r} are in training in a way that no file brings back: "
            f"{', '.join(unfinished)}. Strip the network first, or use save_weights and load_weights."
        )
    _refuse_code(json.loads(model.to_json()), f"model {model.name!r}")
    with storage.atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file", UserWarning)
        model.save(temporary, include_optimizer=False, save_format="h5")


def load(path: Path) -> Any:
    """Returns the network of an `.h5` file that `save` wrote.

    Raises:
      StorageError: there is no such file.
      ModelError: it is damaged, holds no network, or asks for code other than that of layers.
    """
    storage.require_file(path, "network")
    try:
        with h5py.File(path) as file:
            config = json.loads(file.attrs["model_config"])
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"{str(path)!r} is no tf_keras network that edgekd has saved, or is damaged: copy or save it again."
        ) from error
    _refuse_code(config, str(path))
    try:
        with _tfmot.scope():
            return tf_keras.models.load_model(path, compile=False)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(f"{str(path)!r} cannot be loaded{said(error)}: copy or save it again.") from error


def _refuse_code(config: Any, what: str) -> None:
    """Raises ModelError for a network of more than layers: tf_keras would run what it asks for while it loads it."""
    for part in _parts(config):
        module = str(part.get("module") or "keras").partition(".")[0]
        if part.get("class_name") in _CODE or module not in _MODULES:
            raise ModelError(
                f"{what} holds code ({part.get('class_name')}), which edgekd neither saves nor runs: build the network "
                "from standard layers."
            )


def _parts(config: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
