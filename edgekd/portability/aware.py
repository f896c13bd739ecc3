"""Quantisation-aware training: which layers it does not know, and whether the int8 network can be made and written."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.errors import DataError, ModelError, RecipeError
from edgekd.portability.advice import instead
from edgekd.portability.targets import AWARE
from edgekd.records import Finding


def findings(
    model: Any, samples: np.ndarray[Any, Any] | None, folder: Path, *, exclude: Collection[str], **options: Any
) -> list[Finding]:
    """Returns what keeps a network from being trained quantisation-aware, and from being written as integers then.

    Args:
      model: a Keras 3 network.
      samples: [samples, ...] float32; made up where the network is not trained yet. None for a network with several
        inputs, which is a finding.
      folder: for the file.
      exclude: names of layers that stay in float.
      **options: of `edgekd.export.convert_model`, for the file.

    Raises:
      RecipeError: there is no layer of an excluded name, or nothing is left to quantise.
    """
    from edgekd import quantize
    from edgekd.export import convert_model
    from edgekd.quantize import aware

    try:
        found = layers_left_out(model, exclude=exclude)
        if found:
            return found
        shown = np.zeros(0, np.float32) if samples is None else samples  # several inputs are refused, whatever is shown
        network = aware.quantize_aware(model, shown, exclude=exclude)
    except (ModelError, DataError) as error:
        return [_of_all(error)]
    for scheme in quantize.all_schemes():
        if scheme.aware:
            try:
                convert_model(
                    network,
                    folder / f"aware-{scheme.name}.tflite",
                    format="tflite",
                    scheme=scheme.name,
                    allow_float_operators=bool(exclude),
                    **options,
                )
            except (ModelError, RecipeError) as error:  # such as preprocessing, which only integers can take over
                return [_of_all(error)]
    return []


def _of_all(error: Exception) -> Finding:
    return Finding(targets=(AWARE,), problem=str(error), advice=instead("converter", "", None))


def layers_left_out(model: Any, *, exclude: Collection[str] = ()) -> list[Finding]:
    """Returns a finding for each layer that has no integer form and is not excluded.

    Raises:
      RecipeError: there is no layer of an excluded name.
      ModelError: no functional or sequential network of Keras 3, or one that is fake-quantised already.
    """
    from edgekd.quantize import aware
    from edgekd.quantize.aware import graph

    refused = aware.unsupported(model, exclude=exclude)
    operations = dict(graph.operations(model)) if refused else {}
    return [_of_layer(name, kind, operations[name]) for name, kind in refused.items()]


def _of_layer(name: str, kind: str, operation: Any) -> Finding:
    activation = getattr(getattr(operation, "activation", None), "__name__", None)
    if getattr(operation, "activity_regularizer", None) is not None:
        advice = "remove activity_regularizer"
    elif activation not in (None, "linear"):
        advice = f"instead of the activation {activation} use relu, silu or hard_silu"
    else:
        advice = instead("qat", kind, kind)
    return Finding(
        targets=(AWARE,),
        layer=name,
        operator=kind,
        problem="cannot be trained quantisation-aware: it has no integer form",
        advice=f"{advice}, or leave it in float with exclude: [{name}]",
    )
