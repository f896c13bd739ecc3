"""One TensorFlow process of benchmark_training: Keras' fit, Keras' Distiller, or edgekd's own loop."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from training_turns import Turns

from edgekd import architectures, recipe
from edgekd.data.dataset import Dataset, Split, as_float32
from edgekd.distill import loop, objective
from edgekd.distill.cache import TeacherCache
from edgekd.distill.cached import CachedTeacher
from edgekd.distill.callback import Callback
from edgekd.distill.learners import Student
from edgekd.distill.state import TrainingState
from edgekd.distill.teacher import LiveTeacher, TeacherSource
from edgekd.teachers import open_teacher

_ENDLESS = 1_000_000  # epochs: the process is ended from outside


class Clock:
    """Tells the turns of steps and of the ends of epochs, after a warm-up."""

    def __init__(self, job: dict[str, Any], turns: Turns, facts: dict[str, Any]) -> None:
        self._turns, self._facts = turns, facts
        self._steps_left = job["warmup_steps"]
        self._warm_at = time.perf_counter() + job["warmup_seconds"]
        self._warm = False

    def step(self) -> None:
        """Is called after each step."""
        if self._warm:
            self._turns.step_done()
            return
        self._steps_left -= 1
        if self._steps_left <= 0 and time.perf_counter() >= self._warm_at:
            self._warm = True
            self._turns.ready(self._facts)

    def epoch(self) -> None:
        """Is called after each epoch."""
        if self._warm:
            self._turns.interrupted()


class KerasClock(keras.callbacks.Callback):
    """The clock as a callback of Keras."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Keras calls it after each step."""
        self._clock.step()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Keras calls it before each epoch."""
        self._clock.epoch()


class OwnClock(Callback):
    """The clock as a callback of edgekd's loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step(self, state: TrainingState) -> None:  # noqa: ARG002
        """The loop calls it after each step."""
        self._clock.step()

    def on_epoch(self, state: TrainingState) -> None:  # noqa: ARG002
        """The loop calls it after each epoch and its validation."""
        self._clock.epoch()


def dataset(job: dict[str, Any]) -> Dataset:
    """Returns the job's images and labels; one batch of them is the validation."""
    arrays = np.load(job["data"])
    images, labels = arrays["images"], arrays["labels"]
    few = Split(images[: job["batch_size"]], labels[: job["batch_size"]])
    classes = tuple(str(number) for number in range(job["classes"]))
    return Dataset(name="random", train=Split(images, labels), validation=few, test=few, class_names=classes)


def network(job: dict[str, Any], role: str, data: Dataset) -> keras.Model:
    """Returns the teacher or the student, freshly initialised."""
    return architectures.create(
        "resnet",
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        seed=0 if role == "student" else 1,
        arguments={"width": job[f"{role}_width"]},
    )


def run_keras(job: dict[str, Any], data: Dataset, student: keras.Model, clock: Clock) -> None:
    """Keras' own ways: fit on labels, or its Distiller."""
    model, weight, temperature = student, job["soft_weight"], job["temperature"]
    if job["variant"] == "distiller":
        # The default loss="kl_divergence" would compare raw logits; the object applies softmax and T².
        soft = keras.distillation.LogitsDistillation(temperature=temperature, loss=keras.losses.KLDivergence())
        teacher = network(job, "teacher", data)
        model = keras.distillation.Distiller(teacher, student, soft, student_loss_weight=1 - weight)
    model.compile(
        keras.optimizers.SGD(job["learning_rate"], momentum=job["momentum"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images = as_float32(np.asarray(data.train.images))
    settings = {"batch_size": job["batch_size"], "epochs": _ENDLESS, "verbose": 0}
    model.fit(images, data.train.labels, callbacks=[KerasClock(clock)], **settings)


def run_own(job: dict[str, Any], data: Dataset, student: keras.Model, clock: Clock) -> None:
    """The loop of edgekd, from labels or with a teacher, live or cached."""
    goal, source = objective.Objective(), None
    if job["variant"] != "labels":
        goal = taught(job)
        source = teacher_source(job, goal, data, student)
    training = recipe.section(
        recipe.Training,
        {
            "epochs": _ENDLESS,
            "learning_rate": job["learning_rate"],
            "momentum": job["momentum"],
            "nesterov": False,
            "weight_decay": 0.0,
            "schedule": "constant",
        },
    )
    loop.fit(
        student,
        data,
        objective=goal,
        training=training,
        teacher=source,
        views=1,
        batch_size=job["batch_size"],
        seed=0,
        callbacks=[OwnClock(clock)],
    )


def taught(job: dict[str, Any]) -> objective.Objective:
    """Returns labels and soft logits, and for the maps attention transfer at all three stages."""
    losses: list[dict[str, Any]] = [
        {"loss": "soft_logits", "weight": job["soft_weight"], "temperature": job["temperature"]}
    ]
    if job["variant"] == "cached_maps":
        taps = [[tap, tap] for tap in ("stage1", "stage2", "stage3")]
        losses.append({"loss": "attention_transfer", "weight": 10.0, "taps": taps})
    section = recipe.section(recipe.Distill, {"labels_weight": 1 - job["soft_weight"], "losses": losses})
    return objective.from_recipe(section, label_smoothing=0.0)


def teacher_source(
    job: dict[str, Any], goal: objective.Objective, data: Dataset, student: keras.Model
) -> TeacherSource:
    """Returns the teacher, live or from the job's cache, which is filled where it is not."""
    teacher = open_teacher(
        network(job, "teacher", data),
        wanted=goal.teacher_taps,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
    )
    (shapes,) = Student(student, goal.student_taps).shapes(data.input_shape)
    live = LiveTeacher(teacher, goal.teacher_outputs(shapes), input_shape=data.input_shape)
    if job["variant"] == "live":
        return live
    cached = CachedTeacher(
        TeacherCache(Path(job["cache"])),
        live,
        data.train,
        teacher_sha256=teacher.sha256 or "",
        engine=teacher.loader,
        preprocessing=data.record().preprocessing,
        dataset_fingerprint=data.fingerprint,
        augmentation=None,
        mixup=0.0,
        seed=0,
        batch_size=job["batch_size"],
    )
    cached.prepare(1)
    return cached


def main(job: dict[str, Any]) -> None:
    """Trains until the input ends."""
    turns = Turns()
    data = dataset(job)
    student = network(job, "student", data)
    facts = {
        "parameters": sum(int(np.prod(variable.shape)) for variable in student.trainable_variables),
        "version": f"tensorflow {tf.__version__}, keras {keras.__version__}",
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0)),
    }
    run = run_keras if job["variant"] in ("keras_fit", "distiller") else run_own
    run(job, data, student, Clock(job, turns, facts))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
