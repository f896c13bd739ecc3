"""A network's logits, loss and accuracy on a split, in inference mode."""

import keras
import numpy as np
import scipy.special
import tensorflow as tf

from edgekd.data.batches import ordered_batches
from edgekd.data.dataset import Split


class Predictor:
    """Runs a network over a split; compiled once, whatever the size of the last batch."""

    def __init__(self, model: keras.Model, *, batch_size: int = 256) -> None:
        self._batch_size = batch_size
        # reduce_retracing: the last batch is smaller.
        self._forward = tf.function(lambda images: model(images, training=False), reduce_retracing=True)

    def logits(self, split: Split) -> np.ndarray:
        """Returns [samples, classes] float32 logits, in the split's order."""
        batches = ordered_batches(split, batch_size=self._batch_size)
        return np.concatenate([np.asarray(self._forward(tf.constant(batch.images)), np.float32) for batch in batches])

    def loss_and_accuracy(self, split: Split) -> tuple[float, float]:
        """Returns the mean cross-entropy in nats, without smoothing, and the top-1 accuracy."""
        logits = self.logits(split).astype(np.float64)
        log_probabilities = scipy.special.log_softmax(logits, axis=-1)
        loss = -log_probabilities[np.arange(len(split)), split.labels].mean()
        return float(loss), float((logits.argmax(axis=-1) == split.labels).mean())
