"""How much a class of coupled channels matters, by the weights that make it."""

from typing import Any, Literal, get_args

import numpy as np
from keras import layers

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.sparsify.coupling import Coupling, Use
from edgekd.sparsify.layer_kinds import DEPTHWISE, MAKING, SEPARABLE, TRANSPOSED

Importance = Literal["l1", "l2", "bn_gamma"]


def importances(coupling: Coupling, importance: Importance = "l2") -> np.ndarray:
    """Returns the importance of each class: the sum over the layers that make its channels.

    Args:
      coupling: of the network.
      importance: `l1` or `l2`, the norm of a channel's kernel; or `bn_gamma`, the magnitude of its factor in batch
        normalisation, which is meaningful after training with an L1 penalty on the factors.

    Returns:
      [classes] float64.

    Raises:
      RecipeError: the importance is unknown.
      ModelError: `bn_gamma`, and channels that may be removed have no batch normalisation; all their layers are named.

    References:
      Li et al., Pruning Filters for Efficient ConvNets, 2017 (arXiv:1608.08710), for l1. Liu et al., Learning Efficient
      Convolutional Networks through Network Slimming, 2017 (arXiv:1708.06519), for bn_gamma.
    """
    if importance not in get_args(Importance):
        raise RecipeError(unknown_name("importance of channels", importance, get_args(Importance)))
    total = np.zeros(len(coupling.fixed))
    scored = np.zeros(len(coupling.fixed), bool)
    for use in coupling.uses:
        values = _norms(use, importance)
        if values is not None:
            np.add.at(total, coupling.outputs(use), values)
            scored[coupling.outputs(use)] = True
    if importance == "bn_gamma":
        bare = [
            use.layer.name
            for use in coupling.uses
            if isinstance(use.layer, MAKING) and (~scored & ~coupling.fixed)[coupling.outputs(use)].any()
        ]
        if bare:
            raise ModelError(
                f"channels of {', '.join(bare)} have no factor of batch normalisation to be judged by: choose "
                "importance l1 or l2, or list these layers in exclude."
            )
    return total


def dead(coupling: Coupling) -> np.ndarray:
    """Returns which classes are zero already: those all of whose weights are.

    Returns:
      [classes] bool, False for fixed ones.
    """
    alive = np.array(coupling.fixed)
    made = np.zeros(len(alive), bool)
    for use in coupling.uses:
        classes = coupling.outputs(use)
        if isinstance(use.layer, (*MAKING, *DEPTHWISE, layers.BatchNormalization)):
            made[classes] = True
            for weights in _per_output(use):
                np.logical_or.at(alive, classes, weights.any(axis=0))
    return made & ~alive


def kernel_by_output(layer: layers.Layer) -> np.ndarray:
    """Returns a kernel as [weights, outputs]: one column for each channel that the layer gives."""
    if isinstance(layer, DEPTHWISE):
        kernel = layer.kernel.numpy()
        return kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1])
    if isinstance(layer, TRANSPOSED):
        kernel = np.swapaxes(layer.kernel.numpy(), -1, -2)
    else:
        kernel = (layer.pointwise_kernel if isinstance(layer, SEPARABLE) else layer.kernel).numpy()
    return kernel.reshape(-1, kernel.shape[-1])


def _norms(use: Use, importance: Importance) -> np.ndarray[Any, Any] | None:
    if isinstance(use.layer, layers.BatchNormalization):
        return np.abs(use.layer.gamma.numpy()) if importance == "bn_gamma" and use.layer.scale else None
    if importance == "bn_gamma" or not isinstance(use.layer, (*MAKING, *DEPTHWISE)):
        return None
    kernel = kernel_by_output(use.layer).astype(np.float64)
    return np.abs(kernel).sum(axis=0) if importance == "l1" else np.sqrt(np.square(kernel).sum(axis=0))


def _per_output(use: Use) -> list[np.ndarray]:
    """Returns the weights that must be zero for a channel to be zero, as arrays whose last axis is the channels."""
    layer = use.layer
    if isinstance(layer, layers.BatchNormalization):
        found = [layer.gamma] if layer.scale else [layer.moving_mean]
        found += [layer.beta] if layer.center else []
        return [weight.numpy()[None] for weight in found]
    return [kernel_by_output(layer), *([layer.bias.numpy()[None]] if layer.use_bias else [])]
