"""The trainings on labels, the teachers' and the student's; and what every training stage writes."""

import dataclasses
import functools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.data import randomness
from edgekd.pipeline import networks
from edgekd.pipeline.results import TrainingResult
from edgekd.pipeline.stage import (
    MODEL_FILE,
    RECORD_FILE,
    STUDENT_LABELS,
    Stage,
    Work,
    teacher_names,
)
from edgekd.recipe import Network, Recipe, Training
from edgekd.records import EpochRecord, KernelValues, ModelRecord

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras

    from edgekd.distill.callback import Callback
    from edgekd.distill.learners import Learners
    from edgekd.distill.objective import Objective
    from edgekd.distill.state import TrainingState
    from edgekd.distill.teacher import TeacherSource

TENSORBOARD_FOLDER = "tensorboard"


def stages(recipe: Recipe) -> tuple[Stage, ...]:
    """Returns one stage for each teacher, and one for the student on labels."""
    teachers = (
        Stage(name, (), functools.partial(_teacher_settings, position), functools.partial(_train_teacher, position))
        for position, name in enumerate(teacher_names(recipe))
    )
    return (*teachers, Stage(STUDENT_LABELS, (), _student_settings, _train_student))


def _teacher_settings(position: int, recipe: Recipe) -> Any:
    own = networks.settings(recipe.teacher[position], role="teacher")
    return {**own, **networks.common_settings(recipe), "seed": teacher_seed(recipe, position)}


def _student_settings(recipe: Recipe) -> Any:
    return {**networks.settings(recipe.student, role="student"), **networks.common_settings(recipe)}


def teacher_seed(recipe: Recipe, position: int) -> int:
    """Returns the seed of a teacher: no two networks of a sweep over seeds must become the same."""
    return randomness.seed("teacher", recipe.seed, position)


def _train_teacher(position: int, work: Work) -> list[Path]:
    network = work.recipe.teacher[position]
    if network.model is None:
        return _train_on_labels(work, network, seed=teacher_seed(work.recipe, position))
    if not networks.is_keras_file(network):
        from edgekd.pipeline import foreign

        return foreign.record_teacher(work, network)
    model = networks.build(network, work.data, seed=0)
    return write(work, [(model, work.folder.name, network.label)], {})


def _train_student(work: Work) -> list[Path]:
    return _train_on_labels(work, work.recipe.student, seed=work.recipe.seed)


def _train_on_labels(work: Work, network: Network, *, seed: int) -> list[Path]:
    from edgekd.distill.objective import Objective

    model = networks.build(network, work.data, seed=seed)
    labelled = dataclasses.replace(work, data=dataclasses.replace(work.data, train=work.data.labelled_train))
    state = train(labelled, network, model, Objective(label_smoothing=network.label_smoothing), seed=seed)
    return write(work, [(model, work.folder.name, network.label)], {"": state})


def train(
    work: Work,
    network: Training,
    student: "keras.Model | Learners",
    objective: "Objective",
    *,
    seed: int,
    teacher: "TeacherSource | None" = None,
    views: int | None = None,
    part: str = "",
) -> "TrainingState":
    """Trains in a stage: resumable, with curves in files and progress told.

    Args:
      work: the stage's.
      network: the section that says how to train.
      student: who learns.
      objective: what is minimised.
      seed: of order and views.
      teacher: from outside.
      views: how many views of each image there are.
      part: names one of several trainings of a stage.
    """
    from edgekd.data.augment import Augmentation
    from edgekd.distill.checkpoint import Checkpoint
    from edgekd.distill.distribution import Replicas
    from edgekd.distill.logs import CsvLog, TensorBoardLog
    from edgekd.distill.loop import fit
    from edgekd.distill.stopping import StopRequest

    recipe = work.recipe
    stop = work.stop or StopRequest()
    checkpoint = Checkpoint(work.folder / _named("checkpoint", part, ".npz"), _named(work.key, part), stop)
    board = work.folder / _named(TENSORBOARD_FOLDER, part)
    curve = work.folder / _named("curve", part, ".csv")
    callbacks: list[Callback] = []
    if Replicas(work.strategy).is_chief:
        if not checkpoint.resumes():  # the viewer would draw another training's curve into this one's
            shutil.rmtree(board, ignore_errors=True)
        callbacks = [_telling(work, network), CsvLog(curve), TensorBoardLog(board)]
    with stop.deferred():
        return fit(
            student,
            work.data,
            objective=objective,
            training=network,
            teacher=teacher,
            augmentation=Augmentation(**recipe.data.augment.model_dump()),
            mixup=recipe.data.mixup,
            views=views,
            batch_size=recipe.data.batch_size,
            seed=seed,
            checkpoint=checkpoint,
            callbacks=callbacks,
            strategy=work.strategy,
        )


