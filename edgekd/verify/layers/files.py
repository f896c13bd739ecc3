"""Two files operator by operator, in a process of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import storage
from edgekd.child_process import Child
from edgekd.runtime import engine_of
from edgekd.runtime.layers import open_layers
from edgekd.verify.layers.comparison import compare_layers
from edgekd.verify.layers.records import LayerComparison

Array = np.ndarray[Any, Any]


def compare_files(
    reference: Path | str,
    candidate: Path | str,
    inputs: Sequence[Array],
    *,
    names: tuple[str, str] | None = None,
    dataset: str,
    input_names: Sequence[str] | None = None,
    check: bool = True,
) -> LayerComparison:
    """Returns how far each operator of one file is from another's; see `compare_layers`.

    Args:
      reference: a `.tflite`, `.onnx` or `.keras` file.
      candidate: another one, of any of these formats.
      inputs: [samples, ...] float32 for each input.
      names: what to call the two in the record; by default as the files are called.
      dataset: what to call the samples.
      input_names: what the inputs are called; see `compare_layers`.
      check: whether both run in a child process, with its limits of time and memory. False is for files that this
        program made itself.

    Raises:
      StorageError: a file does not exist or cannot be read.
      ModelError: a file is damaged, cannot be run, crashed the child or exceeded a limit.
      ShapeError: the samples do not fit.
    """
    paths = Path(reference), Path(candidate)
    for path in paths:
        engine_of(path)
        storage.require_file(path, "model")
    names = names or (paths[0].name, paths[1].name)
    if not check:
        first, second = (open_layers(path) for path in paths)
        return compare_layers(first, second, inputs, names=names, dataset=dataset, input_names=input_names)
    child = Child("edgekd.verify.layers.probe")
    try:
        for path in paths:  # each alone first, so that a crash is told of the right file
            child.ask({"open": str(path.resolve())}, path=path, doing="opened")
        question: dict[str, Any] = {
            "paths": [str(path.resolve()) for path in paths],
            "names": names,
            "dataset": dataset,
        }
        question["input_names"] = None if input_names is None else list(input_names)
        kept = [np.asarray(each, np.float32) for each in inputs]
        found, _ = child.ask(question, kept, path=paths[1], doing="compared operator by operator")
    finally:
        child.close()
    return LayerComparison.model_validate(found)


def answer(question: Mapping[str, Any], arrays: Sequence[Array]) -> tuple[Any, Sequence[Array]]:
    """Opens a file, or returns the comparison that a question describes as a JSON document; for the child process."""
    if "open" in question:
        open_layers(question["open"])
        return None, ()
    first, second = (open_layers(path) for path in question["paths"])
    names = question["names"]
    found = compare_layers(
        first,
        second,
        arrays,
        names=(names[0], names[1]),
        dataset=question["dataset"],
        input_names=question["input_names"],
    )
    return found.model_dump(mode="json"), ()
