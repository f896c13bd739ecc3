"""Pre-flight: all that can go wrong in training for want of fitting parts is found before any training."""

from collections.abc import Collection, Mapping
from typing import Any

from edgekd.data.dataset import Dataset
from edgekd.errors import DataError
from edgekd.pipeline import networks, teaching
from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_LABELS, teacher_names
from edgekd.recipe import Recipe, Teacher


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
    from edgekd.distill import fitting

    augment = recipe.data.augment
    if len(data.input_shape) != 3 and any(augment.model_dump().values()):
        raise DataError(
            f"augment is for images, but samples of {data.name!r} have shape {data.input_shape}: remove data.augment."
        )
    distils = STUDENT_DISTILLED in stages
    teachers = {}
    for name, section in zip(teacher_names(recipe), recipe.teacher, strict=True):
        if distils or name in stages:
            teachers[name] = _checked_teacher(section, data)
    if STUDENT_LABELS in stages and not distils:
        fitting.check(networks.build(recipe.student, data, seed=recipe.seed), data, role="student")
    if distils:
        _check_distillation(recipe, data, teachers)


def _checked_teacher(section: Teacher, data: Dataset) -> Any:
    """Returns a teacher as it is before training; one from outside is only opened later."""
    from edgekd.distill import fitting

    if section.model is not None and not networks.is_keras_file(section):
        return section.model
    model = networks.build(section, data, seed=0)
    fitting.check(model, data, role="teacher")
    return model


def _check_distillation(recipe: Recipe, data: Dataset, teachers: Mapping[str, Any]) -> None:
    """Evaluates the whole objective on a batch of two: every tap, adapter and shape is tried."""
    import numpy as np

    from edgekd.distill import fitting, objective
    from edgekd.distill.lesson import Lesson, Targets

    goal = objective.from_recipe(recipe.distill, label_smoothing=recipe.student.label_smoothing)
    taught = teaching.learners(recipe, data, goal)
    for model in taught.models:
        fitting.check(model, data, role="student" if model is taught.models[0] else "peer")
    if recipe.distill.way == "born_again":
        teachers = {STUDENT_LABELS: taught.models[0]}
    source = None
    if teachers:
        names = tuple(teachers)
        sections = dict(zip(teacher_names(recipe), recipe.teacher, strict=True))
        opened = {
            name: teaching.opened(each, goal, data, name=name, names=names, section=sections.get(name))
            for name, each in teachers.items()
        }
        with teaching.cache_of(recipe.distill) as cache:
            source = teaching.source(
                recipe.distill, recipe.data, data, goal, taught, opened, seed=recipe.seed, cache=cache
            )
    shapes = source.shapes if source else None
    lesson = Lesson(taught, goal, input_shape=data.input_shape, teacher_shapes=shapes, seed=recipe.seed)
    images = np.zeros((2, *data.input_shape), np.float32)
    given = {key: np.zeros((2, *shape), np.float32) for key, shape in shapes.items()} if shapes else None
    values = dict(zip(goal.schedules(), goal.scheduled_values(0, steps_per_epoch=1), strict=True))
    lesson.terms(images, Targets(np.zeros(2, np.int64)), given, values, training=False)
