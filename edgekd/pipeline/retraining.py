"""Trainings that go on from the distilled student, of the sparse and the int8 one: the same teacher and losses."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgekd import schedules
from edgekd.pipeline import teaching, training
from edgekd.pipeline.stage import STUDENT_DISTILLED, Work
from edgekd.recipe import Distill, Recipe, Training, default_objective, section

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras

    from edgekd.distill.objective import Objective
    from edgekd.distill.state import TrainingState
    from edgekd.teachers import FrozenTeacher


def objective_section(recipe: Recipe, *, flat: bool) -> Distill:
    """Returns how the student is taught on: as the distilled one was, with schedules at their last values.

    Where nobody taught from outside, the distilled student teaches: soft logits and labels.

    Args:
      recipe: of the run.
      flat: whether the network's nested models are dissolved, their layers called `outer.inner`.
    """
    if recipe.distill.way != "offline":
        return section(Distill, default_objective("offline"))
    document = recipe.distill.model_dump(mode="json")
    for loss in document["losses"]:
        loss.update({key: _settled(value, recipe.student.epochs) for key, value in loss.items()})
        if flat:
            loss["taps"] = [[student.replace("/", "."), teacher] for student, teacher in loss["taps"]]
    document["labels_weight"] = _settled(document["labels_weight"], recipe.student.epochs)
    return section(Distill, document)


def _settled(value: Any, epochs: int) -> Any:
    if isinstance(value, Mapping) and "schedule" in value:
        return schedules.parse(value).value(epochs, 1)
    return value


def settings(recipe: Recipe, how: Training, *, flat: bool) -> dict[str, Any]:
    """Returns what decides the training, besides its own section and what is common to all."""
    distill = objective_section(recipe, flat=flat).model_dump(mode="json")
    if distill["cache"] is not None:
        distill["cache"] = {key: distill["cache"][key] for key in ("views", "dtype")}
    return {"distill": distill, "label_smoothing": how.label_smoothing}


def steps(work: Work, how: Training) -> int:
    """Returns how many steps the training has."""
    from edgekd.data.batches import steps_per_epoch

    return how.epochs * steps_per_epoch(work.data.train, batch_size=work.recipe.data.batch_size)


def train(work: Work, how: Training, network: "keras.Model", *, flat: bool) -> "TrainingState":
    """Trains a network that was made of the distilled student, in place.

    Args:
      work: the stage's.
      how: the section that says how to train.
      network: with the student's taps.
      flat: as for `objective_section`.
    """
    from edgekd.distill import objective
    from edgekd.distill.distribution import Replicas
    from edgekd.distill.learners import Student

    recipe = work.recipe
    distill = objective_section(recipe, flat=flat)
    goal = objective.from_recipe(distill, label_smoothing=how.label_smoothing)
    learners = Student(network, goal.student_taps)
    with teaching.prepared(
        distill,
        recipe.data,
        work.data,
        goal,
        learners,
        _teachers(work, goal),
        seed=recipe.seed,
        epochs=how.epochs,
        progress=work.progress,
        worker=Replicas(work.strategy).worker,
    ) as (source, views):
        return training.train(work, how, learners, goal, seed=recipe.seed, teacher=source, views=views)


def _teachers(work: Work, goal: "Objective") -> "dict[str, FrozenTeacher]":
    if work.recipe.distill.way == "offline":
        return teaching.open_trained(work, goal)
    return {STUDENT_DISTILLED: teaching.opened(teaching.saved(work, STUDENT_DISTILLED), goal, work.data)}
