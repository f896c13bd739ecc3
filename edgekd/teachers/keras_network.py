"""Teachers that Keras 3 runs."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from edgekd.architectures import load_model, weights_sha256
from edgekd.distill.taps import TappedModel
from edgekd.teachers import networks
from edgekd.teachers.frozen import LOGITS, Opened


def open_network(
    model: keras.Model, *, name: str, taps: Sequence[str], input_shape: Sequence[int], num_classes: int
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

    found, uncacheable, own_code = networks.identity(model, _config(model))
    return Opened(
        name=name,
        loader=f"Keras {importlib.metadata.version('keras')}",
        run=networks.compiled(call, name=name),
        identity=found,
        uncacheable=uncacheable and f"teacher {name!r}: {uncacheable}",
        runs_own_code=own_code,
        variables_sha256=lambda: weights_sha256(model),
        ends_in=networks.ends_in(model),
    )


def open_file(path: Path, *, taps: Sequence[str], input_shape: Sequence[int], num_classes: int) -> Opened:
    """Returns the network of a `.keras` file as a teacher; raises also what `load_model` raises."""
    return open_network(load_model(path), name=path.name, taps=taps, input_shape=input_shape, num_classes=num_classes)


def _config(model: keras.Model) -> Any:
    try:
        return keras.saving.serialize_keras_object(model)
    except NotImplementedError:
        return None  # a subclassed network without get_config(): its code and weights say what it is