def write(
    work: Work,
    models: Sequence[tuple["keras.Model", str, str]],
    states: Mapping[str, "TrainingState"],
    *,
    costs: "keras.Model | None" = None,
    kernels: KernelValues | None = None,
) -> list[Path]:
    """Writes networks and the stage's record; returns all the files of the stage. Of several workers the chief does.

    Args:
      work: the stage's.
      models: networks, with role and label; the first is the stage's result, the others are its companions.
      states: of the trainings by their part, in order; the last one's is the curve of the result. Empty where nothing
        was trained.
      costs: the network whose parameters and MACs are told, where it is not the one that is written.
      kernels: what those of the first network hold, where that is to be told.
    """
    from edgekd import architectures
    from edgekd.distill.distribution import Replicas

    if not Replicas(work.strategy).is_chief:
        return []
    records, files = [], []
    for position, (model, role, label) in enumerate(models):
        path = work.folder / (MODEL_FILE if position == 0 else f"{role}.keras")
        architectures.save_model(model, path)
        files.append(path)
        records.append(_record(work, model, path, role, label, costs=costs or model))
    records[0] = records[0].model_copy(update={"kernels": kernels})
    curve: tuple[EpochRecord, ...] = ()
    if states:
        last = list(states.values())[-1]
        curve = tuple(last.curve)
        trained = {
            "epochs": len(curve),
            "best_epoch": last.best_epoch,
            "training_seconds": sum(state.training_seconds for state in states.values()),
        }
        records[0] = records[0].model_copy(update=trained)
    result = TrainingResult(model=records[0], curve=curve, companions=tuple(records[1:]))
    result.write(work.folder / RECORD_FILE)
    curves = [work.folder / _named("curve", part, ".csv") for part in states]
    boards = {_named(TENSORBOARD_FOLDER, part) for part in states}
    for old in work.folder.glob(f"{TENSORBOARD_FOLDER}*"):
        if old.name not in boards:  # of an earlier recipe
            shutil.rmtree(old)
    for old in set(work.folder.glob("curve*.csv")) - set(curves):
        old.unlink()
    return [*files, *curves, work.folder / RECORD_FILE]


def _named(what: str, part: str, suffix: str = "") -> str:
    return f"{what}_{part}{suffix}" if part else f"{what}{suffix}"


def _record(
    work: Work, model: "keras.Model", path: Path, role: str, label: str, *, costs: "keras.Model"
) -> ModelRecord:
    from edgekd import architectures, cost
    from edgekd.distill.evaluate import Predictor

    loss, *accuracy = Predictor(model).validated(work.data)
    return ModelRecord(
        role=role,
        path=path.relative_to(work.run).as_posix(),
        architecture=label,
        parameters=cost.count_parameters(costs),
        macs=cost.count_macs(costs),
        validation_accuracy=accuracy[0] if accuracy else None,
        validation_loss=None if accuracy else loss,
        weights_sha256=architectures.weights_sha256(model),
    )


def _telling(work: Work, network: Training) -> "Callback":
    from edgekd.data.batches import steps_per_epoch
    from edgekd.distill.callback import Callback

    steps = steps_per_epoch(work.data.train, batch_size=work.recipe.data.batch_size)
    batch_size = min(work.recipe.data.batch_size, len(work.data.train))

    class Tell(Callback):
        """Passes the training's numbers on to the run's progress."""

        def on_start(self, optimizer: "keras.Optimizer", state: "TrainingState") -> None:  # noqa: ARG002
            work.progress.training_started(network.epochs, steps, done_epochs=state.epoch, done_steps=state.step)

        def on_step(self, state: "TrainingState") -> None:
            work.progress.training_step(state.epoch + 1, state.step, state.means(), state.images_per_second(batch_size))

        def on_epoch(self, state: "TrainingState") -> None:
            work.progress.training_epoch(state.curve[-1])

    return Tell()
