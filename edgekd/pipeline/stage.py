"""What a stage is: its inputs, the settings that decide what it writes, and its work."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.data.dataset import Dataset
from edgekd.pipeline.progress import Progress
from edgekd.recipe import Recipe

if TYPE_CHECKING:  # importing it would import TensorFlow
    import tensorflow as tf

    from edgekd.distill.stopping import StopRequest

RECORD_FILE = "record.json"
MODEL_FILE = "model.keras"
PREDICTIONS_FILE = "predictions.npz"
CHECKPOINT_FILES = "checkpoint*.npz"

TEACHER = "teacher"
STUDENT_LABELS = "student_labels"
STUDENT_DISTILLED = "student_distilled"
STUDENT_SPARSE = "student_sparse"
STUDENT_QUANTIZED = "student_quantized"
LATER_STUDENTS = (STUDENT_DISTILLED, STUDENT_SPARSE, STUDENT_QUANTIZED)
EXPORT = "export"
VERIFY = "verify"
BENCH = "bench"


def teacher_names(recipe: Recipe) -> tuple[str, ...]:
    """Returns the names of a recipe's teachers, and of their stages: `teacher`, `teacher_2`, ..."""
    return tuple(TEACHER if number == 1 else f"{TEACHER}_{number}" for number in range(1, len(recipe.teacher) + 1))


def roles(recipe: Recipe) -> tuple[str, ...]:
    """Returns the stages that give a network."""
    sparse = (STUDENT_SPARSE,) if recipe.sparsify is not None else ()
    quantized = (STUDENT_QUANTIZED,) if recipe.quantize is not None else ()
    return (*teacher_names(recipe), STUDENT_LABELS, STUDENT_DISTILLED, *sparse, *quantized)


def float_student(recipe: Recipe) -> str:
    """Returns the stage of the last student in float: float files are written and integers are made from it."""
    return STUDENT_DISTILLED if recipe.sparsify is None else STUDENT_SPARSE


@dataclasses.dataclass(frozen=True)
class Work:
    """What a stage gets to work with.

    Attributes:
      recipe: the whole recipe.
      data: the data of the recipe.
      key: the stage's key in this run.
      run: the run's folder; earlier stages' folders lie in it by name.
      folder: the stage's own folder.
      progress: whom to tell.
      stop: asked by trainings whether to save and stop.
      workers: how many processes are to share a training.
      strategy: how this process, one of several workers, shares a training; None where it is alone.
    """

    recipe: Recipe
    data: Dataset
    key: str
    run: Path
    folder: Path
    progress: Progress
    stop: "StopRequest | None"
    workers: int = 1
    strategy: "tf.distribute.Strategy | None" = None


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
      name: of the stage and of its folder.
      inputs: the stages whose files and records it reads.
      settings: picks what of the recipe decides what the stage writes; JSON-able.
      work: does it, and returns the files that it wrote.
    """

    name: str
    inputs: tuple[str, ...]
    settings: Callable[[Recipe], Any]
    work: Callable[[Work], list[Path]]
