"""Zeros that stay zero while the other weights train on."""

import base64
import zlib
from typing import Any

import keras
import numpy as np
from keras import ops

from edgekd.errors import ModelError
from edgekd.sparsify.constraining import constrained
from edgekd.sparsify.kernels import kernel_of, layers_by_path, variable_of
from edgekd.sparsify.wrapping import PACKAGE


def keep_zeros(model: keras.Model) -> keras.Model:
    """Returns the network with every weight that is zero now held at zero in all training to come.

    Each kernel gets a constraint, which optimizers apply after every update, whatever their momentum adds. It is part
    of the layer's configuration: so it goes into files, and into every network that is made from this one's layers,
    quantisation-aware ones included. `strip` removes it.

    Args:
      model: a built functional or sequential network, such as a stripped one; it stays as it is.

    Raises:
      ModelError: no kernel holds a zero, a layer with zeros has a constraint of its own, or a subclassed network.
    """
    found = {
        path: layer
        for path, layer in layers_by_path(model).items()
        if kernel_of(layer) is not None and (variable_of(layer).numpy() == 0).any()
    }
    if not found:
        raise ModelError(f"no kernel of model {model.name!r} holds a zero to keep: prune and strip it first.")
    return constrained(model, found, lambda kernel: FixedZeros(kernel != 0), kept="zeros")


@keras.saving.register_keras_serializable(package=PACKAGE)
class FixedZeros(keras.constraints.Constraint):
    """A constraint that sets fixed elements of a variable to zero.

    Attributes:
      kept: bool of the variable's shape, False where it is zero.
    """

    def __init__(self, kept: Any) -> None:
        """Takes the mask: an array, or what `get_config` wrote of one."""
        self.kept = np.asarray(_unpacked(kept) if isinstance(kept, dict) else kept, bool)

    def __call__(self, w: Any) -> Any:
        """Returns the variable's value with zeros where they belong."""
        value = ops.convert_to_tensor(w)
        # Not a product: nothing that an update did may survive, infinities included.
        return ops.where(self.kept, value, ops.zeros_like(value))

    def get_config(self) -> dict[str, Any]:
        """Returns the mask in a form that JSON holds."""
        return {"kept": _packed(self.kept)}


def _packed(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    content = base64.b64encode(zlib.compress(np.packbits(mask).tobytes(), 9)).decode()
    return {"shape": list(mask.shape), "bits": content}


def _unpacked(packed: dict[str, Any]) -> np.ndarray[Any, Any]:
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed["bits"])), np.uint8)
    shape = tuple(packed["shape"])
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
