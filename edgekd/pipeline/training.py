"""The training stages: a teacher on labels, a student on labels, the same student taught by the teacher."""

import functools
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.pipeline.results import TrainingResult
from edgekd.pipeline.stage import (
    CHECKPOINT_FILE,
    MODEL_FILE,
    RECORD_FILE,
    STUDENT_DISTILLED,
    STUDENT_LABELS,
    TEACHER,
    Stage,
    Work,
)
from edgekd.recipe import Network, Recipe
from edgekd.records import EpochRecord, ModelRecord
from edgekd.storage import require_file, sha256_file

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras

    from edgekd.distill.callback import Callback
    from edgekd.distill.objective import Objective
    from edgekd.distill.state import TrainingState
    from edgekd.distill.teacher import TeacherSource

CURVE_FILE = "curve.csv"
TENSORBOARD_FOLDER = "tensorboard"


def _settings(recipe: Recipe, *, role: str) -> Any:
    network = recipe.teacher if role == TEACHER else recipe.student
    saved = None if network.model is None else sha256_file(require_file(Path(network.model), f"{role} model"))
    return {
        "saved_model_sha256": saved,
        "users_code_sha256": _users_code_sha256(network.architecture),
        "seed": recipe.seed,
        "batch_size": recipe.data.batch_size,
        "augment": recipe.data.augment.model_dump(mode="json"),
        "network": network.model_dump(mode="json"),
        "distill": recipe.distill.model_dump(mode="json") if role == STUDENT_DISTILLED else None,
    }


def _users_code_sha256(architecture: str | None) -> str | None:
    """Returns the hash of the file that a `package.module:function` lies in: a changed network is another network.

    Other modules that it imports are not looked at. A module that is not found is refused when the network is built.
    """
    if architecture is None or ":" not in architecture:
        return None
    module = Path(*architecture.partition(":")[0].split("."))
    for folder in (Path.cwd(), *map(Path, sys.path)):
        for file in (folder / module / "__init__.py", folder / f"{module}.py"):
            if file.is_file():
                return sha256_file(file)
    return None


def _train_teacher(work: Work) -> list[Path]:
    from edgekd import architectures
    from edgekd.distill.objective import Objective

    network = work.recipe.teacher
    if network.model is not None:
        return _write(work, network, architectures.load_model(Path(network.model)), ())
    return _train(work, network, Objective(label_smoothing=network.label_smoothing), teacher=None)


def _train_student_on_labels(work: Work) -> list[Path]:
    from edgekd.distill.objective import Objective

    network = work.recipe.student
    return _train(work, network, Objective(label_smoothing=network.label_smoothing), teacher=None)


def _distil_student(work: Work) -> list[Path]:
    from edgekd import architectures
    from edgekd.distill import objective
    from edgekd.distill.teacher import LiveTeacher

    network = work.recipe.student
    goal = objective.from_recipe(work.recipe.distill, label_smoothing=network.label_smoothing)
    teacher = architectures.load_model(work.run / TEACHER / MODEL_FILE)
    return _train(work, network, goal, teacher=LiveTeacher(teacher, goal.teacher_taps))


def build(recipe: Recipe, network: Network, *, input_shape: tuple[int, ...], num_classes: int) -> "keras.Model":
    """Returns a section's network with its initial weights, or the saved model that it names."""
    from edgekd import architectures

    if network.model is not None:
        return architectures.load_model(Path(network.model))
    assert network.architecture is not None  # noqa: S101 - the recipe requires one of the two
    return architectures.create(
        network.architecture,
        input_shape=input_shape,
        num_classes=num_classes,
        seed=recipe.seed,
        arguments=network.arguments,
    )


def _train(work: Work, network: Network, goal: "Objective", *, teacher: "TeacherSource | None") -> list[Path]:
    from edgekd.data.augment import Augmentation
    from edgekd.distill.checkpoint import Checkpoint
    from edgekd.distill.logs import CsvLog, TensorBoardLog
    from edgekd.distill.loop import fit
    from edgekd.distill.stopping import StopRequest

    recipe, data = work.recipe, work.data
    student = build(recipe, network, input_shape=data.input_shape, num_classes=data.num_classes)
    stop = work.stop or StopRequest()
    checkpoint = Checkpoint(work.folder / CHECKPOINT_FILE, work.key, stop)
    if not checkpoint.resumes():  # the viewer would draw another training's curve into this one's
        shutil.rmtree(work.folder / TENSORBOARD_FOLDER, ignore_errors=True)
    with stop.deferred():
        state = fit(
            student,
            data,
            objective=goal,
            training=network,
            teacher=teacher,
            augmentation=Augmentation(**recipe.data.augment.model_dump()),
            batch_size=recipe.data.batch_size,
            seed=recipe.seed,
            checkpoint=checkpoint,
            callbacks=[
                _telling(work, network),
                CsvLog(work.folder / CURVE_FILE),
                TensorBoardLog(work.folder / TENSORBOARD_FOLDER),
            ],
        )
    files = _write(
        work,
        network,
        student,
        tuple(state.curve),
        best_epoch=state.best_epoch,
        training_seconds=state.training_seconds,
    )
    return [*files, work.folder / CURVE_FILE]


def _write(
    work: Work,
    network: Network,
    model: "keras.Model",
    curve: tuple[EpochRecord, ...],
    *,
    best_epoch: int | None = None,
    training_seconds: float | None = None,
) -> list[Path]:
    from edgekd import architectures, cost
    from edgekd.distill.evaluate import Predictor

    path = work.folder / MODEL_FILE
    architectures.save_model(model, path)
    _, validation_accuracy = Predictor(model).loss_and_accuracy(work.data.validation)
    record = ModelRecord(
        role=work.folder.name,
        path=path.relative_to(work.run).as_posix(),
        architecture=network.label,
        parameters=cost.count_parameters(model),
        macs=cost.count_macs(model),
        validation_accuracy=validation_accuracy,
        epochs=len(curve) or None,
        best_epoch=best_epoch,
        weights_sha256=architectures.weights_sha256(model),
        training_seconds=training_seconds,
    )
    TrainingResult(model=record, curve=curve).write(work.folder / RECORD_FILE)
    return [path, work.folder / RECORD_FILE]


def _telling(work: Work, network: Network) -> "Callback":
    from edgekd.data.batches import steps_per_epoch
    from edgekd.distill.callback import Callback

    steps = steps_per_epoch(work.data.train, batch_size=work.recipe.data.batch_size)
    batch_size = min(work.recipe.data.batch_size, len(work.data.train))

    class Tell(Callback):
        """Passes the training's numbers on to the run's progress."""

        def on_start(self, student: "keras.Model", optimizer: "keras.Optimizer", state: "TrainingState") -> None:  # noqa: ARG002
            work.progress.training_started(network.epochs, steps, done_epochs=state.epoch, done_steps=state.step)

        def on_step(self, state: "TrainingState") -> None:
            work.progress.training_step(state.epoch + 1, state.step, state.means(), state.images_per_second(batch_size))

        def on_epoch(self, state: "TrainingState") -> None:
            work.progress.training_epoch(state.curve[-1])

    return Tell()


STAGES = (
    Stage(TEACHER, (), functools.partial(_settings, role=TEACHER), _train_teacher),
    Stage(STUDENT_LABELS, (), functools.partial(_settings, role=STUDENT_LABELS), _train_student_on_labels),
    Stage(STUDENT_DISTILLED, (TEACHER,), functools.partial(_settings, role=STUDENT_DISTILLED), _distil_student),
)
