"""Pre-flight: all that can go wrong in training for want of fitting parts is found before any training."""

from collections.abc import Collection

from edgekd.data.dataset import Dataset
from edgekd.errors import DataError
from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_LABELS, TEACHER
from edgekd.pipeline.training import build
from edgekd.recipe import Recipe


def check(recipe: Recipe, data: Dataset, *, stages: Collection[str]) -> None:
    """Builds the networks and evaluates the student's whole objective on one tiny batch.

    Args:
      recipe: what is to be done.
      data: of the recipe.
      stages: the names of the stages that are to run; what none of them needs is not built.

    Raises:
      DataError: augmentation does not fit the data.
      ModelError: a network cannot be built, or a tap does not exist (the message lists the known ones).
      ShapeError: the networks' inputs, classes or feature maps do not fit the data or each other.
    """
    import numpy as np

    from edgekd.distill import fitting, objective
    from edgekd.distill.step import weighted_terms
    from edgekd.distill.taps import TappedModel

    augment = recipe.data.augment
    if len(data.input_shape) != 3 and any(augment.model_dump().values()):
        raise DataError(
            f"augment is for images, but samples of {data.name!r} have shape {data.input_shape}: remove data.augment."
        )
    needed_by = {"teacher": {TEACHER, STUDENT_DISTILLED}, "student": {STUDENT_LABELS, STUDENT_DISTILLED}}
    networks = {}
    for role, network in (("teacher", recipe.teacher), ("student", recipe.student)):
        if needed_by[role].isdisjoint(stages):
            continue
        model = build(recipe, network, input_shape=data.input_shape, num_classes=data.num_classes)
        fitting.check(model, data, role=role)
        networks[role] = model
    if STUDENT_DISTILLED not in stages:
        return
    goal = objective.from_recipe(recipe.distill, label_smoothing=recipe.student.label_smoothing)
    images = np.zeros((2, *data.input_shape), np.float32)
    student = TappedModel(networks["student"], goal.student_taps)(images, training=False)
    teacher = TappedModel(networks["teacher"], goal.teacher_taps)(images, training=False)
    weighted_terms(goal, np.zeros(2, np.int64), student, teacher)
