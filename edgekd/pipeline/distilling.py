"""The distillation stage: a student taught in one of the ways that a recipe can name."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.data import randomness
from edgekd.pipeline import networks, teaching, training
from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_LABELS, Stage, Work, teacher_names
from edgekd.recipe import Recipe

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras

    from edgekd.distill.objective import Objective
    from edgekd.distill.state import TrainingState


def stage(recipe: Recipe) -> Stage:
    """Returns the stage; it reads the teachers, or the student on labels where that is the first teacher."""
    inputs = (STUDENT_LABELS,) if recipe.distill.way == "born_again" else teacher_names(recipe)
    return Stage(STUDENT_DISTILLED, inputs, _settings, _distil)


def _settings(recipe: Recipe) -> Any:
    # Where outputs are kept changes nothing; how they are stored does.
    distill = recipe.distill.model_dump(mode="json")
    if distill["cache"] is not None:
        distill["cache"] = {key: distill["cache"][key] for key in ("views", "dtype")}
    return {
        **networks.settings(recipe.student, role="student"),
        **networks.common_settings(recipe),
        "distill": distill,
        "peers": [networks.settings(peer, role="peer") for peer in recipe.distill.peers],
    }


def _distil(work: Work) -> list[Path]:
    from edgekd.distill import objective

    goal = objective.from_recipe(work.recipe.distill, label_smoothing=work.recipe.student.label_smoothing)
    if work.recipe.distill.way == "born_again":
        return _generations(work, goal)
    if work.recipe.distill.way == "offline":
        return _offline(work, goal)
    return _within(work, goal)


def _offline(work: Work, goal: "Objective") -> list[Path]:
    student = networks.build(work.recipe.student, work.data, seed=work.recipe.seed)
    teachers = teaching.open_trained(work, goal)
    state = _taught(work, goal, student, teachers, seed=work.recipe.seed)
    return training.write(work, [(student, STUDENT_DISTILLED, work.recipe.student.label)], {"": state})


def _within(work: Work, goal: "Objective") -> list[Path]:
    """Online and self-distillation: nobody teaches from outside."""
    recipe = work.recipe
    learners = teaching.learners(recipe, work.data, goal)
    state = training.train(work, recipe.student, learners, goal, seed=recipe.seed)
    labels = [recipe.student.label, *(peer.architecture for peer in recipe.distill.peers)]
    roles = [STUDENT_DISTILLED, *learners.names[1 : len(learners.models)]]
    return training.write(work, list(zip(learners.models, roles, labels, strict=True)), {"": state})


def _generations(work: Work, goal: "Objective") -> list[Path]:
    """Born-again networks: each generation is taught by the one before, the first by the student on labels.

    References:
      Furlanello et al., Born Again Neural Networks, 2018 (arXiv:1805.04770).
    """
    recipe = work.recipe
    teacher = teaching.saved(work, STUDENT_LABELS)
    born: list[keras.Model] = []
    states: dict[str, TrainingState] = {}
    for number in range(1, recipe.distill.generations + 1):
        # Every generation starts from other weights and sees the data in another order.
        seed = randomness.seed("generation", recipe.seed, number)
        student = networks.build(recipe.student, work.data, seed=seed)
        opened = {STUDENT_LABELS: teaching.opened(teacher, goal, work.data)}
        part = f"generation_{number}" if number < recipe.distill.generations else ""
        states[part] = _taught(work, goal, student, opened, seed=seed, part=part)
        born.append(student)
        teacher = student
    roles = [STUDENT_DISTILLED, *(f"generation_{number}" for number in range(1, len(born)))]
    models = zip([born[-1], *born[:-1]], roles, strict=True)
    return training.write(work, [(model, role, recipe.student.label) for model, role in models], states)


def _taught(
    work: Work,
    goal: "Objective",
    student: "keras.Model",
    teachers: Mapping[str, Any],
    *,
    seed: int,
    part: str = "",
) -> "TrainingState":
    from edgekd.distill.distribution import Replicas
    from edgekd.distill.learners import Student

    learners = Student(student, goal.student_taps)
    recipe = work.recipe
    with teaching.prepared(
        recipe.distill,
        recipe.data,
        work.data,
        goal,
        learners,
        teachers,
        seed=seed,
        epochs=recipe.student.epochs,
        progress=work.progress,
        worker=Replicas(work.strategy).worker,
    ) as (source, views):
        return training.train(work, recipe.student, learners, goal, seed=seed, teacher=source, views=views, part=part)
