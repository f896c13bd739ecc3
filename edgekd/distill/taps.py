"""Taps: a network's logits and named intermediate outputs from one forward pass."""

import dataclasses
from collections.abc import Iterable, Mapping

import keras

from edgekd.errors import ModelError, unknown_name


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What one forward pass gives: [batch, classes] logits and the feature map of each tap by its layer's name."""

    logits: keras.KerasTensor
    taps: Mapping[str, keras.KerasTensor]


class TappedModel:
    """A network that also returns the outputs of some of its layers; it shares the network's weights."""

    def __init__(self, model: keras.Model, taps: Iterable[str] = ()) -> None:
        """Looks the taps up in the network.

        Args:
          model: a network with one input and one output, the logits.
          taps: names of its layers.

        Raises:
          ModelError: a tap is not a layer of the network, or the network's layers cannot be tapped.
        """
        self.model = model
        self._names = tuple(dict.fromkeys(taps))
        self._tapped = _with_taps(model, self._names) if self._names else None

    def __call__(self, images: keras.KerasTensor, *, training: bool) -> Outputs:
        """Returns the logits and taps of a [batch, ...] float array of images."""
        if self._tapped is None:
            return Outputs(logits=self.model(images, training=training), taps={})
        logits, *features = self._tapped(images, training=training)
        return Outputs(logits=logits, taps=dict(zip(self._names, features, strict=True)))


def _with_taps(model: keras.Model, names: tuple[str, ...]) -> keras.Model:
    if not isinstance(model, keras.Sequential) and not hasattr(model, "operations"):
        raise ModelError(
            f"model {model.name!r} is a subclassed network: its layers {', '.join(names)} cannot be tapped. "
            "Build it with the functional API, or use losses on logits only."
        )
    layers = {layer.name: layer for layer in model.layers}
    for name in names:
        if name not in layers:
            raise ModelError(unknown_name(f"tap of model {model.name!r}:", name, layers))
        if len(layers[name]._inbound_nodes) != 1:
            raise ModelError(
                f"tap {name!r} of model {model.name!r} is a layer that is called more than once: which of its outputs "
                "is meant is not clear. Tap the layer that follows it."
            )
    return keras.Model(model.inputs[0], [model.outputs[0], *(layers[name].output for name in names)])
