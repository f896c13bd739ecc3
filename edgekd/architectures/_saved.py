"""Keras files: opened without running what is in them, written so that the same model gives the same bytes."""

import hashlib
import importlib
import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import storage
from edgekd.errors import ModelError, said

if TYPE_CHECKING:
    import keras

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can hold
_UNKNOWN_OBJECT = re.compile(r"(?:Could not locate (?:class|function)|Unknown [a-z ]+:) '([^']+)'")
# Where the layers of edgekd are that a saved network may hold. They register themselves with Keras when imported.
_OWN_LAYERS = (
    "edgekd.quantize.aware.layers",
    "edgekd.sparsify.channel_pruning",
    "edgekd.sparsify.clustering",
    "edgekd.sparsify.pruning",
    "edgekd.sparsify.shared_values",
    "edgekd.sparsify.zeros",
)
_RANGES = b'"module": "edgekd.quantize.aware.layers"'
_VALUE_MODULES = {"keras.initializers", "keras.regularizers", "keras.constraints"}


def load_model(path: Path | str) -> "keras.Model":
    """Returns the model of a `.keras` file, or of a Keras `.h5` file, not compiled.

    Python code inside the file (Lambda layers) is refused, never run.

    Raises:
      StorageError: there is no such file, or it cannot be read.
      ModelError: the file is damaged, is of another kind, holds only weights, or needs code that is refused or missing.
    """
    import keras

    path = check_model_file(path)
    for module in _OWN_LAYERS:
        importlib.import_module(module)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras lets any error of a file's content through, from zlib's to a layer's own
        raise ModelError(f"model file {str(path)!r} cannot be loaded: {_reason(error)}") from error
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"model file {str(path)!r} holds a {type(model).__name__}, not a keras.Model: save a whole model."
        )
    return model


def check_model_file(path: Path | str) -> Path:
    """Returns the path where `load_model` may open it, as far as can be told without Keras, which takes long to import.

    Raises:
      StorageError: there is no such file, or it cannot be read.
      ModelError: it is of another kind or holds only weights, or nothing of its kind is in it.
    """
    found = storage.require_file(Path(path), "model file")
    _require_keras_file(found)
    return found


def brings_ranges(path: Path | str) -> bool:
    """Returns whether a `.keras` file says that its network is fake-quantised, so that no samples need calibrate it.

    It is told without Keras, from the names of its layers' modules.

    Raises:
      ModelError: the file is damaged.
    """
    if Path(path).suffix != ".keras":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return _RANGES in archive.read("config.json")
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise ModelError(f"model file {str(path)!r} is damaged: copy or save it again.") from error


def save_model(model: "keras.Model", path: Path | str) -> None:
    """Writes a `.keras` file atomically, whose bytes depend on the model alone.

    Keras itself stamps the time into the archive, and memory addresses where layers share an object.

    Args:
      model: a built Keras model.
      path: file name that ends in `.keras`.

    Raises:
      ModelError: the name ends otherwise, or the model is not built.
      StorageError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ModelError(f"a Keras model is saved to a file that ends in '.keras', received {str(path)!r}.")
    if not model.built:
        raise ModelError(f"model {model.name!r} has no weights yet: call it on a sample before it is saved.")
    with storage.atomic_path(path) as temporary:
        model.save(temporary)
        _remove_traces(temporary)


def weights_sha256(model: "keras.Model") -> str:
    """Returns the SHA-256 over all weights, trainable and not, in the model's order: dtype, shape and bytes of each.

    Names, dropout's random state and metrics do not count.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        array = np.ascontiguousarray(weight.numpy())
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _require_keras_file(path: Path) -> None:
    if path.name.endswith(".weights.h5"):
        raise ModelError(f"{str(path)!r} holds weights without a network: save the whole model as a .keras file.")
    if path.suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise ModelError(f"{str(path)!r} is not a Keras file or is cut short: copy or save it again.")
    elif path.suffix in {".h5", ".hdf5"}:
        import h5py

        if not h5py.is_hdf5(path):
            raise ModelError(f"{str(path)!r} is not an HDF5 file: copy or save it again.")
    else:
        raise ModelError(f"{str(path)!r} is not a Keras model: its name must end in .keras, .h5 or .hdf5.")


def _reason(error: Exception) -> str:
    text = str(error)
    if "lambda" in text.lower() and ("unsafe" in text or "safe_mode" in text):
        return (
            "it holds Python code (a Lambda layer), which edgekd does not run. Replace it by ordinary layers and save "
            "the model again."
        )
    unknown = _UNKNOWN_OBJECT.search(text)
    if unknown is not None:
        return (
            f"it uses {unknown[1]!r}, which is not part of Keras. Give the network as package.module:function, or "
            "register the class with @keras.saving.register_keras_serializable() and import it before loading."
        )
    words = "" if isinstance(error, OSError) else said(ValueError(text.strip().partition("\n")[0]))
    if isinstance(error, ValueError) and words:
        return f"Keras refuses it{words}. Copy or save it again."
    return "its contents are damaged, or of a version of Keras that this one cannot read. Copy or save it again."


def _remove_traces(path: Path) -> None:
    """Rewrites a `.keras` archive without the time and without memory addresses."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    metadata = json.loads(entries["metadata.json"])
    del metadata["date_saved"]
    entries["metadata.json"] = json.dumps(metadata).encode()
    entries["config.json"] = json.dumps(_number_shared_objects(json.loads(entries["config.json"]), {})).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), content)


def _number_shared_objects(config: Any, numbers: dict[int, int]) -> Any:
    """Returns the configuration with shared objects numbered by first appearance, not by address.

    Plain values lose their mark: which layers share one dtype policy differs between a model that was built and the
    same model loaded from a file.
    """
    if isinstance(config, list):
        return [_number_shared_objects(item, numbers) for item in config]
    if not isinstance(config, dict):
        return config
    numbered = {key: _number_shared_objects(value, numbers) for key, value in config.items()}
    if "shared_object_id" in numbered:
        address = numbered.pop("shared_object_id")
        if not _is_value(config):
            numbered["shared_object_id"] = numbers.setdefault(address, len(numbers) + 1)
    return numbered


def _is_value(config: dict[str, Any]) -> bool:
    return config.get("module") in _VALUE_MODULES or str(config.get("class_name")).endswith("DTypePolicy")
