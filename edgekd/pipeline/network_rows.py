"""Where a network of a run came from, and what was lost since."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_LABELS, STUDENT_QUANTIZED, STUDENT_SPARSE, TEACHER
from edgekd.records import ModelRecord, StageRow
from edgekd.verify.stages import stage_row

Array = np.ndarray[Any, Any]

# The networks that each is compared with: the first that there is.
_MADE_OF = {
    STUDENT_LABELS: (TEACHER,),
    STUDENT_DISTILLED: (TEACHER, STUDENT_LABELS),
    STUDENT_SPARSE: (STUDENT_DISTILLED,),
    STUDENT_QUANTIZED: (STUDENT_SPARSE, STUDENT_DISTILLED),
}


def network_row(model: ModelRecord, outputs: Mapping[str, Array], labels: Array) -> StageRow:
    """Returns the accuracy of a network, and what was lost since the one that it came from.

    Args:
      model: the network.
      outputs: [samples, classes] float test logits of it and of those before it, by role.
      labels: [samples] integer classes.

    Raises:
      NonFiniteError: NaN or infinity among its outputs.
    """
    chosen = _MADE_OF.get(model.role, () if model.role.startswith(TEACHER) else (TEACHER,))
    before = next((name for name in chosen if name in outputs), None)
    return stage_row(
        model.role,
        outputs[model.role],
        labels,
        kind="network",
        runtime=model.architecture.rpartition("run by ")[2] if model.foreign else "keras",
        before=None if before is None else (before, outputs[before]),
    )
