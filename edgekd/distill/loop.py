"""The training loop, for labels and for every way to teach."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from edgekd.data.augment import Augmentation
from edgekd.data.batches import Batch, steps_per_epoch, training_batches
from edgekd.data.dataset import UNLABELLED, Dataset
from edgekd.data.prefetch import prefetched
from edgekd.distill import optimizers, precision
from edgekd.distill.callback import Callback
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.distribution import Replicas
from edgekd.distill.evaluate import Predictor
from edgekd.distill.learners import Learners, Student
from edgekd.distill.lesson import Lesson
from edgekd.distill.objective import Objective
from edgekd.distill.state import TrainingState, snapshot
from edgekd.distill.step import TrainStep
from edgekd.distill.teacher import TeacherSource
from edgekd.errors import RecipeError
from edgekd.recipe import Training


def fit(
    student: keras.Model | Learners,
    data: Dataset,
    *,
    objective: Objective,
    training: Training,
    teacher: TeacherSource | None = None,
    augmentation: Augmentation | None = None,
    mixup: float = 0.0,
    views: int | None = None,
    batch_size: int,
    seed: int,
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
) -> TrainingState:
    """Trains the student and leaves it with the weights of its best epoch by validation accuracy.

    Where networks reconstruct (`data.task`), by validation loss.

    Args:
      student: the network; or several learners, of which the first selects the epoch.
      data: its training split is learned from, its validation split selects the epoch; the test split is not read.
      objective: what is minimised.
      training: epochs, optimizer and schedule.
      teacher: gives the outputs that the objective's terms compare with; None where learners teach each other.
      augmentation: the random views of training images; student and teacher see the same view.
      mixup: α of the mixing of images, 0 for none.
      views: how many different views of each image there are, over all epochs; as many as epochs by default.
      batch_size: samples a step, over all workers.
      seed: decides the order and the views, with the epoch and the sample alone, and the adapters' initial weights.
      checkpoint: where to go on from, and where to save after each epoch and on a stop.
      callbacks: called in order after each step and epoch.
      strategy: shares each step out among devices or worker processes (see `distribution`); of several workers, which
        all call this with the same arguments, the first alone saves and is watched by the callbacks.

    Returns:
      The final state, with the learning curve.

    Raises:
      NonFiniteError: a loss became NaN or infinite; the weights on disk are those of the last checkpoint.
      RecipeError: a step that cannot be shared out, or a loss that needs the class of samples that have none; what is
        of classes where networks reconstruct.
    """
    objective = objective.on(data)
    if data.reconstructs and mixup:
        raise RecipeError("mixup blends samples and their classes, which task reconstruction has not: set it 0.")
    replicas = Replicas(strategy)
    replicas.prepare(objective, training, batch_size=min(batch_size, len(data.train)))
    objective.check_labels(data.train.labels, mixup=mixup)
    learners: Learners = Student(student, objective.student_taps) if isinstance(student, keras.Model) else student
    shapes = teacher.shapes if teacher else None
    lesson = Lesson(learners, objective, input_shape=data.input_shape, teacher_shapes=shapes, seed=seed)
    networks = [variable for model in learners.models for variable in model.variables]
    steps = steps_per_epoch(data.train, batch_size=batch_size)
    optimizer = optimizers.build(training, lesson.trainable_variables, steps_per_epoch=steps)
    complete = bool((data.train.labels != UNLABELLED).all())
    schedules = tuple(objective.schedules())
    step = TrainStep(lesson, optimizer, schedules=schedules, complete=complete, xla=training.xla, replicas=replicas)
    predictor = Predictor(learners.models[0])
    state = TrainingState(names=step.names)
    if checkpoint:
        checkpoint.restore(lesson.variables, optimizer, state)
    replicas.require_same_start([*lesson.variables, *optimizer.variables], (state.epoch, state.step))
    if not replicas.is_chief:
        checkpoint, callbacks = None, ()
    for callback in callbacks:
        callback.on_start(optimizer, state)
    while not state.ended(epochs=training.epochs, early_stopping=training.early_stopping):
        batches = training_batches(
            data.train,
            batch_size=batch_size,
            seed=seed,
            epoch=state.epoch,
            augmentation=augmentation,
            mixup=mixup,
            views=views,
            first_step=state.step,
            shard=replicas.worker,
        )
        started = time.perf_counter()
        with precision.applied(training.precision, (*learners.models, *lesson.helpers)):
            for batch, given in prefetched(_taught(batches, teacher)):
                values = objective.scheduled_values(state.epoch * steps + state.step, steps_per_epoch=steps)
                measured = step(_tensors(batch), given, values).numpy()
                now = time.perf_counter()
                state.add(measured, batch, now - started)
                started = now
                for callback in callbacks:
                    callback.on_step(state)
                if checkpoint:
                    checkpoint.after_step(state)
        optimizers.check_moving(optimizer)
        validation_loss, *validation_accuracy = replicas.from_chief(lambda: predictor.validated(data))
        state.end_epoch(
            validation=(validation_loss, validation_accuracy[0] if validation_accuracy else None),
            learning_rate=optimizers.last_learning_rate(optimizer),
            batch_size=min(batch_size, len(data.train)),
            weights=snapshot(networks),
        )
        for callback in callbacks:
            callback.on_epoch(state)
        if checkpoint:
            checkpoint.after_epoch(state)
    for variable, value in zip(networks, state.best_weights, strict=True):
        variable.assign(value)
    return state


def _tensors(batch: Batch) -> dict[str, tf.Tensor]:
    arrays = {
        "images": batch.images,
        "labels": batch.labels,
        "partner_labels": batch.partner_labels,
        "partner_weight": batch.partner_weight,
    }
    return {name: tf.constant(array) for name, array in arrays.items() if array is not None}


def _taught(
    batches: Iterator[Batch], teacher: TeacherSource | None
) -> Iterator[tuple[Batch, Mapping[str, Any] | None]]:
    for batch in batches:
        yield batch, teacher.outputs(batch) if teacher else None
