"""One network or file of a run beside the one that it came from."""

import math
from typing import Any, Literal

import numpy as np

from edgekd.errors import NonFiniteError
from edgekd.records import StageRow
from edgekd.verify import anomalies, metrics
from edgekd.verify.anomalies import Errors

Array = np.ndarray[Any, Any]


def stage_row(
    name: str,
    logits: Array,
    labels: Array,
    *,
    kind: Literal["network", "file"],
    runtime: str,
    before: tuple[str, Array] | None = None,
) -> StageRow:
    """Returns the accuracy of some outputs, and what was lost since those before them.

    Args:
      name: of the network or file.
      logits: [samples, classes] float, its outputs.
      labels: [samples] integer classes.
      kind: which of the two it is.
      runtime: what ran it.
      before: name and outputs of what it came from; None for what comes first.

    Raises:
      NonFiniteError: NaN or infinity among the outputs.
      ShapeError: no samples, or shapes that do not fit together.
    """
    _require_finite(name, logits)
    classes = logits.argmax(axis=-1)
    row = StageRow(name=name, kind=kind, runtime=runtime, accuracy=metrics.accuracy_interval(classes, labels))
    if before is None:
        return row
    earlier = before[1].argmax(axis=-1)
    return row.model_copy(
        update={
            "before": before[0],
            "accuracy_drop": metrics.paired_drop_interval(earlier, classes, labels),
            "agreement": metrics.accuracy_interval(classes, earlier),
            **_ratio(before[1], logits),
        }
    )


def reconstruction_row(
    name: str,
    outputs: Array,
    errors: Errors,
    *,
    kind: Literal["network", "file"],
    runtime: str,
    before: tuple[str, Array, Errors] | None = None,
) -> StageRow:
    """Returns how good some reconstructions are, and what was lost since those before them.

    Args:
      name: of the network or file.
      outputs: [samples, ...] float.
      errors: of these.
      kind: which of the two it is.
      runtime: what ran it.
      before: name, outputs and errors of what it came from; None for what comes first.

    Raises:
      NonFiniteError: NaN or infinity among the outputs.
      ShapeError: no samples, or shapes that do not fit together.
    """
    _require_finite(name, outputs)
    row = StageRow(name=name, kind=kind, runtime=runtime, accuracy=None, reconstruction=errors.quality())
    if before is None:
        return row
    earlier, values, its_errors = before
    drop = anomalies.area_drop(its_errors, errors)
    return row.model_copy(update={"before": earlier, "auc_drop": drop, **_ratio(values, outputs)})


def _require_finite(name: str, outputs: Array) -> None:
    if not np.isfinite(outputs).all():
        raise NonFiniteError(f"{name!r} gives NaN or infinity on the test split: something before it is broken.")


def _ratio(before: Array, outputs: Array) -> dict[str, Any]:
    known = bool(before.any())  # an error relative to zeros is undefined
    ratio = metrics.sqnr_db(before, outputs) if known else None
    identical = ratio is not None and math.isinf(ratio)
    return {"sqnr_db": None if identical else ratio, "identical": identical}
