"""Networks by name: edgekd's own families, or a function of the user's."""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import importing, registry
from edgekd.errors import EdgekdError, ModelError, RecipeError, ShapeError

if TYPE_CHECKING:
    import keras

PACKAGE = "edgekd.architectures"

_LARGEST_SEED = 2**32 - 1  # numpy's


def create(
    name: str,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    seed: int,
    arguments: Mapping[str, Any] = MappingProxyType({}),
    output_shape: Sequence[int] | None = None,
) -> "keras.Model":
    """Returns a freshly initialised network.

    The same seed gives the same initial weights and the same dropout, in any process and whatever was built before.
    As a side effect Python's, NumPy's and TensorFlow's global random generators are seeded.

    Args:
      name: a family of edgekd's, or `package.module:function` for one's own network. The function is called as
        function(input_shape, num_classes, **arguments); the current folder counts as importable.
      input_shape: one sample's shape, without the batch.
      num_classes: number of classes.
      seed: from 0 to 2**32 - 1.
      arguments: keyword arguments of the family or function.
      output_shape: what a function's network must give for one sample, where that is not a logit for each class.

    Returns:
      A built Keras model from [batch, *input_shape] to [batch, num_classes] logits, or to what the family states in
      its OUTPUT; of a function to `output_shape`.

    Raises:
      RecipeError: unknown name, unknown or missing argument, or a seed out of range.
      ModelError: an argument is out of its range; or the user's function cannot be imported, fails, or returns
        something other than a Keras model.
      ShapeError: the input is too small for the network, or its output is not what it must be.
    """
    import keras

    check(name, arguments)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= _LARGEST_SEED:
        raise RecipeError(f"seed must be a whole number from 0 to {_LARGEST_SEED}, received {seed!r}.")
    shape = tuple(input_shape)
    if importing.is_name(name):
        with importing.importable(str(Path.cwd())):
            function = _imported(name)
            with _fresh_layer_names():
                keras.utils.set_random_seed(seed)
                model = _call(name, function, shape, num_classes, arguments)
                _require_output(name, model, shape, tuple(output_shape or (num_classes,)))
        return model
    plugin = registry.load(PACKAGE, name)
    keras.utils.set_random_seed(seed)
    model = plugin.build(shape, num_classes, **arguments)
    reconstructs = getattr(plugin, "OUTPUT", "logits") == "reconstruction"
    _require_output(name, model, shape, shape if reconstructs else (num_classes,))
    return model


def check(name: str, arguments: Mapping[str, Any]) -> None:
    """Raises RecipeError unless the name is known and takes these arguments; imports neither Keras nor the network.

    The arguments of a user's own function are checked when it is called.
    """
    if importing.is_name(name):
        return
    if ":" in name:
        raise RecipeError(f"architecture {name!r} is not of the form package.module:function: correct it.")
    plugin = registry.describe(PACKAGE, name, entry="build")
    registry.check_arguments(plugin, arguments, kind=f"argument of architecture {name!r}")


def default_taps(name: str) -> tuple[str, ...]:
    """Returns a family's default taps, from input to output, without importing it.

    A user's own network has no default taps: (). Name its layers in the recipe.
    """
    if importing.is_name(name):
        return ()
    return tuple(registry.describe(PACKAGE, name, entry="build").constants["TAPS"])


def _imported(name: str) -> Callable[..., Any]:
    function = importing.load(name, role="architecture")
    if not callable(function):
        raise ModelError(f"architecture {name!r} names an object of type {type(function).__name__}, not a function.")
    checked: Callable[..., Any] = function
    return checked


def _call(
    name: str, function: Callable[..., Any], shape: tuple[int, ...], num_classes: int, arguments: Mapping[str, Any]
) -> Any:
    import keras

    try:
        signature = inspect.signature(function)
        signature.bind(shape, num_classes, **arguments)
    except TypeError as error:
        raise ModelError(
            f"architecture {name!r} must accept (input_shape, num_classes{''.join(f', {key}=' for key in arguments)}), "
            f"but its signature is {signature}: {error}."
        ) from error
    try:
        model = function(shape, num_classes, **arguments)
    except EdgekdError:
        raise
    except Exception as error:  # the user's function may fail in any way
        raise ModelError(f"architecture {name!r} failed with {type(error).__name__}: {error}") from error
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"architecture {name!r} must return a keras.Model of Keras 3, received {type(model).__module__}."
            f"{type(model).__qualname__}."
        )
    return model


def _require_output(name: str, model: Any, input_shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    received = _output_shape(name, model, input_shape)
    if received != (None, *expected):
        raise ShapeError(
            f"architecture {name!r} must return {_batch_shape((None, *expected))} for input "
            f"{_batch_shape((None, *input_shape))}, but returns {_batch_shape(received)}."
        )


def _output_shape(name: str, model: Any, input_shape: tuple[int, ...]) -> Any:
    """Returns the model's output shape with None for the batch; builds a model that is not built yet."""
    import keras

    if not isinstance(model, keras.Function | keras.Sequential) or not model.built:
        # A subclassed model has its weights only once it is called.
        try:
            output = model(np.zeros((1, *input_shape), "float32"), training=False)
        except Exception as error:  # the user's call() may fail in any way
            raise ModelError(
                f"architecture {name!r} cannot take input {_batch_shape((None, *input_shape))}: "
                f"{type(error).__name__}: {error}"
            ) from error
        shapes = keras.tree.flatten(keras.tree.map_structure(lambda tensor: tuple(tensor.shape), output))
        if keras.tree.is_nested(output):
            raise ShapeError(
                f"architecture {name!r} must return one array of logits, but returns {len(shapes)} outputs."
            )
        return (None, *tuple(output.shape)[1:])
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ShapeError(
            f"architecture {name!r} must have one input and one output, but has {len(model.inputs)} and "
            f"{len(model.outputs)}."
        )
    if tuple(model.inputs[0].shape[1:]) != input_shape:
        raise ShapeError(
            f"architecture {name!r} was asked for input {_batch_shape((None, *input_shape))}, but takes "
            f"{_batch_shape(model.inputs[0].shape)}."
        )
    return tuple(model.outputs[0].shape)


def _batch_shape(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('batch' if size is None else str(size) for size in shape)}]"


@contextlib.contextmanager
def _fresh_layer_names() -> Iterator[None]:
    """Numbers automatic layer names from the start inside, and goes on where they were afterwards.

    So a network's names do not depend on what was built before it, and layers added later to an older model still
    get names that it does not have. keras.utils.clear_session() would also forget the user's dtype policy.
    """
    from keras.src.backend.common import global_state

    counters = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", counters)
