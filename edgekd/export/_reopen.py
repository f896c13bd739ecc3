"""The proof that an exported file works: its runtime opens it and runs one sample."""

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import ModelError, NonFiniteError
from edgekd.records import TensorSpec
from edgekd.runtime import open_runner, predict

Specs = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]


def run_one(path: Path, sample: np.ndarray[Any, Any]) -> Specs:
    """Returns the file's input and output specs after its runtime has run `sample` ([1, ...] float32).

    Raises:
      ModelError: the runtime cannot open or run the file.
      NonFiniteError: it runs, and returns NaN or infinity.
    """
    with open_runner(path) as runner:
        try:
            outputs = predict(runner, sample, batch_size=1)
        except ModelError as error:
            raise ModelError(f"the exported file does not run: {error}") from error
        if not np.isfinite(outputs).all():
            raise NonFiniteError(
                "the exported file returns NaN or infinity for a sample: weights or activations overflow. Check the "
                "model's outputs for that sample, or choose another scheme."
            )
        return runner.inputs, runner.outputs
