"""Whole channels that fade out, one after the other, while a network trains."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekd.sparsify.cloning import Replacement, call_counts, cloned, plain
from edgekd.sparsify.coupling import coupled
from edgekd.sparsify.importance import Importance
from edgekd.sparsify.layer_kinds import DEPTHWISE, PARAMETRIC, TRANSPOSED
from edgekd.sparsify.schedule import PolynomialSchedule
from edgekd.sparsify.selection import Budget, Scope, select
from edgekd.sparsify.shrinking import require_removable, zeroed_weights
from edgekd.sparsify.wrapping import PACKAGE, Scheduled, substituted


def prune_channels(
    model: keras.Model,
    *,
    schedule: PolynomialSchedule,
    amount: float,
    of: Budget = "macs",
    scope: Scope = "layer",
    importance: Importance = "l2",
    divisor: int = 8,
    exclude: Sequence[str] = (),
) -> keras.Model:
    """Returns a network with the same layers, of whose channels some become zero while it trains.

    Which channels go, and in which order, is decided now, by the importance that their weights have now: give a
    *trained* network. The schedule says how many of them have gone: at s_t, the nearest whole number to s_t times those
    that go from their group, and all of them at the end. Coupled channels go at the same step in every layer: the
    kernels, biases and batch-normalisation parameters that make them are masked, so no gradient reaches them.

    In inference all of them have gone from the first step on, so that validation judges what `strip` will give. After
    that, `shrink` without an amount takes the channels out of the plain network without changing its outputs.

    Args:
      model: a built functional or sequential network of standard layers, channels last; it stays as it is.
      schedule: when channels go; `initial` is the share of those to go that goes at once.
      amount: as for `shrink`; so are the arguments that follow.
      of: `macs`, `parameters` or `channels`.
      scope: `layer` or `global`.
      importance: `l1`, `l2` or `bn_gamma`.
      divisor: the channels that are left are a multiple of it.
      exclude: names of layers that keep all channels.

    Raises:
      RecipeError: an argument that is out of range.
      ModelError: layers whose channels cannot be followed, or a budget that cannot be reached.
    """
    coupling = coupled(model, exclude=exclude)
    require_removable(coupling, model.name)
    selection = select(coupling, amount, of=of, scope=scope, importance=importance, divisor=divisor)
    uses = {id(use.layer): use for use in coupling.uses if isinstance(use.layer, PARAMETRIC)}
    counts = call_counts(model)

    def replace(layer: keras.layers.Layer) -> Replacement | None:
        use = uses.get(id(layer))
        if use is None or selection.kept[coupling.outputs(use)].all():
            return None
        classes = coupling.outputs(use)
        # A channel goes once so many of its group have gone; one that stays waits for more than ever go.
        turns = np.where(selection.kept, selection.removals, selection.order)[classes]
        new = MaskedChannels(
            plain(layer),
            channels=len(classes),
            schedule=dataclasses.asdict(schedule),
            calls_per_step=counts[id(layer)],
        )

        def set_weights() -> None:
            new.layer.set_weights(layer.get_weights())
            new.turns.assign(turns)
            new.removals.assign(selection.removals[classes])

        return new, set_weights

    return cloned(model, replace)


@keras.saving.register_keras_serializable(package=PACKAGE)
class MaskedChannels(Scheduled):
    """A layer whose weights that make some of its channels become zero by a schedule."""

    def __init__(self, layer: keras.layers.Layer, *, channels: int, **settings: Any) -> None:
        """Wraps a layer.

        Args:
          layer: makes or normalises channels.
          channels: how many.
          **settings: of a scheduled layer.
        """
        super().__init__(layer, **settings)
        self.channels = channels

    def add_state(self) -> None:
        """Makes the numbers that say when each channel goes."""
        super().add_state()

        def integers(name: str) -> Any:
            return self.add_weight(
                shape=(self.channels,), dtype="int32", initializer="zeros", trainable=False, name=name
            )

        self.turns, self.removals = integers("turns"), integers("removals")

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns what the wrapped layer gives without the channels that have gone; `mask` is a normalisation's."""
        kept = self._kept(self.step()[0] if training else tf.constant(self.schedule.end_step))
        # The mean is what a stripped layer normalises with; in training it is only followed.
        untouched = ("depthwise_kernel", "moving_variance", *(("moving_mean",) if training else ()))
        ids = {id(getattr(self.layer, name, None)) for name in untouched}
        values = [
            (weight, tf.where(_spread(self.layer, weight, kept), tf.convert_to_tensor(weight), 0.0))
            for weight in self.layer.weights
            if id(weight) not in ids
        ]
        with substituted(self.layer, values):
            if isinstance(self.layer, keras.layers.BatchNormalization):
                return self.layer(inputs, training=training, mask=mask)
            return self.layer(inputs)

    def stripped_weights(self) -> list[np.ndarray[Any, Any]]:
        """Returns the wrapped layer's weights with the zeros of all channels that go."""
        return zeroed_weights(self.layer, self._kept(tf.constant(self.schedule.end_step)).numpy())

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "channels": self.channels}

    def _kept(self, step: Any) -> Any:
        return tf.convert_to_tensor(self.turns) >= self.removed(step, 1.0, tf.convert_to_tensor(self.removals))


def _spread(layer: keras.layers.Layer, variable: keras.Variable, kept: Any) -> Any:
    """Returns the mask of channels in a form that fits a variable of the layer."""
    if isinstance(layer, DEPTHWISE) and variable is layer.kernel:
        return tf.reshape(kept, variable.shape[-2:])
    if isinstance(layer, TRANSPOSED) and variable is layer.kernel:
        return kept[:, None]
    return kept
