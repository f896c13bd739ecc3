"""Where a network of a run came from, and what was lost since."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekd.data.dataset import Dataset
from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_LABELS, STUDENT_QUANTIZED, STUDENT_SPARSE, TEACHER
from edgekd.records import ModelRecord, StageRow
from edgekd.verify import stages
from edgekd.verify.anomalies import Errors, squared_errors

Array = np.ndarray[Any, Any]

# The networks that each is compared with: the first that there is.
_MADE_OF = {
    STUDENT_LABELS: (TEACHER,),
    STUDENT_DISTILLED: (TEACHER, STUDENT_LABELS),
    STUDENT_SPARSE: (STUDENT_DISTILLED,),
    STUDENT_QUANTIZED: (STUDENT_SPARSE, STUDENT_DISTILLED),
}


def errors_of(outputs: Mapping[str, Array], data: Dataset, samples: Array) -> dict[str, Errors]:
    """Returns the errors of networks or files that give back their inputs, by name, of their outputs for test samples.

    Args:
      outputs: [samples, ...] float, by name.
      data: of the run.
      samples: [samples, ...] float32, the test split as networks get it.
    """
    test = data.test
    anomalous = data.anomalous(test)
    return {name: squared_errors(samples, given, anomalous, test.groups) for name, given in outputs.items()}


def reconstruction_row(model: ModelRecord, outputs: Mapping[str, Array], errors: Mapping[str, Errors]) -> StageRow:
    """Returns how well a network gives back its inputs, and what was lost since the one that it came from.

    Args:
      model: the network.
      outputs: [samples, ...] float test outputs of it and of those before it, by role.
      errors: of these outputs.

    Raises:
      NonFiniteError: NaN or infinity among its outputs.
    """
    before = _before(model, outputs)
    return stages.reconstruction_row(
        model.role,
        outputs[model.role],
        errors[model.role],
        kind="network",
        runtime=_runtime(model),
        before=None if before is None else (before, outputs[before], errors[before]),
    )


def network_row(model: ModelRecord, outputs: Mapping[str, Array], labels: Array) -> StageRow:
    """Returns the accuracy of a network, and what was lost since the one that it came from.

    Args:
      model: the network.
      outputs: [samples, classes] float test logits of it and of those before it, by role.
      labels: [samples] integer classes.

    Raises:
      NonFiniteError: NaN or infinity among its outputs.
    """
    before = _before(model, outputs)
    return stages.stage_row(
        model.role,
        outputs[model.role],
        labels,
        kind="network",
        runtime=_runtime(model),
        before=None if before is None else (before, outputs[before]),
    )


def _before(model: ModelRecord, outputs: Mapping[str, Array]) -> str | None:
    chosen = _MADE_OF.get(model.role, () if model.role.startswith(TEACHER) else (TEACHER,))
    return next((name for name in chosen if name in outputs), None)


def _runtime(model: ModelRecord) -> str:
    return model.architecture.rpartition("run by ")[2] if model.foreign else "keras"
