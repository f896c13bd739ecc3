"""Whole channels removed for good: a smaller plain network."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from edgekd.errors import ModelError
from edgekd.sparsify.cloning import Replacement, cloned, plain
from edgekd.sparsify.coupling import Coupling, Use, coupled
from edgekd.sparsify.importance import Importance, dead
from edgekd.sparsify.layer_kinds import DEPTHWISE, MAKING, SEPARABLE, TRANSPOSED, pads_channels
from edgekd.sparsify.selection import Budget, Scope, chosen, groups, select


def shrink(
    model: keras.Model,
    *,
    amount: float | None = None,
    of: Budget = "macs",
    scope: Scope = "layer",
    importance: Importance = "l2",
    divisor: int = 8,
    exclude: Sequence[str] = (),
) -> keras.Model:
    """Returns a smaller plain network without some of the channels, with the same layer names.

    Its outputs are those of the given network with the kernels, biases and batch-normalisation parameters of the
    removed channels set to zero, but for the rounding of shorter sums. Channels that meet in a residual sum or product,
    and those of depthwise stages, share one decision (see `coupling`). The classes, the network's inputs and at least
    one channel of every layer stay.

    Without an amount only channels go that are zero already, so that the outputs stay: this is for a network that
    `prune_channels` has trained and `strip` made plain. With an amount the network loses what it did and is to be
    trained on.

    Args:
      model: a plain functional or sequential network of standard layers, channels last; it stays as it is.
      amount: the share of multiply-accumulates, parameters or channels to remove at least; None for channels of zeros.
      of: what the amount is a share of, `macs`, `parameters` or `channels`; see `selection.select` for this and
        the following.
      scope: `layer` or `global`.
      importance: `l1`, `l2` or `bn_gamma`.
      divisor: the channels that are left are a multiple of it.
      exclude: names of layers that keep all channels which they take and give.

    Raises:
      RecipeError: an amount outside [0, 1), or another argument that is out of range.
      ModelError: layers whose channels cannot be followed (all are named), a budget that cannot be reached, no channels
        of zeros, or no removable channels at all.
    """
    coupling = coupled(model, exclude=exclude)
    require_removable(coupling, model.name)
    if amount is None:
        zero = dead(coupling)
        # A group of nothing but zeros keeps one of them: a layer needs a channel.
        gone = [each for group in groups(coupling) for each in _but_one(group, zero)]
        if not gone:
            raise ModelError(
                f"model {model.name!r} has no channels of zeros: give an amount to remove, or train it with "
                "prune_channels and strip it first."
            )
        selection = chosen(coupling, gone)
    else:
        selection = select(coupling, amount, of=of, scope=scope, importance=importance, divisor=divisor)
    return without_channels(model, coupling, selection.kept)


def without_channels(model: keras.Model, coupling: Coupling, kept: np.ndarray[Any, Any]) -> keras.Model:
    """Returns the network without some classes of channels.

    Args:
      model: the network that the coupling is of.
      coupling: its classes.
      kept: [classes] bool.
    """
    uses = {id(use.layer): use for use in coupling.uses}

    def replace(layer: layers.Layer) -> Replacement | None:
        use = uses.get(id(layer))
        if use is None:
            return None
        inputs, outputs = kept[coupling.inputs(use)], kept[coupling.outputs(use)]
        new = plain(layer, **_changed_settings(use, inputs, outputs))
        return new, lambda: new.set_weights(_sliced_weights(use, inputs, outputs))

    return cloned(model, replace)


def require_removable(coupling: Coupling, model: str) -> None:
    """Raises ModelError where no channel may be removed."""
    if not groups(coupling):
        raise ModelError(
            f"model {model!r} has no channels that can be removed: all belong to its inputs, its outputs or layers "
            "that fix theirs."
        )


def zeroed_weights(layer: layers.Layer, kept: np.ndarray[Any, Any]) -> list[np.ndarray]:
    """Returns a layer's weights with those zero that make removed channels; a batch normalisation's mean among them.

    Args:
      layer: makes or normalises channels; built.
      kept: [channels that the layer gives] bool.
    """
    found = []
    for weight in layer.weights:
        value = weight.numpy().copy()
        if weight is getattr(layer, "moving_variance", None) or weight is getattr(layer, "depthwise_kernel", None):
            pass
        elif isinstance(layer, DEPTHWISE) and weight is layer.kernel:
            value[..., ~kept.reshape(value.shape[-2:])] = 0
        elif isinstance(layer, TRANSPOSED) and weight is layer.kernel:
            value[..., ~kept, :] = 0
        else:
            value[..., ~kept] = 0
        found.append(value)
    return found


def _but_one(group: list[int], zero: np.ndarray[Any, Any]) -> list[int]:
    going = [each for each in group if zero[each]]
    return going[1:] if len(going) == len(group) else going


def _changed_settings(use: Use, inputs: np.ndarray[Any, Any], outputs: np.ndarray[Any, Any]) -> dict[str, Any]:
    layer = use.layer
    if isinstance(layer, layers.Dense):
        return {"units": int(outputs.sum())}
    if isinstance(layer, MAKING):
        return {"filters": int(outputs.sum())}
    if isinstance(layer, layers.Reshape):
        return {"target_shape": (*layer.target_shape[:-1], int(outputs.sum()))}
    if pads_channels(layer):
        before = layer.padding[1][0]
        after = before + len(inputs)
        return {"padding": (layer.padding[0], (int(outputs[:before].sum()), int(outputs[after:].sum())))}
    return {}


def _sliced_weights(use: Use, inputs: np.ndarray[Any, Any], outputs: np.ndarray[Any, Any]) -> list[np.ndarray]:
    layer = use.layer
    depthwise = layer.kernel if isinstance(layer, DEPTHWISE) else getattr(layer, "depthwise_kernel", None)
    found = []
    for weight in layer.weights:
        value = weight.numpy()
        if weight is depthwise:
            value = value[..., inputs, :]
        elif isinstance(layer, SEPARABLE) and weight is layer.pointwise_kernel:
            value = value[..., np.repeat(inputs, layer.depth_multiplier), :][..., outputs]
        elif isinstance(layer, TRANSPOSED) and weight is layer.kernel:
            value = value[..., outputs, :][..., inputs]
        elif isinstance(layer, MAKING) and weight is getattr(layer, "kernel", None):
            value = value[..., inputs, :][..., outputs]
        elif isinstance(layer, layers.PReLU) and value.shape[-1] == 1 < len(outputs):
            pass  # one slope for all channels
        else:
            value = value[..., outputs]
        found.append(value)
    return found
