"""One door for every kind of teacher."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekd import importing, storage
from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.teachers.frozen import LAYOUTS, OUTPUTS, RECONSTRUCTION, CheckedTeacher, FrozenTeacher, Opened

KERAS_FILE, HDF5_FILE, GRAPH_FILE = "Keras file", "HDF5 file", "graph file"
SAVED_MODEL, NAMED_FUNCTION = "SavedModel", "function"

_SUFFIXES = {
    ".keras": KERAS_FILE,
    ".h5": HDF5_FILE,
    ".hdf5": HDF5_FILE,
    ".tflite": GRAPH_FILE,
    ".onnx": GRAPH_FILE,
}


def open_teacher(
    source: Any,
    *,
    wanted: Sequence[str] = (),
    input_shape: Sequence[int],
    num_classes: int,
    outputs: str = "logits",
    layout: str = "channels_last",
    arguments: Mapping[str, Any] = MappingProxyType({}),
) -> FrozenTeacher:
    """Returns a teacher that is ready to answer, after it was checked on a trial batch of two images.

    Python code in files is never run. Files that could crash their parser are first opened in a child process.

    Args:
      source: a network of Keras 3 or of tf_keras; the path of a `.keras`, `.h5`, `.tflite` or `.onnx` file or of a
        SavedModel folder; a function from [batch, ...] float32 images to [batch, classes] logits, or to a dict of
        "logits" and taps; or the name package.module:function of one, or of a function that is called as
        function(input_shape, num_classes, **arguments) and returns a network or a function.
      wanted: the taps. Of a Keras 3 network any layer, see `edgekd.distill.taps`; of a tf_keras network its own layers;
        of a file or folder its further outputs; of a function the further keys of what it returns. "logits" is the
        teacher's output.
      input_shape: one sample's shape, without the batch, channels last.
      num_classes: of the data.
      outputs: what the teacher's output is: "logits", "probabilities", whose logarithm is then used, or
        "reconstruction" of a network that gives back the images; it is then what is called logits here.
      layout: "channels_first" for a teacher (such as one exported from PyTorch) that takes [batch, channels, height,
        width]; the images are turned for it, and its maps are turned back.
      arguments: keyword arguments of a function by name that builds the teacher.

    Raises:
      StorageError: a file that does not exist or cannot be read.
      RecipeError: an unknown choice, or arguments for what takes none.
      ModelError: a teacher that is damaged, unsafe, lacks a tap, gives probabilities where logits are expected, is not
        deterministic, or changes when it is run.
      ShapeError: other inputs, another number of classes, or outputs that are not [batch, ...].
      NonFiniteError: its outputs have NaN or infinity.
    """
    from edgekd.teachers import trial

    known = (*OUTPUTS, RECONSTRUCTION)
    for what, value, choices in (("teacher outputs", outputs, known), ("teacher layout", layout, LAYOUTS)):
        if value not in choices:
            raise RecipeError(unknown_name(what, value, choices))
    shape, taps = tuple(input_shape), tuple(dict.fromkeys(wanted))
    named = isinstance(source, str) and kind_of(source) == NAMED_FUNCTION
    if arguments and not named:
        raise RecipeError(
            f"arguments ({', '.join(arguments)}) are for a teacher that a function builds, package.module:function; "
            f"{source!r} takes none."
        )
    classes = None if outputs == RECONSTRUCTION else num_classes
    fit = {
        "taps": taps,
        "input_shape": (shape[-1], *shape[:-1]) if layout == "channels_first" else shape,
        "num_classes": classes,
    }
    if named:
        from edgekd.teachers.function import resolve

        folder = str(Path.cwd())
        built = resolve(source, input_shape=shape, num_classes=num_classes, arguments=arguments)
        opened = _from_memory(built, name=source, fit=fit, folder=folder)
    elif isinstance(source, str | Path):
        opened = _from_path(Path(source), fit)
    else:
        opened = _from_memory(source, name=_name_of(source), fit=fit)
    teacher = CheckedTeacher(
        opened,
        taps=taps,
        input_shape=shape,
        num_classes=classes,
        outputs=outputs,
        layout=layout,
    )
    trial.check(teacher, opened, images=trial.trial_images(shape), outputs=outputs, layout=layout)
    return teacher


def kind_of(source: str | Path) -> str:
    """Returns what kind of teacher a path or name is, without opening it or importing its library.

    Raises:
      StorageError: there is no such file.
      ModelError: nothing that can teach has such a name.
    """
    path = Path(source)
    if path.is_dir():
        if (path / "saved_model.pb").is_file() or (path / "saved_model.pbtxt").is_file():
            return SAVED_MODEL
        raise ModelError(f"folder {str(path)!r} is not a SavedModel: it has no file saved_model.pb.")
    if isinstance(source, str) and not path.exists() and importing.is_name(source):
        return NAMED_FUNCTION
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        inside = " Give the folder that it lies in." if path.name in {"saved_model.pb", "saved_model.pbtxt"} else ""
        raise ModelError(
            f"{str(source)!r} is no teacher that can be opened: give a file that ends in {', '.join(_SUFFIXES)}, a "
            "SavedModel folder, or package.module:function for anything else (such as a PyTorch network)." + inside
        )
    storage.require_file(path, "teacher file")
    return kind


def _from_path(path: Path, fit: dict[str, Any]) -> Opened:
    kind = kind_of(path)
    if kind == SAVED_MODEL:
        from edgekd.teachers.graph import open_folder

        return open_folder(path, **fit)
    if kind == GRAPH_FILE:
        from edgekd.teachers.graph import open_file

        return open_file(path, **fit)
    if kind == HDF5_FILE:
        from edgekd.teachers import hdf5

        return hdf5.open_file(path, **fit)
    from edgekd.teachers import keras_network

    return keras_network.open_file(path, **fit)


def _from_memory(source: Any, *, name: str, fit: dict[str, Any], folder: str | None = None) -> Opened:
    import keras

    legacy = sys.modules.get("tf_keras")  # whoever holds a network of it has imported it
    if legacy is not None and isinstance(source, legacy.Model):
        from edgekd.teachers import tf_keras_network

        return tf_keras_network.open_network(source, name=name, **fit)
    if isinstance(source, keras.Model):
        from edgekd.teachers import keras_network

        return keras_network.open_network(source, name=name, **fit)
    if not callable(source):
        raise ModelError(
            f"teacher {name!r} is a {type(source).__module__}.{type(source).__qualname__}, expected a Keras network, a "
            "path, or a function from images to logits."
        )
    from edgekd.teachers.function import open_function

    return open_function(source, name=name, folder=folder)


def _name_of(source: Any) -> str:
    name = getattr(source, "__qualname__", None) or getattr(source, "name", None)
    return name if isinstance(name, str) else type(source).__qualname__
