"""What networks of Keras 3 and of tf_keras share: their shapes, their last operation, their identity, running them."""

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import storage
from edgekd.architectures import weights_sha256
from edgekd.errors import ModelError, ShapeError
from edgekd.teachers.frozen import Array, Opened, output_shape, wrong_output

_LIBRARIES = {"keras", "tf_keras", "tensorflow", "edgekd", *sys.stdlib_module_names}
# What a configuration says of training, of versions or of this process, and not of the outputs.
_IRRELEVANT = {"backend", "build_config", "compile_config", "keras_version", "shared_object_id", "trainable"}


def opened(model: Any, call: Callable[[Any], Mapping[str, Any]], *, name: str, loader: str, config: Any) -> Opened:
    """Returns a network as a teacher.

    Args:
      model: built, of Keras 3 or tf_keras.
      call: from a [batch, ...] float32 tensor to the logits and taps.
      name: of the teacher.
      loader: the library and its version.
      config: the network's configuration, of JSON types; None for a network that has none.
    """
    found, uncacheable, own_code = identity(model, config)
    return Opened(
        name=name,
        loader=loader,
        run=compiled(call, name=name),
        identity=found,
        uncacheable=uncacheable and f"teacher {name!r}: {uncacheable}",
        runs_own_code=own_code,
        variables_sha256=lambda: weights_sha256(model),
        ends_in=ends_in(model),
    )


def compiled(call: Callable[[Any], Mapping[str, Any]], *, name: str) -> Callable[[Array], Mapping[str, Any]]:
    """Returns a function that compiles `call` once for every shape of its batches.

    Args:
      call: from a [batch, ...] float32 tensor to tensors by name.
      name: of the teacher, for messages.
    """
    import tensorflow as tf

    functions: dict[tuple[int, ...], Any] = {}

    def run(images: Array) -> Mapping[str, Any]:
        try:
            if images.shape not in functions:
                signature = tf.TensorSpec(images.shape, tf.float32)
                functions[images.shape] = tf.function(call, autograph=False).get_concrete_function(signature)
            found: Mapping[str, Any] = functions[images.shape](tf.constant(images))
        except (ValueError, TypeError, NotImplementedError, RuntimeError, tf.errors.OpError) as error:
            raise ModelError(
                f"teacher {name!r} could not be run on images {list(images.shape)}: {type(error).__name__}: "
                f"{' '.join(str(error).split())[:500]}"
            ) from error
        return found

    return run


def require_built(model: Any, *, name: str) -> None:
    """Raises ModelError when a network has no weights yet: it cannot have been trained."""
    if not model.built:
        raise ModelError(
            f"teacher {name!r} has no weights yet: call it on a sample, and load its weights, before it teaches."
        )


def require_shapes(model: Any, *, name: str, input_shape: Sequence[int], num_classes: int | None) -> None:
    """Raises ShapeError unless a network with a known graph takes such images and gives a number for each class.

    Without classes, it must give back the images.
    """
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        return  # subclassed: the trial batch shows its shapes
    if len(inputs) != 1 or len(outputs) != 1:
        raise ShapeError(
            f"teacher {name!r} has {len(inputs)} inputs and {len(outputs)} outputs: a network with one input and one "
            "output, the logits, is needed."
        )
    received, classes = tuple(inputs[0].shape[1:]), tuple(outputs[0].shape[1:])
    if not fits(received, input_shape):
        raise ShapeError(wrong_input(name, received, input_shape))
    if not fits(classes, output_shape(input_shape, num_classes)):
        raise ShapeError(f"teacher {name!r} {wrong_output(classes, input_shape, num_classes)}")


def fits(expected: Sequence[int | None], received: Sequence[int]) -> bool:
    """Returns whether samples of a shape fit a shape whose open sizes are None."""
    return len(expected) == len(received) and all(
        size in {None, given} for size, given in zip(expected, received, strict=True)
    )


def wrong_input(name: str, expected: Sequence[int | None], received: Sequence[int]) -> str:
    """Returns the message for a teacher that takes samples of another shape; both shapes are without the batch."""
    turned = [received[-1], *received[:-1]] if len(received) > 1 else []
    hint = (
        "its images have their channels first: set the teacher's layout to 'channels_first'"
        if fits(expected, turned)
        else "choose another teacher or data of its size, or write a function that resizes the images"
    )
    return f"teacher {name!r} takes images of shape {list(expected)}, but the samples have {list(received)}: {hint}."


def ends_in(model: Any) -> str | None:
    """Returns the lower-case name of the last activation or operation, as far as the network shows it."""
    if not getattr(model, "outputs", None):
        return None
    history = model.outputs[0]._keras_history
    last = history.operation if hasattr(history, "operation") else history.layer
    if getattr(last, "outputs", None) and hasattr(last, "layers"):
        return ends_in(last)
    activation = getattr(last, "activation", last)
    return str(getattr(activation, "__name__", type(activation).__name__)).lower()


def identity(model: Any, config: Any) -> tuple[str | None, str, bool]:
    """Returns a network's hash, why there is none, and whether Python code of the user's takes part.

    Args:
      model: a built network of Keras 3 or tf_keras.
      config: its configuration, of JSON types; None for a network that has none.
    """
    own = list(_own_code(model))
    if config is None and not own:
        own = [type(model)]
    sources = set()
    for thing in own:
        source = source_of(thing)
        if source is None:
            return (
                None,
                f"{getattr(thing, '__qualname__', thing)!r} has no source file that could be hashed, so its outputs "
                "cannot be cached: put it into a module.",
                True,
            )
        sources.add(storage.sha256_file(source))
    text = json.dumps(_relevant(config, top=True), sort_keys=True, default=str)
    parts = [text, weights_sha256(model), *sorted(sources)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest(), "", bool(own)


def source_of(thing: Any) -> Path | None:
    """Returns the file that a class or function is written in, or None."""
    try:
        found = inspect.getsourcefile(inspect.unwrap(thing))
    except TypeError:
        return None
    path = Path(found) if found else None
    return path if path is not None and path.is_file() else None


def _own_code(model: Any) -> Iterable[Any]:
    """Yields the classes and functions of a network that no library of ours defines."""
    for layer in model._flatten_layers():
        for kind in type(layer).__mro__:
            if kind.__module__.partition(".")[0] not in _LIBRARIES:
                yield kind
        for attribute in ("activation", "function"):
            function = getattr(layer, attribute, None)
            if inspect.isfunction(function) and function.__module__.partition(".")[0] not in _LIBRARIES:
                yield function


def _relevant(config: Any, *, top: bool = False) -> Any:
    if isinstance(config, list | tuple):
        return [_relevant(item) for item in config]
    if not isinstance(config, dict):
        return config
    kept = {key: _relevant(value) for key, value in config.items() if key not in _IRRELEVANT}
    if top and isinstance(kept.get("config"), dict):
        kept["config"].pop("name", None)  # the network's own name has a counter of the process and changes no output
    return kept
