"""Magnitude pruning while a network trains: unstructured, or n of every m weights."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekd.errors import ModelError, RecipeError
from edgekd.recipe.sparsity import UNSTRUCTURED, n_of_m
from edgekd.sparsify import masks
from edgekd.sparsify.cloning import Replacement, call_counts, cloned, plain, require_graph
from edgekd.sparsify.kernels import kernel_of, layers_by_path, require_known, variable_of
from edgekd.sparsify.schedule import PolynomialSchedule, check_sparsity
from edgekd.sparsify.wrapping import PACKAGE, Scheduled, substituted


def prune(
    model: keras.Model,
    *,
    schedule: PolynomialSchedule,
    sparsity: float | Mapping[str, float] | None = None,
    pattern: str = UNSTRUCTURED,
    exclude: Sequence[str] = (),
) -> keras.Model:
    """Returns a network with the same layers, whose kernels lose their smallest weights while it trains.

    Each pruned layer runs with kernel · mask. At the schedule's steps a training forward computes the mask anew from
    the magnitudes; mask and step are variables of the network, so that checkpoints and files hold all that decides how
    it goes on. A layer loses the nearest whole number of weights to sparsity · size, halves upwards; of equal
    magnitudes the first stay.

    In inference the masks are those of the *final* sparsity from the first step on. So validation judges, and the
    training loop selects, what `strip` will give, and no epoch wins for having been pruned less.

    No gradient reaches a removed weight, as in the paper, but its value stays, so that it may return when the mask is
    next computed.

    `n:m` keeps n of every m consecutive weights along the *input channels*, for each position of the kernel and each
    output channel: the axis over which a layer sums, since sparse matrix units skip terms of the sum (Mishra et al.).
    Along the schedule each group loses the nearest whole number to s_t · m.

    Args:
      model: a built functional or sequential network; it stays as it is.
      schedule: when the masks change.
      sparsity: the share of each kernel's weights that becomes zero, in [0, 1); or a mapping from layers' names
        (`outer/inner` in nested models) to theirs, which then are the only ones. For `n:m` it follows from the pattern.
      pattern: `unstructured`, or n:m such as `2:4`.
      exclude: names of layers to leave dense.

    Returns:
      A network to train, and then to `strip`. Without a mapping, all dense layers, convolutions and pointwise parts of
      separable convolutions are pruned, for n:m those whose input channels are a multiple of m; depthwise kernels,
      which hold few weights, only when they are named.

    Raises:
      RecipeError: a sparsity outside [0, 1), a pattern that is none, or both a sparsity and n:m.
      ModelError: a layer that does not exist or cannot be pruned, nothing left to prune, or a subclassed network.

    References:
      Zhu and Gupta, To prune, or not to prune, 2017 (arXiv:1710.01878). Mishra et al., Accelerating Sparse Deep Neural
      Networks, 2021 (arXiv:2104.08378), for 2:4.
    """
    require_graph(model)
    groups = n_of_m(pattern)
    share: float | Mapping[str, float]
    if groups is None and sparsity is not None:
        share = sparsity
    elif groups is not None and sparsity is None:
        share = 1.0 - groups[0] / groups[1]
    else:
        raise RecipeError(
            f"pattern {pattern!r} with sparsity {sparsity!r}: give a sparsity for unstructured pruning, and none for "
            "n:m, whose sparsity is 1 − n/m."
        )
    wanted = _wanted(model, share, exclude, multiple=groups[1] if groups else 1)
    counts = call_counts(model)

    def replace(layer: keras.layers.Layer) -> Replacement | None:
        if id(layer) not in wanted:
            return None
        new = PrunedKernel(
            plain(layer),
            sparsity=wanted[id(layer)],
            group_size=groups[1] if groups else None,
            schedule=dataclasses.asdict(schedule),
            calls_per_step=counts[id(layer)],
        )
        return new, lambda: new.layer.set_weights(layer.get_weights())

    return cloned(model, replace)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PrunedKernel(Scheduled):
    """A dense or convolutional layer whose kernel is multiplied by a mask that follows a schedule."""

    def __init__(
        self, layer: keras.layers.Layer, *, sparsity: float, group_size: int | None = None, **settings: Any
    ) -> None:
        """Wraps a layer.

        Args:
          layer: has a kernel.
          sparsity: the share of zeros at the end.
          group_size: m of n:m; None for unstructured.
          **settings: of a scheduled layer.
        """
        super().__init__(layer, **settings)
        self.sparsity = sparsity
        self.group_size = group_size

    def add_state(self) -> None:
        """Makes the mask."""
        super().add_state()
        shape = variable_of(self.layer).shape
        self.mask = self.add_weight(shape=shape, dtype="bool", initializer="ones", trainable=False, name="mask")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns what the wrapped layer gives with the masked kernel."""
        variable = variable_of(self.layer)
        kernel = tf.convert_to_tensor(variable)
        mask = self._training_mask(kernel) if training else self._final_mask(kernel)
        with substituted(self.layer, [(variable, tf.where(mask, kernel, 0.0))]):
            return self.layer(inputs)

    def stripped_weights(self) -> list[np.ndarray[Any, Any]]:
        """Returns the wrapped layer's weights with the final zeros."""
        variable = variable_of(self.layer)
        mask = self._final_mask(tf.convert_to_tensor(variable)).numpy()
        return [
            np.where(mask, weight.numpy(), np.float32(0)) if weight is variable else weight.numpy()
            for weight in self.layer.weights
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "sparsity": self.sparsity, "group_size": self.group_size}

    def _training_mask(self, kernel: Any) -> Any:
        step, first = self.step()
        old = tf.convert_to_tensor(self.mask)
        # Assigned outside of the branches: within a StatelessScope, what is assigned inside of one cannot be had.
        mask = tf.cond(first & self.is_change(step), lambda: self._mask(kernel, step), lambda: old)
        self.mask.assign(mask)
        return mask

    def _final_mask(self, kernel: Any) -> Any:
        old = tf.convert_to_tensor(self.mask)
        return tf.cond(self.is_over(), lambda: old, lambda: self._mask(kernel, self.schedule.end_step))

    def _mask(self, kernel: Any, step: Any) -> Any:
        kernel = tf.stop_gradient(kernel)
        step = tf.convert_to_tensor(step)
        if self.group_size is None:
            return masks.largest(kernel, self.removed(step, self.sparsity, tf.size(kernel)))
        kind = kernel_of(self.layer)
        assert kind is not None  # noqa: S101 - it was chosen for its kernel
        assert kind.input_axis is not None  # noqa: S101 - and for its input channels
        removed = self.removed(step, self.sparsity, self.group_size)
        return masks.largest_of_groups(kernel, axis=kind.input_axis, size=self.group_size, removed=removed)


