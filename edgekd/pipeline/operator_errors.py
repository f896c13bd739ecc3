"""Where a run's files differ from their networks, operator by operator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import ModelError, NonFiniteError, ShapeError
from edgekd.pipeline.stage import MODEL_FILE, Work
from edgekd.records import Artifact, LayerErrors, OperatorError
from edgekd.verify.layers import LayerComparison, LayerRow, compare_files

Array = np.ndarray[Any, Any]


def of_files(work: Work, artifacts: Sequence[Artifact], images: Array) -> tuple[LayerErrors, ...]:
    """Returns every file beside its network on the first of the images, as many as the recipe says; none for 0.

    Where two cannot be compared so, the reason is told.

    Args:
      work: of the verify stage.
      artifacts: the files.
      images: [samples, ...] float32.
    """
    samples = min(work.recipe.verify.layer_samples, len(images))
    if samples == 0:
        return ()
    name = f"{work.data.name} test"
    found = []
    for position, artifact in enumerate(artifacts):
        work.progress.item(position, len(artifacts), f"{artifact.name}, operator by operator")
        found.append(_compared(work.run, artifact, images[:samples], name))
    return tuple(found)


def _compared(run: Path, artifact: Artifact, images: Array, dataset: str) -> LayerErrors:
    names = (artifact.source, artifact.name)
    network = run / artifact.source / MODEL_FILE
    empty = LayerErrors(reference=names[0], candidate=names[1], samples=len(images))
    try:
        found = compare_files(network, run / artifact.path, [images], names=names, dataset=dataset, check=False)
    except (ModelError, NonFiniteError, ShapeError) as error:
        return empty.model_copy(update={"reason": str(error)})
    return empty.model_copy(update={"rows": _rows(found)})


def _rows(found: LayerComparison) -> tuple[OperatorError, ...]:
    return tuple(_row(row) for row in found.rows if row.cumulative is not None)


def _row(row: LayerRow) -> OperatorError:
    assert row.cumulative is not None  # noqa: S101 - its caller has looked
    return OperatorError(
        operator=row.candidate_operator,
        tensor=row.reference_tensor,
        sqnr_db=row.cumulative.sqnr_db,
        local_sqnr_db=row.local.sqnr_db if row.local else None,
        identical=row.cumulative.max_abs == 0,
        excess=row.excess,
        passed=row.passed,
    )
