"""Optimizers and learning-rate schedules of a training section."""

import math

import keras
from keras import ops

from edgekd.recipe import Training


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step: linear warm-up, then constant, cosine or step decay.

    Warm-up: rate · (step + 1) / warmup_steps. Cosine: rate · ½ (1 + cos(π · progress)) with progress from 0 after the
    warm-up to 1 after the last step. Step: rate · factor^(number of boundaries reached).

    References:
      Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017 (arXiv:1608.03983), without
      restarts.
    """

    def __init__(self, training: Training, *, steps_per_epoch: int) -> None:
        super().__init__()
        self._training = training
        self._steps_per_epoch = steps_per_epoch

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the rate of a step, counted from 0."""
        step = ops.cast(step, "float32")
        warmup_steps = round(self._training.warmup_epochs * self._steps_per_epoch)
        rate = self._training.learning_rate * self._decay(step, warmup_steps)
        if not warmup_steps:
            return rate
        return ops.where(step < warmup_steps, self._training.learning_rate * (step + 1.0) / warmup_steps, rate)

    def _decay(self, step: keras.KerasTensor, warmup_steps: int) -> keras.KerasTensor:
        if self._training.schedule == "cosine":
            decay_steps = self._training.epochs * self._steps_per_epoch - warmup_steps
            progress = ops.clip((step - warmup_steps) / decay_steps, 0.0, 1.0)
            return 0.5 * (1.0 + ops.cos(math.pi * progress))
        decay = ops.ones_like(step)
        for epoch in self._training.step_epochs:
            decay = ops.where(step >= epoch * self._steps_per_epoch, decay * self._training.step_factor, decay)
        return decay

    def get_config(self) -> dict[str, object]:
        """Returns what made the schedule."""
        return {"training": self._training.model_dump(mode="json"), "steps_per_epoch": self._steps_per_epoch}


def build(training: Training, variables: list[keras.Variable], *, steps_per_epoch: int) -> keras.Optimizer:
    """Returns a built optimizer for the variables that follows the training's schedule.

    Weight decay is decoupled from the gradient and applied to weights of two or more dimensions only; biases and
    normalisation parameters are spared. With accumulation, the optimizer averages the gradients of so many steps and
    moves the weights after the last of them. In float16 the loss is scaled so that small gradients survive.

    References:
      Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (arXiv:1711.05101).
    """
    accumulated = training.accumulation_steps
    common = {
        "learning_rate": Schedule(training, steps_per_epoch=steps_per_epoch),
        "weight_decay": training.weight_decay or None,
        "global_clipnorm": training.clip_norm,
        "gradient_accumulation_steps": accumulated if accumulated > 1 else None,
    }
    optimizer: keras.Optimizer
    if training.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=training.momentum, nesterov=training.nesterov, **common)
    else:
        family = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[training.optimizer]
        optimizer = family(**common)
    if training.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if len(v.shape) < 2])
    if training.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


def last_learning_rate(optimizer: keras.Optimizer) -> float:
    """Returns the rate of the last update of the weights; of the first before there was one."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return float(inner._learning_rate(ops.maximum(inner._iterations - 1, 0)))
