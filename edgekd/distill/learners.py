"""Who learns in a step, and who teaches whom within it: one student, peers, or a network and its early exits."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
from keras import layers, ops

from edgekd.data import randomness
from edgekd.distill.objective import LOGITS
from edgekd.distill.taps import Outputs, TappedModel
from edgekd.errors import ModelError, ShapeError

FEATURES = "features"  # the tap of an exit, and of the network that it leaves: what its logits are computed from


class Learners(Protocol):
    """The networks that a step trains."""

    @property
    def models(self) -> tuple[keras.Model, ...]:
        """What is validated and saved; the first is the student."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """One for each learner, in the order of `forward`; "" stands for a student that is alone."""
        ...

    @property
    def helpers(self) -> tuple[layers.Layer, ...]:
        """Layers that are trained with them and dropped afterwards."""
        ...

    def forward(self, images: Any, *, training: bool) -> tuple[Outputs, ...]:
        """Returns each learner's outputs; each network runs once."""
        ...

    def teachers(self, outputs: tuple[Outputs, ...], teacher: Outputs | None) -> tuple[tuple[Outputs, ...], ...]:
        """Returns for each learner those who teach it: the outside teacher, if there is one, or other learners."""
        ...

    def shapes(self, input_shape: tuple[int, ...]) -> tuple[Mapping[str, tuple[int, ...]], ...]:
        """Returns for each learner the shapes of its logits and taps, without the batch axis."""
        ...


class Student:
    """One network, taught from outside or by labels alone."""

    def __init__(self, model: keras.Model, taps: Sequence[str] = ()) -> None:
        self.models: tuple[keras.Model, ...] = (model,)
        self.names: tuple[str, ...] = ("",)
        self.helpers: tuple[layers.Layer, ...] = ()
        self._tapped = TappedModel(model, taps)

    def forward(self, images: Any, *, training: bool) -> tuple[Outputs, ...]:
        """Runs the network."""
        return (self._tapped(images, training=training),)

    def teachers(self, outputs: tuple[Outputs, ...], teacher: Outputs | None) -> tuple[tuple[Outputs, ...], ...]:  # noqa: ARG002
        """The outside teacher, if there is one."""
        return (() if teacher is None else (teacher,),)

    def shapes(self, input_shape: tuple[int, ...]) -> tuple[Mapping[str, tuple[int, ...]], ...]:
        """Of the network."""
        return (self._tapped.shapes(input_shape),)


class Peers:
    """Deep mutual learning: networks that learn together, each taught by all others.

    References:
      Zhang et al., Deep Mutual Learning, 2017 (arXiv:1706.00384).
    """

    def __init__(
        self, models: Sequence[keras.Model], student_taps: Sequence[str] = (), taps: Sequence[str] = ()
    ) -> None:
        """Looks the taps up.

        Args:
          models: two or more networks with the same inputs and classes; the first is the student.
          student_taps: what terms look at in the network that is taught.
          taps: what terms look at in the networks that teach it; every network is both.

        Raises:
          ModelError: fewer than two networks, or one that is there twice.
          ShapeError: different numbers of classes.
        """
        if len(models) < 2 or len({id(model) for model in models}) < len(models):
            raise ModelError(f"mutual learning needs at least two different networks, got {len(models)}.")
        classes = [model.output_shape[-1] for model in models]
        if len(set(classes)) > 1:
            raise ShapeError(f"the peers have {', '.join(map(str, classes))} classes: they must all have the same.")
        self.models = tuple(models)
        self.names = ("student", *(f"peer_{position}" for position in range(1, len(models))))
        self.helpers: tuple[layers.Layer, ...] = ()
        every = tuple(dict.fromkeys((*student_taps, *taps)))
        self._tapped = tuple(TappedModel(model, every) for model in models)

    def forward(self, images: Any, *, training: bool) -> tuple[Outputs, ...]:
        """Runs every network once."""
        return tuple(tapped(images, training=training) for tapped in self._tapped)

    def teachers(self, outputs: tuple[Outputs, ...], teacher: Outputs | None) -> tuple[tuple[Outputs, ...], ...]:
        """For each network all others."""
        if teacher is not None:
            raise ModelError("peers teach each other: they take no teacher from outside.")
        return tuple(tuple(other for place, other in enumerate(outputs) if place != own) for own in range(len(outputs)))

    def shapes(self, input_shape: tuple[int, ...]) -> tuple[Mapping[str, tuple[int, ...]], ...]:
        """Of every network."""
        return tuple(tapped.shapes(input_shape) for tapped in self._tapped)


