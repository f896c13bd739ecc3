"""Teachers that were not trained here: files of other formats, and functions. They stay where they are."""

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.data.batches import ordered_batches
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import ModelError
from edgekd.pipeline.results import TrainingResult
from edgekd.pipeline.stage import RECORD_FILE, Work
from edgekd.recipe import Teacher
from edgekd.records import ModelRecord
from edgekd.teachers import RECONSTRUCTION, FrozenTeacher, open_teacher

_BATCH_SIZE = 256


def open_section(section: Teacher, data: Dataset) -> FrozenTeacher:
    """Returns the teacher of a section that names one from outside, without taps."""
    return open_teacher(
        section.model,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        **options(section, data),
    )


def options(section: Teacher, data: Dataset) -> dict[str, Any]:
    """Returns how the teacher of a section is to be opened."""
    outputs = RECONSTRUCTION if data.reconstructs else section.outputs
    return {"outputs": outputs, "layout": section.layout, "arguments": section.arguments}


def require_unchanged(work: Work, stage: str, teacher: FrozenTeacher) -> None:
    """Raises ModelError where a teacher is not the one of its stage: a function may read other weights than before."""
    recorded = TrainingResult.read(work.run / stage / RECORD_FILE).model.weights_sha256
    if teacher.sha256 != recorded:
        raise ModelError(
            f"teacher {teacher.name!r} gives other outputs than when the stage {stage!r} was done: restore it, or "
            f"remove the folder {str(work.run / stage)!r} to take it as it is now."
        )


def logits(teacher: FrozenTeacher, split: Split) -> np.ndarray:
    """Returns the teacher's [samples, ...] float32 logits or reconstructions, in the split's order."""
    batches = ordered_batches(split, batch_size=_BATCH_SIZE)
    return np.concatenate([np.asarray(teacher.outputs(batch.images)["logits"], np.float32) for batch in batches])


def record_teacher(work: Work, section: Teacher) -> list[Path]:
    """Writes the record of a stage whose teacher is not a Keras file: what it is, and how well it does."""
    teacher = open_section(section, work.data)
    validation = work.data.validation
    outputs = logits(teacher, validation)
    loss = accuracy = None
    if work.data.reconstructs:
        samples, _ = validation.read(np.arange(len(validation)))
        loss = float(np.square(outputs - samples, dtype=np.float64).mean())
    else:
        accuracy = float((outputs.argmax(axis=-1) == validation.labels).mean())
    record = ModelRecord(
        role=work.folder.name,
        path=str(section.model),
        architecture=f"{section.label}, run by {teacher.loader}",
        parameters=None,
        macs=None,
        foreign=True,
        validation_accuracy=accuracy,
        validation_loss=loss,
        weights_sha256=teacher.sha256,
    )
    TrainingResult(model=record, curve=()).write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE]
