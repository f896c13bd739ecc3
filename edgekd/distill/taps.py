"""Taps: a network's logits and named intermediate arrays from one forward pass.

A tap is written as the name of a layer, or as a path `outer/inner` into nested models and layers, to any depth. It
means the layer's output; with the suffix `:input`, what goes into the layer.
"""

import contextlib
import contextvars
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekd.errors import ModelError, TapError, unknown_name

LOGITS = "logits"

_INPUT = ":input"


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What one forward pass gives: [batch, classes] logits and the array of each tap by the tap's name."""

    logits: keras.KerasTensor
    taps: Mapping[str, keras.KerasTensor]


class TappedModel:
    """A network that also returns what goes into or comes out of some of its layers; it shares the network's weights.

    Layers of a functional or sequential network are taken from its graph. Layers inside nested models, and those of
    subclassed networks, are listened to while the network runs: nothing remains on the network afterwards, and calls
    from several threads do not hear each other.
    """

    def __init__(self, model: keras.Model, taps: Iterable[str] = ()) -> None:
        """Looks the taps up in the network.

        Layers of a subclassed network are known by their names and by the attributes that hold them; a layer in a list
        or a dict is `attribute.index` or `attribute.key`.

        Args:
          model: a built network with one input and one output, the logits.
          taps: such as `stage2`, `stage2:input` or `backbone/stage2`.

        Raises:
          TapError: a tap is not a layer of the network (the message lists the known ones) or is ambiguous.
          ModelError: the network is not built or has several inputs or outputs; a tap's layer is called more than once
            or is recomputed in the backward pass.
        """
        if not model.built:
            raise ModelError(
                f"model {model.name!r} is not built, so that its layers cannot be tapped: call it on a sample, or give "
                "it an input shape."
            )
        graph = _graph(model)
        if graph is not None and (len(graph.inputs) != 1 or len(graph.outputs) != 1):
            raise ModelError(
                f"model {model.name!r} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs: a network with "
                "one input and one output, the logits, is needed."
            )
        self.model = model
        self._names = tuple(dict.fromkeys(taps))
        found = _locate(model, self._names)
        in_graph = {tap.name: tap for tap in found if graph is not None and tap.depth == 1}
        self._in_graph = tuple(in_graph)
        self._heard = tuple(tap for tap in found if tap.name not in in_graph)
        self._network = model if graph is None or not in_graph else _with_taps(model, graph, in_graph.values())
        for tap in self._heard:
            _require_hearable(model, tap)

    def __call__(self, images: keras.KerasTensor, *, training: bool) -> Outputs:
        """Returns the logits and taps of a [batch, ...] float array of images.

        Raises:
          ModelError: a tapped layer was not called, was called more than once or inside a loop, or takes or gives more
            than one array.
        """
        with _listening(self.model.name, self._heard) as hearing:
            outputs = self._network(images, training=training)
        logits, *features = outputs if self._in_graph else [outputs]
        if keras.tree.is_nested(logits):
            raise ModelError(
                f"model {self.model.name!r} returns {len(keras.tree.flatten(logits))} arrays: a network with one "
                "output, the logits, is needed."
            )
        arrays = {**dict(zip(self._in_graph, features, strict=True)), **hearing.arrays()}
        taps = {name: arrays[name] for name in self._names}
        if taps.get(LOGITS, logits) is not logits:
            raise ModelError(
                f"model {self.model.name!r} has a layer named {LOGITS!r} that is not its output: rename the layer to "
                "tap it, since that name stands for the network's output."
            )
        return Outputs(logits=logits, taps=taps)

    def shapes(self, input_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """Returns the shapes, without the batch, of what the network gives for one sample of a known shape.

        It runs the network once, in inference mode, on two samples of zeros; sizes that the network leaves open are
        thereby known.

        Args:
          input_shape: one sample's shape, without the batch.

        Returns:
          The shape of `logits` and of each tap.
        """
        outputs = self(np.zeros((2, *input_shape), keras.backend.floatx()), training=False)
        return {name: tuple(array.shape[1:]) for name, array in {LOGITS: outputs.logits, **outputs.taps}.items()}


@dataclasses.dataclass(frozen=True)
class _Tap:
    name: str
    layers: tuple[keras.layers.Layer, ...]  # from the network's own layer down to the tapped one

    @property
    def layer(self) -> keras.layers.Layer:
        return self.layers[-1]

    @property
    def depth(self) -> int:
        return len(self.layers)

    @property
    def takes_input(self) -> bool:
        return self.name.endswith(_INPUT)


def _graph(model: keras.Model) -> Any:
    """Returns the functional graph that the model runs, or None where its own Python code runs."""
    # A subclass of a functional model whose call() is its own does not run its graph.
    if not type(model).call.__module__.startswith("keras."):
        return None
    return getattr(model, "_functional", None) or (model if hasattr(model, "operations") else None)


def _locate(model: keras.Model, names: Iterable[str]) -> list[_Tap]:
    found, wrong = [], {}
    for name in names:
        try:
            found.append(_Tap(name, _walk(model, name)))
        except ModelError as error:
            wrong[name] = str(error)
    if wrong:
        raise TapError(" ".join(wrong.values()), taps=wrong)
    return found


def _walk(model: keras.Model, name: str) -> tuple[keras.layers.Layer, ...]:
    layers: list[keras.layers.Layer] = []
    parts = name.removesuffix(_INPUT).split("/")
    for depth, part in enumerate(parts):
        children = _children(layers[-1] if layers else model)
        if part not in children:
            place = f" in {'/'.join(parts[:depth])!r}" if depth else ""
            message = unknown_name(f"tap {name!r} of model {model.name!r}: no layer{place} is called", part, children)
            paths = [path for path in _paths(model) if path.endswith(f"/{parts[-1]}")]
            raise ModelError(message + (f" It is a layer inside another: {', '.join(paths)}." if paths else ""))
        if len(children[part]) > 1:
            raise ModelError(
                f"tap {name!r} of model {model.name!r}: {len(children[part])} layers are called {part!r}. Give them "
                "names of their own, or name the attribute that holds the layer."
            )
        layers.append(children[part][0])
    return tuple(layers)


def _children(parent: keras.layers.Layer) -> dict[str, list[keras.layers.Layer]]:
    """Returns the layers directly inside a layer by name; those of the user's own classes by attribute as well."""
    layers = (
        parent.layers
        if isinstance(parent, keras.Model)
        else parent._flatten_layers(include_self=False, recursive=False)
    )
    children: dict[str, list[keras.layers.Layer]] = {}
    for layer in layers:
        children.setdefault(layer.name, []).append(layer)
    by_attribute = {} if type(parent).__module__.startswith("keras.") else dict(_attributes(parent, layers))
    return {**{attribute: [layer] for attribute, layer in by_attribute.items()}, **children}


def _attributes(
    parent: keras.layers.Layer, layers: Sequence[keras.layers.Layer]
) -> Iterator[tuple[str, keras.layers.Layer]]:
    known = {id(layer) for layer in layers}
    for attribute, value in vars(parent).items():
        if attribute.startswith("_"):
            continue
        held: Iterable[tuple[str, Any]] = [(attribute, value)]
        if isinstance(value, dict):
            held = ((f"{attribute}.{key}", each) for key, each in value.items())
        elif isinstance(value, list | tuple):
            held = ((f"{attribute}.{index}", each) for index, each in enumerate(value))
        yield from ((name, each) for name, each in held if id(each) in known)


def _paths(parent: keras.layers.Layer, prefix: str = "") -> Iterator[str]:
    for name, layers in _children(parent).items():
        yield prefix + name
        yield from _paths(layers[0], f"{prefix}{name}/")


def _with_taps(model: keras.Model, graph: Any, taps: Iterable[_Tap]) -> keras.Model:
    arrays = [_in_graph(model, graph, tap) for tap in taps]
    # The tensor itself, not a list of it: Keras warns when a model is called with another structure. With a name of its
    # own, the automatic names of later models do not depend on this one.
    return keras.Model(graph.inputs[0], [graph.outputs[0], *arrays], name=f"{model.name}_tapped")


def _in_graph(model: keras.Model, graph: Any, tap: _Tap) -> keras.KerasTensor:
    # A layer may also be part of other graphs; only its calls in this one count.
    nodes = [node for level in graph._nodes_by_depth.values() for node in level if node.operation is tap.layer]
    if len(nodes) > 1:
        raise _called_often(model.name, tap.name, len(nodes))
    tensors = nodes[0].input_tensors if tap.takes_input else nodes[0].outputs
    if len(tensors) != 1:
        raise _not_one_array(model.name, tap, len(tensors))
    return tensors[0]


def _require_hearable(model: keras.Model, tap: _Tap) -> None:
    # No gradient would flow through an array from inside a recomputed layer.
    for layer in (model, *tap.layers):
        if layer._remat_mode is not None:
            raise ModelError(
                f"tap {tap.name!r} of model {model.name!r}: layer {layer.name!r} was made in a keras.RematScope, and "
                "what is recomputed in the backward pass cannot be tapped. Build it outside of the scope."
            )


class _Hearing:
    """What was heard of the listened layers during one forward pass of one thread."""

    def __init__(self, model: str, taps: Sequence[_Tap]) -> None:
        self._model = model
        self._taps = taps
        self._calls: dict[int, list[tuple[list[Any], list[Any]]]] = {id(tap.layer): [] for tap in taps}

    def add(self, layer: keras.layers.Layer, arguments: Any, results: Any) -> None:
        if id(layer) in self._calls:
            self._calls[id(layer)].append((keras.tree.flatten(arguments), keras.tree.flatten(results)))

    def arrays(self) -> dict[str, Any]:
        return {tap.name: self._array(tap) for tap in self._taps}

    def _array(self, tap: _Tap) -> Any:
        calls = self._calls[id(tap.layer)]
        if not calls:
            raise ModelError(
                f"tap {tap.name!r} of model {self._model!r}: the layer was not called when the network ran. Tap one "
                "that is on the way to the logits, and outside of a tf.function within the network."
            )
        if len(calls) > 1:
            raise _called_often(self._model, tap.name, len(calls))
        arrays = [each for each in calls[0][0 if tap.takes_input else 1] if keras.ops.is_tensor(each)]
        if len(arrays) != 1:
            raise _not_one_array(self._model, tap, len(arrays))
        if not _belongs_here(arrays[0]):
            raise ModelError(
                f"tap {tap.name!r} of model {self._model!r}: the layer runs inside a loop, a condition or a "
                "tf.function of the network, whose inner arrays cannot be had. Tap the layer around it."
            )
        return arrays[0]


def _belongs_here(array: Any) -> bool:
    if not tf.is_symbolic_tensor(array):
        return True
    return not tf.executing_eagerly() and array.graph is tf.compat.v1.get_default_graph()


_current: contextvars.ContextVar[_Hearing | None] = contextvars.ContextVar("current", default=None)
_lock = threading.Lock()
_listeners: dict[tuple[keras.layers.Layer, str], int] = {}


@contextlib.contextmanager
def _listening(model: str, taps: Sequence[_Tap]) -> Iterator[_Hearing]:
    """Hears the calls of the taps' layers in this thread.

    A layer's call is wrapped on the instance, once however many threads listen, since replicas of one strategy run in
    threads that take turns in the middle of a forward pass.
    """
    hearing = _Hearing(model, taps)
    layers = {id(tap.layer): tap.layer for tap in taps}.values()
    entries = [(layer, _entry(layer)) for layer in layers]
    with contextlib.ExitStack() as stack:
        for layer, entry in entries:
            stack.enter_context(_wrapped(layer, entry))
        token = _current.set(hearing)
        try:
            yield hearing
        finally:
            _current.reset(token)


@contextlib.contextmanager
def _wrapped(layer: keras.layers.Layer, entry: str) -> Iterator[None]:
    key = (layer, entry)
    # Past Layer.__setattr__, which would track the function as part of the layer.
    own = vars(layer)
    with _lock:
        _listeners[key] = _listeners.get(key, 0) + 1
        if _listeners[key] == 1:
            own[entry] = _heard(layer, getattr(layer, entry), own.get(entry))
    try:
        yield
    finally:
        with _lock:
            _listeners[key] -= 1
            if not _listeners[key]:
                del _listeners[key]
                before = own.pop(entry).before
                if before is not None:
                    own[entry] = before


def _entry(layer: keras.layers.Layer) -> str:
    # Keras runs this method of a layer whose weights it has quantised.
    return "quantized_call" if getattr(layer, "quantization_mode", None) is not None else "call"


def _heard(layer: keras.layers.Layer, call: Callable[..., Any], before: Any) -> Any:
    @functools.wraps(call)
    def heard(*arguments: Any, **options: Any) -> Any:
        results = call(*arguments, **options)
        hearing = _current.get()
        if hearing is not None:
            inputs = [value for name, value in options.items() if not name.endswith("mask")]
            hearing.add(layer, [arguments, inputs], results)
        return results

    heard.before = before  # type: ignore[attr-defined]
    return heard


def _called_often(model: str, tap: str, times: int) -> ModelError:
    return ModelError(
        f"tap {tap!r} of model {model!r} is a layer that is called more than once ({times} times): which of its calls "
        "is meant is not clear. Tap the layer that follows it."
    )


def _not_one_array(model: str, tap: _Tap, count: int) -> ModelError:
    verb, place = ("takes", "before") if tap.takes_input else ("gives", "after")
    return ModelError(
        f"tap {tap.name!r} of model {model!r}: the layer {verb} {count} arrays, but a tap is one array. Tap a layer "
        f"{place} it."
    )
