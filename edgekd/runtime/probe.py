"""Runs models in a process of its own: `python -m edgekd.runtime.probe`, the other side of `edgekd.runtime.isolated`.

Native parsers and kernels can crash on a malformed file, which then ends only this process.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekd import child_process, runtime
from edgekd.errors import ModelError
from edgekd.runtime.runner import Array, Runner


class Host:
    """Holds the one model that this process runs."""

    def __init__(self) -> None:
        self._runner: Runner | None = None

    def answer(self, question: Any, arrays: tuple[Array, ...]) -> tuple[Any, tuple[Array, ...]]:
        """Opens the file that a question describes; runs, resets or closes it when the question is that word."""
        if question not in ("run", "reset", "close"):
            return self._open(**question), ()
        if self._runner is None:
            raise ModelError("no file is open here.")
        if question == "close":
            self._runner.close()
            self._runner = None
            return None, ()
        if question == "reset":
            self._runner.reset()
            return None, ()
        return None, self._runner.run(arrays)

    def _open(self, path: str, num_threads: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Opens a file in place of the one before, after a run by another runner: a run may change a model's state."""
        if self._runner is not None:
            self._runner.close()
        with runtime.open_runner(path, num_threads=num_threads, check=False, **options) as runner:
            run_on_zeros(runner)
        self._runner = runtime.open_runner(path, num_threads=num_threads, check=False, **options)
        described: dict[str, Any] = {
            part: [record.model_dump(mode="json") for record in getattr(self._runner, part)]
            for part in ("inputs", "outputs", "preprocessing")
        }
        return {**described, "stateful": self._runner.stateful}


def run_on_zeros(runner: Runner) -> None:
    """Runs a model once, where every input's shape is known or only its batch varies."""
    shapes = [(spec.shape[0] or 1, *spec.shape[1:]) if spec.shape else () for spec in runner.inputs]
    if all(None not in shape for shape in shapes):
        runner.run([np.zeros(shape, spec.dtype) for shape, spec in zip(shapes, runner.inputs, strict=True)])


def main() -> None:
    """Serves the parent until it is gone."""
    child_process.serve(Host().answer)


if __name__ == "__main__":
    main()
