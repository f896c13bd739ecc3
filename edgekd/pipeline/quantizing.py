"""The quantisation stage: the distilled student with its arithmetic rounded to int8, calibrated or trained further."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import schedules
from edgekd.pipeline import networks, teaching, training
from edgekd.pipeline.stage import (
    STUDENT_DISTILLED,
    STUDENT_QUANTIZED,
    Stage,
    Work,
    teacher_names,
)
from edgekd.recipe import Distill, Quantize, Recipe, default_objective, section

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras
    import numpy as np

    from edgekd.distill.state import TrainingState


def stages(recipe: Recipe) -> tuple[Stage, ...]:
    """Returns the stage, or none for a recipe that does not ask for it."""
    if recipe.quantize is None:
        return ()
    teachers = teacher_names(recipe) if recipe.quantize.aware is not None else ()
    return (Stage(STUDENT_QUANTIZED, (*teachers, STUDENT_DISTILLED), _settings, _quantize),)


def objective_section(recipe: Recipe) -> Distill:
    """Returns how the int8 student is taught: as the float student was, with schedules at their last values.

    Where nobody taught from outside, the float student teaches: soft logits and labels.
    """
    if recipe.distill.way != "offline":
        return section(Distill, default_objective("offline"))
    document = recipe.distill.model_dump(mode="json")
    for loss in document["losses"]:
        loss.update({key: _settled(value, recipe.student.epochs) for key, value in loss.items()})
        loss["taps"] = [[student.replace("/", "."), teacher] for student, teacher in loss["taps"]]
    document["labels_weight"] = _settled(document["labels_weight"], recipe.student.epochs)
    return section(Distill, document)


def _settled(value: Any, epochs: int) -> Any:
    if isinstance(value, Mapping) and "schedule" in value:
        return schedules.parse(value).value(epochs, 1)
    return value


def _settings(recipe: Recipe) -> Any:
    assert recipe.quantize is not None  # noqa: S101 - there is no stage without its section
    found = {
        **networks.common_settings(recipe),
        "quantize": recipe.quantize.model_dump(mode="json"),
        "samples": recipe.calibration.samples,
    }
    if recipe.quantize.aware is not None:
        distill = objective_section(recipe).model_dump(mode="json")
        if distill["cache"] is not None:
            distill["cache"] = {key: distill["cache"][key] for key in ("views", "dtype")}
        found |= {"distill": distill, "label_smoothing": recipe.quantize.aware.label_smoothing}
    return found


def _quantize(work: Work) -> list[Path]:
    from edgekd.data.calibration import calibratable, calibration_samples
    from edgekd.quantize import aware

    section_ = work.recipe.quantize
    assert section_ is not None  # noqa: S101 - there is no stage without its section
    student = teaching.saved(work, STUDENT_DISTILLED)
    samples = min(work.recipe.calibration.samples, calibratable(work.data.train))
    _, images = calibration_samples(work.data.train, samples=samples, seed=work.recipe.seed)
    network = transformed(student, images, section_, steps=_steps(work), seed=work.recipe.seed)
    states: dict[str, TrainingState] = {}
    if section_.aware is not None:
        states[""] = _train(work, student, network)
        aware.round_biases(network)
    label = f"{work.recipe.student.label}, int8"
    return training.write(work, [(network, STUDENT_QUANTIZED, label)], states, costs=student)


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


def _steps(work: Work) -> int:
    from edgekd.data.batches import steps_per_epoch

    aware = work.recipe.quantize.aware if work.recipe.quantize else None
    return aware.epochs * steps_per_epoch(work.data.train, batch_size=work.recipe.data.batch_size) if aware else 0


def _train(work: Work, student: "keras.Model", network: "keras.Model") -> "TrainingState":
    from edgekd.distill import objective
    from edgekd.distill.distribution import Replicas
    from edgekd.distill.learners import Student

    recipe = work.recipe
    assert recipe.quantize is not None and recipe.quantize.aware is not None  # noqa: S101, PT018 - asked by the caller
    distill = objective_section(recipe)
    goal = objective.from_recipe(distill, label_smoothing=recipe.quantize.aware.label_smoothing)
    if recipe.distill.way == "offline":
        teachers = teaching.open_trained(work, goal)
    else:
        teachers = {STUDENT_DISTILLED: teaching.opened(student, goal, work.data)}
    learners = Student(network, goal.student_taps)
    with teaching.prepared(
        distill,
        recipe.data,
        work.data,
        goal,
        learners,
        teachers,
        seed=recipe.seed,
        epochs=recipe.quantize.aware.epochs,
        progress=work.progress,
        worker=Replicas(work.strategy).worker,
    ) as (source, views):
        section_ = recipe.quantize.aware
        return training.train(work, section_, learners, goal, seed=recipe.seed, teacher=source, views=views)
