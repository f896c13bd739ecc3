"""Callbacks: what watches a training without changing it."""

import keras

from edgekd.distill.state import TrainingState


class Callback:
    """Base of logs and progress: override what is needed."""

    def on_start(self, optimizer: keras.Optimizer, state: TrainingState) -> None:
        """Called once before the first step, with the state that the training goes on from."""

    def on_step(self, state: TrainingState) -> None:
        """Called after each step."""

    def on_epoch(self, state: TrainingState) -> None:
        """Called after each epoch and its validation."""