class Exits:
    """Self-distillation: classifiers on early taps, taught by the network's own logits.

    An exit is a 3x3 convolution of stride 2 with batch normalisation, global average pooling and a dense layer: lighter
    than the paper's bottlenecks. What its logits are computed from is its tap `features`, with as many channels as the
    network's own, which is the input of its last layer: so `{loss: feature_mse, taps: [[features, features]]}` is the
    paper's hint.

    References:
      Zhang et al., Be Your Own Teacher, 2019 (arXiv:1905.08094).
    """

    def __init__(self, model: keras.Model, exits: Sequence[str], *, input_shape: tuple[int, ...], seed: int) -> None:
        """Builds the exits.

        Args:
          model: the network.
          exits: its taps, where the classifiers go.
          input_shape: of a sample.
          seed: of the classifiers' initial weights.

        Raises:
          ModelError: a tap does not exist; the message lists the near ones.
          ShapeError: a tap that is no feature map, or a network that does not end in a dense layer on vectors.
        """
        self.models = (model,)
        self.names = ("deepest", *exits)
        self._last = f"{model.layers[-1].name}:input"
        self._exits = tuple(exits)
        self._tapped = TappedModel(model, (*exits, self._last))
        shapes = self._tapped.shapes(input_shape)
        features, (classes,) = shapes[self._last], shapes[LOGITS]
        if len(features) != 1 or not isinstance(model.layers[-1], layers.Dense):
            raise ShapeError(
                f"the last layer of model {model.name!r} is {type(model.layers[-1]).__name__} on features of shape "
                f"{features}: exits need a network that ends in a dense layer on pooled features."
            )
        self.helpers = tuple(
            _exit(tap, shapes[tap], features=features[0], classes=classes, seed=seed) for tap in self._exits
        )

    def forward(self, images: Any, *, training: bool) -> tuple[Outputs, ...]:
        """Runs the network once, and the exits on what it gives."""
        deepest = self._tapped(images, training=training)
        outputs = [Outputs(deepest.logits, {**deepest.taps, FEATURES: deepest.taps[self._last]})]
        for tap, head in zip(self._exits, self.helpers, strict=True):
            features, logits = head(deepest.taps[tap], training=training)
            outputs.append(Outputs(logits, {FEATURES: features}))
        return tuple(outputs)

    def teachers(self, outputs: tuple[Outputs, ...], teacher: Outputs | None) -> tuple[tuple[Outputs, ...], ...]:
        """Nobody for the deepest, the deepest for every exit."""
        if teacher is not None:
            raise ModelError("exits are taught by their own network: they take no teacher from outside.")
        return ((), *(((outputs[0],)) for _ in self._exits))

    def shapes(self, input_shape: tuple[int, ...]) -> tuple[Mapping[str, tuple[int, ...]], ...]:
        """Of the network, then of every exit."""
        deepest = dict(self._tapped.shapes(input_shape))
        deepest[FEATURES] = deepest[self._last]
        at_exit = {LOGITS: deepest[LOGITS], FEATURES: deepest[FEATURES]}
        return (deepest, *(at_exit for _ in self._exits))


class _Exit(layers.Layer):
    def __init__(self, tap: str, features: int, classes: int, seed: int) -> None:
        name = tap.replace("/", "_").replace(":", "_")
        super().__init__(name=f"{name}_exit")
        key = randomness.seed(f"exit.{tap}", seed)
        self._conv = layers.Conv2D(
            features, 3, strides=2, padding="same", use_bias=False, name="conv",
            kernel_initializer=keras.initializers.HeNormal(seed=key),
        )  # fmt: skip
        self._norm = layers.BatchNormalization(momentum=0.9, name="bn")
        self._dense = layers.Dense(classes, name="logits", kernel_initializer=keras.initializers.GlorotUniform(key + 1))

    def call(self, x: Any, training: bool = False) -> tuple[Any, Any]:
        x = ops.relu(self._norm(self._conv(x), training=training))
        features = ops.mean(x, axis=(1, 2))
        return features, self._dense(features)


def _exit(tap: str, shape: tuple[int, ...], *, features: int, classes: int, seed: int) -> layers.Layer:
    if len(shape) != 3:
        raise ShapeError(
            f"the exit {tap!r} has features of shape {shape}: expected a feature map (height, width, channels)."
        )
    head = _Exit(tap, features, classes, seed)
    head(keras.ops.zeros((2, *shape)))
    return head
