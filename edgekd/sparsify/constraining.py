"""Kernels whose constraint holds what sparsity gave them, while their weights train on."""

from collections.abc import Callable, Mapping
from typing import Any

import keras

from edgekd.errors import ModelError
from edgekd.sparsify.cloning import Replacement, cloned, plain
from edgekd.sparsify.kernels import kernel_of, variable_of


def constraint_of(layer: keras.layers.Layer) -> Any:
    """Returns the constraint on a layer's kernel; None where it has no kernel or no constraint."""
    kernel = kernel_of(layer)
    return None if kernel is None else getattr(layer, kernel.constraint)


def constrained(
    model: keras.Model,
    found: Mapping[str, keras.layers.Layer],
    constraint: Callable[[Any], keras.constraints.Constraint],
    *,
    kept: str,
) -> keras.Model:
    """Returns the network, with its weights, in which the kernels of some layers have a constraint.

    Args:
      model: a built functional or sequential network; it stays as it is.
      found: those layers, which all have a kernel, by path.
      constraint: makes it of the kernel's values.
      kept: what it keeps, for the message.

    Raises:
      ModelError: a layer has a constraint already, or a subclassed network.
    """
    taken = [path for path, layer in found.items() if constraint_of(layer) is not None]
    if taken:
        raise ModelError(
            f"layers {', '.join(taken)} of model {model.name!r} have a constraint on their kernels already, beside "
            f"which their {kept} cannot be kept: build them without it."
        )
    chosen = {id(layer) for layer in found.values()}

    def replace(layer: keras.layers.Layer) -> Replacement | None:
        if id(layer) not in chosen:
            return None
        kernel = kernel_of(layer)
        assert kernel is not None  # noqa: S101 - it was chosen for its kernel
        new = plain(layer, **{kernel.constraint: constraint(variable_of(layer).numpy())})
        return new, lambda: new.set_weights(layer.get_weights())

    return cloned(model, replace)