def _wanted(
    model: keras.Model, sparsity: float | Mapping[str, float], exclude: Sequence[str], *, multiple: int
) -> dict[int, float]:
    """Returns the final sparsity of each layer to prune, by the layer's id()."""
    known = layers_by_path(model)
    require_known(exclude, known, model=model.name)
    if isinstance(sparsity, Mapping):
        require_known(sparsity, known, model=model.name)
        for name, share in sparsity.items():
            check_sparsity(f"sparsity of layer {name!r}", share)
            if kernel_of(known[name]) is None:
                raise ModelError(
                    f"layer {name!r} ({type(known[name]).__name__}) of model {model.name!r} has no kernel to prune."
                )
        wanted = {id(known[name]): share for name, share in sparsity.items() if name not in exclude}
    else:
        check_sparsity("sparsity", sparsity)
        prunable = (layer for name, layer in known.items() if name not in exclude and _prunable(layer, multiple))
        wanted = {id(layer): sparsity for layer in prunable}
    if not wanted:
        suffix = f" whose input channels are a multiple of {multiple}" if multiple > 1 else ""
        raise ModelError(f"model {model.name!r} has nothing to prune: no dense or convolutional layer is left{suffix}.")
    return wanted


def _prunable(layer: keras.layers.Layer, multiple: int) -> bool:
    kernel = kernel_of(layer)
    if kernel is None or kernel.input_axis is None:
        return False
    return variable_of(layer).shape[kernel.input_axis] % multiple == 0
