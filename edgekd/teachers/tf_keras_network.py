"""Teachers that tf_keras (Keras 2) runs: networks in memory, and `.h5` files that Keras 3 cannot read."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tf_keras

from edgekd.errors import ModelError, unknown_name
from edgekd.teachers import networks
from edgekd.teachers.frozen import LOGITS, Opened

_INPUT = ":input"


def open_network(model: Any, *, name: str, taps: Sequence[str], input_shape: Sequence[int], num_classes: int) -> Opened:
    """Returns a tf_keras network as a teacher.

    Taps are the names of its own layers, also with the suffix `:input`; layers of nested networks cannot be reached.

    Raises:
      ModelError: it has no weights yet, or lacks a tap; the message lists the known ones.
      ShapeError: other inputs or another number of classes.
    """
    networks.require_built(model, name=name)
    networks.require_shapes(model, name=name, input_shape=input_shape, num_classes=num_classes)
    tapped = model if not taps else tf_keras.Model(model.inputs, [model.outputs[0], *_tensors(model, name, taps)])

    def call(images: Any) -> Mapping[str, Any]:
        found = tapped(images, training=False)
        return dict(zip((LOGITS, *taps), found, strict=True)) if taps else {LOGITS: found}

    return networks.opened(
        model, call, name=name, loader=f"tf_keras {importlib.metadata.version('tf_keras')}", config=_config(model)
    )


def load_h5(path: Path) -> Any:
    """Returns the network of an `.h5` file whose configuration has passed `hdf5.refuse_code`.

    Raises:
      ModelError: it cannot be loaded.
    """
    try:
        return tf_keras.models.load_model(path, compile=False)
    except Exception as error:  # it lets any error of a file's content through
        reason = " ".join(str(error).split())[:500]
        raise ModelError(f"tf_keras cannot load {str(path)!r} either: {type(error).__name__}: {reason}") from error


def _tensors(model: Any, name: str, taps: Sequence[str]) -> list[Any]:
    if not getattr(model, "inputs", None):
        raise ModelError(
            f"teacher {name!r} is a subclassed tf_keras network: its layers {', '.join(taps)} cannot be tapped. Use "
            "losses on logits only, or build it with the functional API."
        )
    layers = {layer.name: layer for layer in model.layers}
    found = []
    for tap in taps:
        layer = layers.get(tap.removesuffix(_INPUT))
        if layer is None:
            nested = " Layers of nested networks can be tapped in Keras 3 networks only." if "/" in tap else ""
            raise ModelError(unknown_name(f"tap of tf_keras teacher {name!r}:", tap, layers) + nested)
        if len(layer._inbound_nodes) != 1:
            raise ModelError(
                f"tap {tap!r} of teacher {name!r} is a layer that is called more than once: which of its arrays is "
                "meant is not clear. Tap the layer that follows it."
            )
        tensor = layer.input if tap.endswith(_INPUT) else layer.output
        if isinstance(tensor, list | tuple | dict):
            raise ModelError(f"tap {tap!r} of teacher {name!r} is {len(tensor)} arrays, one is needed: tap another.")
        found.append(tensor)
    return found


def _config(model: Any) -> Any:
    try:
        return json.loads(model.to_json())
    except NotImplementedError:
        return None  # a subclassed network: its code and weights say what it is
