"""Teachers that tf_keras (Keras 2) runs: networks in memory, and `.h5` files that Keras 3 cannot read."""

import importlib.metadata
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edgekd.errors import ModelError, TapError, said, unknown_name
from edgekd.records import TensorSpec
from edgekd.runtime.runner import ClosingRunner, check_arrays
from edgekd.teachers import hdf5, networks
from edgekd.teachers.frozen import LOGITS, Opened

_INPUT = ":input"


def open_network(
    model: Any, *, name: str, taps: Sequence[str], input_shape: Sequence[int], num_classes: int | None
) -> Opened:
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
        raise ModelError(f"tf_keras cannot load {str(path)!r} either{said(error)}: save it again.") from error


def load_keras(path: Path) -> Any:
    """Returns the network of a `.keras` file of tf_keras; Python code in it is refused, never run.

    Raises:
      ModelError: it holds code, or cannot be loaded.
    """
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    hdf5.refuse_code(path, config)
    try:
        return tf_keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # it lets any error of a file's content through
        raise ModelError(f"tf_keras cannot load {str(path)!r}{said(error)}: copy or save it again.") from error


class TfKerasRunner(ClosingRunner):
    """A tf_keras network in inference mode."""

    def __init__(self, model: Any, name: str) -> None:
        if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
            raise ModelError(
                f"{name!r} is a subclassed network that does not say what it takes: export it, and compare its file."
            )
        self._model = model
        self.name = name
        self.inputs = tuple(map(_spec, model.input_names, model.inputs))
        self.outputs = tuple(map(_spec, model.output_names, model.outputs))

    def run(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        if self._model is None:
            raise ModelError(f"{self.name!r} is closed: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        received = tf.nest.pack_sequence_as(self._model.input, list(arrays))
        return tuple(np.asarray(each) for each in tf.nest.flatten(self._model(received, training=False)))

    @property
    def stateful(self) -> bool:
        """Whether a layer, such as a recurrent one with stateful=True, carries its state from batch to batch."""
        return bool(self._model.stateful)

    def reset(self) -> None:
        if self.stateful:
            raise ModelError(
                f"{self.name!r} has layers with stateful=True, whose state depends on the batches before: make it with "
                "stateful=False, or export it with its state as inputs and outputs."
            )

    def close(self) -> None:
        self._model = None


def _spec(name: str, tensor: Any) -> TensorSpec:
    return TensorSpec(name=str(name), shape=tuple(tensor.shape), dtype=tensor.dtype.name)


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
            raise TapError(unknown_name(f"tap of tf_keras teacher {name!r}:", tap, layers) + nested, taps=(tap,))
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
