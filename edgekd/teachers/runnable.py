"""Opening any model as a `Runner`, with the care that files from outside get, and saying how it computes."""

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd import runtime, storage
from edgekd.errors import ModelError, unknown_name
from edgekd.runtime import Runner
from edgekd.runtime.selection import split_choice, variant, variants
from edgekd.teachers import opening
from edgekd.verify import reading
from edgekd.verify.arithmetic import Arithmetic
from edgekd.verify.identity import Identity
from edgekd.verify.records import FLOAT16, FLOAT32, INTEGER

_KNOW_SIGNATURES = ("litert", "litert_builtin")
_KERAS_SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})
_KERAS, _TF_KERAS, _SAVED_MODEL = "keras", "tf_keras", "saved_model"


@dataclasses.dataclass(frozen=True)
class Runnable:
    """A model that is ready to run. Close its runner.

    Attributes:
      runner: runs it.
      path: where it lies; the model's name where it is in memory.
      runtime: what runs it, such as litert_builtin or keras.
      arithmetic: how it computes.
      identity: what the network of an exported file can be recognised by.
    """

    runner: Runner
    path: str
    runtime: str
    arithmetic: Arithmetic
    identity: Identity | None = None


def open_runnable(source: Any, *, runtime_name: str | None = None, signature: str | None = None) -> Runnable:
    """Returns a model of any kind, ready to run.

    Args:
      source: a Keras or tf_keras network; or the path, with `@RUNTIME` behind it or not, of a .keras, .h5, .tflite or
        .onnx file or of a SavedModel folder.
      runtime_name: such as litert_builtin, where the path does not say it.
      signature: which signature of a TFLite file or SavedModel to run; models of other kinds have none. A TFLite file
        with only one is run by that.

    Raises:
      StorageError: there is no such file.
      ModelError: it is damaged or unsafe, no such runtime or signature, or several signatures and none is chosen.
    """
    if not isinstance(source, str | Path):
        return _network(source, source.name, source.name)
    path, chosen = check_path(source, runtime_name=runtime_name)
    if path.is_dir():
        return _saved_model(path, signature)
    if path.suffix.lower() in _KERAS_SUFFIXES:
        return _keras_file(path, chosen)
    return _exported(path, chosen, signature)


def check_path(source: Path | str, *, runtime_name: str | None = None) -> tuple[Path, str | None]:
    """Returns the path and the chosen runtime of a model on disk, where these can be, without importing any library.

    Args:
      source: as for `open_runnable`.
      runtime_name: likewise.

    Raises:
      StorageError: there is no such file.
      ModelError: no such runtime, or one that does not open such a file, or a file of another kind.
    """
    path, written = split_choice(str(source))
    chosen = written or runtime_name
    if chosen is not None and chosen not in {*variants(), _TF_KERAS, _SAVED_MODEL}:
        raise ModelError(unknown_name("runtime", chosen, {*variants(), _TF_KERAS, _SAVED_MODEL}))
    if path.is_dir():
        opening.kind_of(path)  # raises unless it is a SavedModel
        _require_runtime(path, chosen, {_SAVED_MODEL})
    elif path.suffix.lower() in _KERAS_SUFFIXES:
        storage.require_file(path, "model")
        _require_runtime(path, chosen, {_KERAS, _TF_KERAS})
    else:
        variant(chosen, path) if chosen else runtime.engine_of(path)
        storage.require_file(path, "model")
    return path, chosen


def _exported(path: Path, chosen: str | None, signature: str | None) -> Runnable:
    name = chosen or runtime.engine_of(path)
    options: dict[str, Any] = {}
    if path.suffix.lower() == ".tflite":
        if signature is not None:
            options["signature"] = signature
        elif name in _KNOW_SIGNATURES:
            options["by_signature"] = True
    runner = runtime.open_runner(path, runtime=chosen, probe=reading.PROBE, **options)
    try:
        arithmetic, identity = reading.read(path, runner, signature=signature)
    except BaseException:
        runner.close()
        raise
    return Runnable(runner, str(path), name, arithmetic, identity)


def _keras_file(path: Path, chosen: str | None) -> Runnable:
    """Opens a file with Keras 3; with tf_keras where Keras 3 cannot and tf_keras wrote it, or where it is chosen."""
    if path.suffix.lower() != ".keras":
        from edgekd.teachers import hdf5

        found = _network(hdf5.load(path)[0], path.name, str(path))
        _require_runtime(path, chosen, {found.runtime})
        return found
    from edgekd.architectures import load_model

    if chosen != _TF_KERAS:
        try:
            return _network(load_model(path), path.name, str(path))
        except ModelError:
            if chosen == _KERAS or not _is_of_tf_keras(path):
                raise
    from edgekd.teachers import tf_keras_network

    return _network(tf_keras_network.load_keras(path), path.name, str(path))


def _is_of_tf_keras(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"]).startswith("2.")
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError):
        return False


def _require_runtime(path: Path, chosen: str | None, able: set[str]) -> None:
    if chosen is not None and chosen not in able:
        raise ModelError(f"runtime {chosen!r} does not open {str(path)!r}: for it there is {', '.join(sorted(able))}.")


def _saved_model(path: Path, signature: str | None) -> Runnable:
    from edgekd.teachers import child, saved_model

    child.require_openable(path, sha256=saved_model.sha256(path))
    if signature is None:
        known = saved_model.signatures(path)
        if len(known) > 1 and saved_model.SIGNATURE not in known:
            raise ModelError(_several(path, known))
    runner = saved_model.open_runner(path, signature=signature)
    return Runnable(runner, str(path), _SAVED_MODEL, Arithmetic(FLOAT32))


def _several(path: Path, known: Sequence[str]) -> str:
    return f"{str(path)!r} has {len(known)} signatures: choose one of {', '.join(sorted(known))}."


def _network(model: Any, name: str, path: str) -> Runnable:
    import keras

    if isinstance(model, keras.Model):
        from edgekd.runtime.keras import KerasRunner

        runner = KerasRunner(model, name)
        return Runnable(runner, path, _KERAS, _of_keras(model, runner))
    from edgekd.teachers.tf_keras_network import TfKerasRunner

    return Runnable(TfKerasRunner(model, name), path, _TF_KERAS, Arithmetic(FLOAT32))


def _of_keras(model: Any, runner: Runner) -> Arithmetic:
    from edgekd.quantize import aware

    if aware.is_quantize_aware(model):
        step = aware.output_scale(model)
        return Arithmetic(INTEGER, steps={} if step is None else {runner.outputs[0].name: step})
    halves = any(layer.compute_dtype == "float16" for layer in model._flatten_layers())
    return Arithmetic(FLOAT16 if halves else FLOAT32)
