"""Optimizers and learning-rate schedules of a training section."""

import math

import keras
from keras import ops

from edgekd.errors import NonFiniteError, RecipeError
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

    Raises:
      RecipeError: more steps to accumulate over than an epoch has.

    References:
      Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (arXiv:1711.05101).
    """
    accumulated = training.accumulation_steps
    if accumulated > steps_per_epoch:
        raise RecipeError(
            f"accumulation_steps is {accumulated}, but an epoch has {steps_per_epoch} steps: the weights would hardly "
            "move. Lower it, or batch_size."
        )
    common = {
        "learning_rate": Schedule(training, steps_per_epoch=steps_per_epoch),
        # AdamW takes no None.
        "weight_decay": training.weight_decay or (0.0 if training.optimizer == "adamw" else None),
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


def check_moving(optimizer: keras.Optimizer) -> None:
    """Raises NonFiniteError if no step so far has moved the weights: the optimizer skips gradients that overflow."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if int(inner.iterations) == 0:
        raise NonFiniteError(
            "in float16 the gradients of every step have overflowed, so the weights have not moved. Lower the "
            "weights of the losses, or set precision: mixed_bfloat16."
        )


def last_learning_rate(optimizer: keras.Optimizer) -> float:
    """Returns the rate of the last update of the weights; of the first before there was one."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    accumulated = inner.gradient_accumulation_steps or 1
    last = inner.iterations * accumulated - 1  # in steps: that is what the schedule counts
    return float(inner._learning_rate(ops.maximum(last, 0)))
