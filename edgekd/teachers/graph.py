"""Teachers whose graphs are fixed: `.tflite` and `.onnx` files and SavedModel folders, run through one `Runner`."""

import importlib.metadata
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgekd import external_data, runtime
from edgekd.errors import ModelError, ShapeError, TapError, unknown_name
from edgekd.records import TensorSpec
from edgekd.runtime import Runner
from edgekd.teachers import child
from edgekd.teachers.frozen import LOGITS, Array, Opened, output_shape, wrong_output
from edgekd.teachers.networks import fits, wrong_input

_LOADERS = {".tflite": ("LiteRT", "ai-edge-litert"), ".onnx": ("ONNX Runtime", "onnxruntime")}


def open_file(path: Path, *, taps: Sequence[str], input_shape: Sequence[int], num_classes: int | None) -> Opened:
    """Returns a `.tflite` or `.onnx` file as a teacher.

    Raises:
      StorageError: there is no such file.
      ModelError: it is damaged, or has no such outputs.
      ShapeError: other inputs or another number of classes.
    """
    runner = runtime.open_runner(path, num_threads=_cores())
    engine, package = _LOADERS[path.suffix.lower()]
    return _opened(
        runner,
        loader=f"{engine} {importlib.metadata.version(package)}",
        identity=external_data.sha256(path, external_data.beside(path)),
        taps=taps,
        input_shape=input_shape,
        num_classes=num_classes,
        variables_sha256=None,
    )


def open_folder(folder: Path, *, taps: Sequence[str], input_shape: Sequence[int], num_classes: int | None) -> Opened:
    """Returns a SavedModel folder as a teacher; raises what `open_file` raises."""
    from edgekd.teachers import saved_model

    identity = saved_model.sha256(folder)
    child.require_openable(folder, sha256=identity)
    runner = saved_model.open_runner(folder)
    return _opened(
        runner,
        loader=saved_model.LOADER,
        identity=identity,
        taps=taps,
        input_shape=input_shape,
        num_classes=num_classes,
        variables_sha256=runner.variables_sha256,
    )


def _opened(
    runner: Runner,
    *,
    loader: str,
    identity: str,
    taps: Sequence[str],
    input_shape: Sequence[int],
    num_classes: int | None,
    variables_sha256: Callable[[], str] | None,
) -> Opened:
    _check_input(runner, input_shape)
    logits = _logits(runner, input_shape, num_classes)
    known = {spec.name for spec in runner.outputs}
    sources = {LOGITS: logits.name, **{tap: tap for tap in taps if tap != LOGITS}}
    for tap in sources.values():
        if tap not in known:
            raise TapError(
                unknown_name(f"output of teacher {runner.name!r} to tap:", tap, known)
                + " Of a file only its outputs can be tapped: export it with more outputs, or give the Keras network.",
                taps=(tap,),
            )
    names = tuple(dict.fromkeys(sources.values()))
    lock = threading.Lock()  # an interpreter serves one caller at a time

    def run(images: Array) -> Mapping[str, Array]:
        with lock:
            found = runtime.predict_outputs(runner, images, names=names, batch_size=len(images))
        return {key: found[name] for key, name in sources.items()}

    return Opened(
        name=runner.name,
        loader=loader,
        run=run,
        identity=identity,
        variables_sha256=variables_sha256,
        step=logits.scale,
    )


def _check_input(runner: Runner, input_shape: Sequence[int]) -> None:
    if len(runner.inputs) != 1:
        names = ", ".join(spec.name for spec in runner.inputs)
        raise ModelError(f"teacher {runner.name!r} takes {len(runner.inputs)} arrays ({names}), one is needed.")
    (spec,) = runner.inputs
    if not fits(spec.shape[1:], input_shape) or not spec.shape:
        raise ShapeError(wrong_input(runner.name, spec.shape[1:], input_shape))
    if not spec.dtype.startswith("float") and spec.scale is None:
        raise ModelError(
            f"teacher {runner.name!r} takes {spec.dtype} images and does not say what their numbers mean: write a "
            "function that converts the float32 images and runs it, and give package.module:function as the teacher."
        )


def _logits(runner: Runner, input_shape: Sequence[int], num_classes: int | None) -> TensorSpec:
    """Returns the only output, or the one called logits, or the only one of the shape that is wanted."""
    wanted = output_shape(input_shape, num_classes)
    if len(runner.outputs) == 1:
        found = list(runner.outputs)
    else:
        found = [spec for spec in runner.outputs if spec.name == LOGITS] or [
            spec for spec in runner.outputs if spec.shape[1:] == wanted
        ]
    if len(found) != 1:
        known = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in runner.outputs)
        raise ModelError(
            f"teacher {runner.name!r} has several outputs ({known}), and which of them are the logits is not clear: "
            f"export it with that output called {LOGITS!r}."
        )
    (logits,) = found
    if not fits(logits.shape[1:], wanted):
        raise ShapeError(f"teacher {runner.name!r} {wrong_output(logits.shape[1:], input_shape, num_classes)}")
    return logits


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
