"""A network's outputs, loss and accuracy on a split, in inference mode."""

from collections.abc import Callable

import keras
import numpy as np
import scipy
import tensorflow as tf

from edgekd.data.batches import ordered_batches
from edgekd.data.dataset import Dataset, Split


class Predictor:
    """Runs a network over a split; compiled once, whatever the size of the last batch."""

    def __init__(self, model: keras.Model, *, batch_size: int = 256) -> None:
        self._model = model
        self._batch_size = batch_size
        self._compiled: dict[tuple[int, ...], Callable[[tf.Tensor], tf.Tensor]] = {}

    def logits(self, split: Split) -> np.ndarray:
        """Returns [samples, classes] float32 logits, or [samples, ...] reconstructions, in the split's order."""
        forward = self._forward(split.images.shape[1:])
        batches = ordered_batches(split, batch_size=self._batch_size)
        return np.concatenate([forward(tf.constant(batch.images)).numpy() for batch in batches]).astype(np.float32)

    def _forward(self, shape: tuple[int, ...]) -> Callable[[tf.Tensor], tf.Tensor]:
        if shape not in self._compiled:
            # The batch is left open: the last one is smaller.
            images = tf.TensorSpec((None, *shape), tf.float32)
            forward = tf.function(lambda batch: self._model(batch, training=False), autograph=False)
            self._compiled[shape] = forward.get_concrete_function(images)
        return self._compiled[shape]

    def mean_squared_error(self, split: Split) -> float:
        """Returns the mean squared difference of a split's samples and their reconstructions."""
        total, values = 0.0, 0
        forward = self._forward(split.images.shape[1:])
        for batch in ordered_batches(split, batch_size=self._batch_size):
            outputs = forward(tf.constant(batch.images)).numpy()
            total += float(np.square(outputs - batch.images, dtype=np.float64).sum())
            values += outputs.size
        return total / values

    def validated(self, data: Dataset) -> tuple[float, ...]:
        """Returns the loss on the validation split, and the accuracy there unless networks reconstruct."""
        if data.reconstructs:
            return (self.mean_squared_error(data.validation),)
        return self.loss_and_accuracy(data.validation)

    def loss_and_accuracy(self, split: Split) -> tuple[float, float]:
        """Returns the mean cross-entropy in nats, without smoothing, and the top-1 accuracy."""
        logits = self.logits(split).astype(np.float64)
        log_probabilities = scipy.special.log_softmax(logits, axis=-1)
        loss = -log_probabilities[np.arange(len(split)), split.labels].mean()
        return float(loss), float((logits.argmax(axis=-1) == split.labels).mean())
