"""Logits as the losses on class probabilities need them: standardised, and cut into the label's class and the rest."""

from typing import NamedTuple

import keras
from keras import ops

# What the released code adds to the standard deviation.
_LEAST_DEVIATION = 1e-7


class Decoupled(NamedTuple):
    """Logits cut at each sample's label.

    Attributes:
      target: [batch], the logit of the label's class.
      rest: [batch, classes - 1], the logits of the other classes, in order.
    """

    target: keras.KerasTensor
    rest: keras.KerasTensor

    @property
    def log_odds(self) -> keras.KerasTensor:
        """[batch], of the label's class against all others together.

        -softplus(-log_odds) is the logarithm of its probability, and -softplus(log_odds) that of the others' sum: both
        exact where one of the two is near zero.
        """
        return self.target - ops.logsumexp(self.rest, axis=-1)


def decoupled(logits: keras.KerasTensor, labels: keras.KerasTensor) -> Decoupled:
    """Returns [batch, classes] logits cut at the [batch] labels."""
    label = ops.expand_dims(ops.cast(labels, "int32"), axis=-1)
    others = ops.arange(logits.shape[-1] - 1, dtype="int32")[None, :]
    others = others + ops.cast(others >= label, "int32")
    target = ops.take_along_axis(logits, label, axis=-1)
    return Decoupled(ops.squeeze(target, axis=-1), ops.take_along_axis(logits, others, axis=-1))


def standardized(logits: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's logits with mean 0 and (sample) standard deviation 1; equal logits become zeros.

    (z - mean) / (std + 1e-7), with the sum of squares divided by classes - 1 as in the released code. The paper divides
    by the number of classes, which is the same as a temperature sqrt(1 - 1 / classes) times as high.

    References:
      Sun, Ren, Li, Wang and Cao, Logit Standardization in Knowledge Distillation, 2024 (arXiv:2403.01427).
    """
    centred = logits - ops.mean(logits, axis=-1, keepdims=True)
    # Dividing by the largest value first changes nothing in the result and keeps the squares finite.
    peak = ops.max(ops.abs(centred), axis=-1, keepdims=True)
    flat = peak == 0
    peak = ops.stop_gradient(ops.where(flat, 1.0, peak))
    scaled = centred / peak
    variance = ops.sum(ops.square(scaled), axis=-1, keepdims=True) / max(logits.shape[-1] - 1, 1)
    deviation = ops.sqrt(ops.where(flat, 1.0, variance))
    return ops.where(flat, 0.0, scaled / (deviation + _LEAST_DEVIATION / peak))
