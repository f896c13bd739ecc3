"""Teachers that Keras 3 runs."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from edgekd.architectures import load_model
from edgekd.distill.taps import TappedModel
from edgekd.teachers import networks
from edgekd.teachers.frozen import LOGITS, Opened


def open_network(
    model: keras.Model, *, name: str, taps: Sequence[str], input_shape: Sequence[int], num_classes: int | None
) -> Opened:
    """Returns a Keras 3 network as a teacher.

    Raises:
      ModelError: it has no weights yet, or lacks a tap; the message lists the known ones.
      ShapeError: other inputs or another number of classes.
    """
    networks.require_built(model, name=name)
    networks.require_shapes(model, name=name, input_shape=input_shape, num_classes=num_classes)
    tapped = TappedModel(model, taps)

    def call(images: Any) -> Mapping[str, Any]:
        outputs = tapped(images, training=False)
        return {LOGITS: outputs.logits, **outputs.taps}

    return networks.opened(
        model, call, name=name, loader=f"Keras {importlib.metadata.version('keras')}", config=_config(model)
    )


def open_file(path: Path, *, taps: Sequence[str], input_shape: Sequence[int], num_classes: int | None) -> Opened:
    """Returns the network of a `.keras` file as a teacher; raises also what `load_model` raises."""
    return open_network(load_model(path), name=path.name, taps=taps, input_shape=input_shape, num_classes=num_classes)


def _config(model: keras.Model) -> Any:
    try:
        return keras.saving.serialize_keras_object(model)
    except NotImplementedError:
        return None  # a subclassed network without get_config(): its code and weights say what it is
