"""Models that are run operator by operator: every intermediate tensor, and parts of the model alone.

A file of this folder is named as the engine that it belongs to and defines `open_layers(path) -> LayeredModel`.
Importing this package imports no engine.
"""

from pathlib import Path
from typing import cast

from edgekd import registry, runtime
from edgekd.errors import ModelError
from edgekd.runtime.layers.graph import Graph, Kernel, LayeredModel, Operator

__all__ = ["Graph", "Kernel", "LayeredModel", "Operator", "open_layers"]


def open_layers(path: Path | str) -> LayeredModel:
    """Returns a `.tflite`, `.onnx` or `.keras` file, opened in this process to be run operator by operator.

    A file from outside may crash its parser or kernels: open it in a child process, as `edgekd.verify.layers` does.

    Raises:
      StorageError: the file does not exist or cannot be read.
      ModelError: the suffix is unknown, or the file is empty, damaged or not runnable, or has several subgraphs, or
        leaves preprocessing to its caller: its first operators are not the other model's.
    """
    path = Path(path)
    engine = runtime.engine_of(path)
    with runtime.open_runner(path, check=False) as runner:  # everything that is refused is refused there
        if any(record.by_the_caller for record in runner.preprocessing):
            raise ModelError(
                f"{path.name!r} leaves preprocessing to its caller, so its operators see other numbers: export it with "
                "preprocessing: inside to compare them one by one, or compare it as a whole."
            )
    return cast(LayeredModel, registry.load(__name__, engine).open_layers(path))
