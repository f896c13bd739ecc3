"""The training loop, for labels and for every way to teach."""

import time
from collections.abc import Sequence

import keras
import tensorflow as tf

from edgekd.data.augment import Augmentation
from edgekd.data.batches import steps_per_epoch, training_batches
from edgekd.data.dataset import Dataset
from edgekd.distill import optimizers
from edgekd.distill.callback import Callback
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.evaluate import Predictor
from edgekd.distill.objective import Objective
from edgekd.distill.state import TrainingState, snapshot
from edgekd.distill.step import TrainStep
from edgekd.distill.teacher import TeacherSource
from edgekd.recipe import Training


def fit(
    student: keras.Model,
    data: Dataset,
    *,
    objective: Objective,
    training: Training,
    teacher: TeacherSource | None = None,
    augmentation: Augmentation | None = None,
    batch_size: int,
    seed: int,
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainingState:
    """Trains the student and leaves it with the weights of its best epoch by validation accuracy.

    Args:
      student: the network; the only one whose weights change.
      data: its training split is learned from, its validation split selects the epoch; the test split is not read.
      objective: what is minimised.
      training: epochs, optimizer and schedule.
      teacher: gives the outputs that the objective's terms compare with.
      augmentation: the random views of training images; student and teacher see the same view.
      batch_size: samples a step.
      seed: decides the order and the views, with the epoch and the sample alone.
      checkpoint: where to go on from, and where to save after each epoch and on a stop.
      callbacks: called in order after each step and epoch.

    Returns:
      The final state, with the learning curve.

    Raises:
      NonFiniteError: a loss became NaN or infinite; the weights on disk are those of the last checkpoint.
    """
    steps = steps_per_epoch(data.train, batch_size=batch_size)
    schedule = optimizers.Schedule(training, steps_per_epoch=steps)
    optimizer = optimizers.build(training, schedule, student.trainable_variables)
    step = TrainStep(student, teacher, objective, optimizer)
    predictor = Predictor(student)
    state = TrainingState(names=step.names)
    if checkpoint:
        checkpoint.restore(student, optimizer, state)
    for callback in callbacks:
        callback.on_start(student, optimizer, state)
    while not state.ended(epochs=training.epochs, early_stopping=training.early_stopping):
        batches = training_batches(
            data.train,
            batch_size=batch_size,
            seed=seed,
            epoch=state.epoch,
            augmentation=augmentation,
            first_step=state.step,
        )
        for batch in batches:
            started = time.perf_counter()
            inputs = teacher.inputs(batch) if teacher else ()
            values = step(tf.constant(batch.images), tf.constant(batch.labels), inputs)
            state.add(values.numpy(), batch, time.perf_counter() - started)
            for callback in callbacks:
                callback.on_step(state)
            if checkpoint:
                checkpoint.after_step(state)
        state.end_epoch(
            validation=predictor.loss_and_accuracy(data.validation),
            learning_rate=float(schedule(optimizer.iterations - 1)),
            batch_size=min(batch_size, len(data.train)),
            weights=snapshot(student.variables),
        )
        for callback in callbacks:
            callback.on_epoch(state)
        if checkpoint:
            checkpoint.after_epoch(state)
    for variable, value in zip(student.variables, state.best_weights, strict=True):
        variable.assign(value)
    return state
