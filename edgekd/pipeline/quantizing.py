"""The quantisation stage: the float student with its arithmetic rounded to int8, calibrated or trained further."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.pipeline import networks, retraining, sparsifying, teaching, training
from edgekd.pipeline.stage import (
    STUDENT_DISTILLED,
    STUDENT_QUANTIZED,
    Stage,
    Work,
    float_student,
    teacher_names,
)
from edgekd.recipe import Quantize, Recipe

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras
    import numpy as np

    from edgekd.distill.state import TrainingState


def stages(recipe: Recipe) -> tuple[Stage, ...]:
    """Returns the stage, or none for a recipe that does not ask for it."""
    if recipe.quantize is None:
        return ()
    # Where nobody teaches from outside, the distilled student does.
    teachers = (*teacher_names(recipe), STUDENT_DISTILLED) if recipe.quantize.aware is not None else ()
    inputs = tuple(dict.fromkeys((*teachers, float_student(recipe))))
    return (Stage(STUDENT_QUANTIZED, inputs, _settings, _quantize),)


def _settings(recipe: Recipe) -> Any:
    assert recipe.quantize is not None  # noqa: S101 - there is no stage without its section
    found = {
        **networks.common_settings(recipe),
        "quantize": recipe.quantize.model_dump(mode="json"),
        "samples": recipe.calibration.samples,
    }
    if recipe.quantize.aware is not None:
        found |= retraining.settings(recipe, recipe.quantize.aware, flat=True)
    return found


def _quantize(work: Work) -> list[Path]:
    from edgekd.data.calibration import calibratable, calibration_samples
    from edgekd.quantize import aware

    section = work.recipe.quantize
    assert section is not None  # noqa: S101 - there is no stage without its section
    student = teaching.saved(work, float_student(work.recipe))
    samples = min(work.recipe.calibration.samples, calibratable(work.data.train))
    _, images = calibration_samples(work.data.train, samples=samples, seed=work.recipe.seed)
    network = transformed(prepared(student, work.recipe), images, section, steps=_steps(work), seed=work.recipe.seed)
    states: dict[str, TrainingState] = {}
    if section.aware is not None:
        states[""] = retraining.train(work, section.aware, network, flat=True)
        aware.round_biases(network)
    words = [work.recipe.student.label, *([work.recipe.sparsify.in_words()] if work.recipe.sparsify else []), "int8"]
    return training.write(work, [(network, STUDENT_QUANTIZED, ", ".join(words))], states, costs=student)


def transformed(
    student: "keras.Model", images: "np.ndarray[Any, Any]", quantize: Quantize, *, steps: int, seed: int
) -> "keras.Model":
    """Returns the student with its arithmetic rounded.

    Args:
      student: trained.
      images: [samples, ...] float32 for calibration.
      quantize: the section.
      steps: of the training that follows.
      seed: of the run.
    """
    from edgekd.quantize import aware

    training_settings: dict[str, Any] = {}
    if quantize.aware is not None:
        training_settings = {
            "ranges": quantize.aware.ranges,
            "momentum": quantize.aware.range_momentum,
            "freeze_after": round(quantize.aware.freeze_after * steps),
        }
    return aware.quantize_aware(
        student,
        images,
        exclude=quantize.exclude,
        calibration=quantize.calibration,
        seed=seed,
        **training_settings,
        **quantize.arguments,
    )


def prepared(student: "keras.Model", recipe: Recipe) -> "keras.Model":
    """Returns the float student in a form whose training keeps what makes it sparse."""
    if recipe.sparsify is None or recipe.quantize is None or recipe.quantize.aware is None:
        return student
    return sparsifying.held(student, recipe.sparsify)


def _steps(work: Work) -> int:
    aware = work.recipe.quantize.aware if work.recipe.quantize else None
    return retraining.steps(work, aware) if aware else 0
