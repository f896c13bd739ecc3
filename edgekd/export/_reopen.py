"""The proof that an exported file works: its runtime opens it and runs one sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.child_process import Child, Limits, default_limits
from edgekd.errors import ModelError, NonFiniteError
from edgekd.records import TensorSpec
from edgekd.runtime import IsolatedRunner, Runner, predict_outputs

Specs = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
# The child process of the export before, if there was one: starting another takes half a second. Files of one's own
# making are no danger to each other there, and one that crashes it ends it.
_waiting: list[tuple[Limits, Child]] = []

Samples = np.ndarray[Any, Any] | Sequence[np.ndarray[Any, Any]]


def run_one(path: Path, sample: Samples) -> Specs:
    """Returns the file's input and output specs after its runtime has run one sample.

    Args:
      path: the file.
      sample: [1, ...] float32, or one such array for each input.

    Raises:
      ModelError: the runtime cannot open or run the file.
      NonFiniteError: it runs, and returns NaN or infinity.
    """
    arrays = [sample] if isinstance(sample, np.ndarray) else list(sample)
    limits = default_limits()
    runner = IsolatedRunner(path, limits=limits, child=_waiting_child(limits))
    try:
        try:
            outputs = _run(runner, arrays)
        except ModelError as error:
            raise ModelError(f"the exported file does not run: {error}") from error
        if not all(np.isfinite(output).all() for output in outputs):
            raise NonFiniteError(
                "the exported file returns NaN or infinity for a sample: weights or activations overflow. Check the "
                "model's outputs for that sample, or choose another scheme."
            )
        specs = runner.inputs, runner.outputs
        _waiting.append((limits, runner.release()))
    except BaseException:
        runner.close()
        raise
    return specs


def _waiting_child(limits: Limits) -> Child | None:
    while _waiting:
        own, child = _waiting.pop()
        if own == limits and not child.has_ended:
            return child
        child.close()
    return None


def _run(runner: Runner, arrays: list[np.ndarray[Any, Any]]) -> Sequence[np.ndarray[Any, Any]]:
    if len(arrays) == 1:
        names = [spec.name for spec in runner.outputs]
        return list(predict_outputs(runner, arrays[0], names=names, batch_size=1).values())
    return runner.run(
        [np.repeat(array, spec.shape[0] or 1, axis=0) for spec, array in zip(runner.inputs, arrays, strict=True)]
    )
