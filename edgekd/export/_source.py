"""A model of any library as what export needs of it: a function of float32 tensors with named inputs and outputs."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekd.errors import ModelError, NonFiniteError, RecipeError, unknown_name
from edgekd.quantize.aware.rounding import FakeQuantize
from edgekd.records import TensorSpec

Names = Sequence[str] | Mapping[str, str]
Shapes = Sequence[int] | Mapping[str, Sequence[int]]


@dataclasses.dataclass(frozen=True)
class Source:
    """A model in inference mode.

    Attributes:
      name: of the model, for messages and to strip from the names of operations.
      call: from one tensor for each input to one for each output, in the order below.
      inputs: name, shape (None where the batch, or a size, is open) and dtype.
      outputs: their names; None for a single output that has not been given one.
      weights: all variables, in the model's order.
      layers: names of layers, after which operations are named.
    """

    name: str
    call: Callable[[Sequence[Any]], Sequence[Any]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str | None, ...]
    weights: tuple[Any, ...]
    layers: frozenset[str] = frozenset()


def source_of(model: Any) -> Source:
    """Returns a model as a source.

    Args:
      model: a Keras 3 model (functional, sequential, or subclassed and built by a call), a functional or sequential
        tf_keras model, or a ConcreteFunction, such as a SavedModel's signature.

    Raises:
      ModelError: it is none of these, or does not tell what it takes.
    """
    if isinstance(model, Source):
        return model
    if isinstance(model, tf.types.experimental.ConcreteFunction):
        return _of_function(model)
    legacy = sys.modules.get("tf_keras")  # whoever holds a model of it has imported it
    if legacy is not None and isinstance(model, legacy.Model):
        return _of_graph(model, library=legacy)
    if isinstance(model, keras.Model):
        if getattr(model, "inputs", None) and getattr(model, "outputs", None):
            return _of_graph(model, library=keras)
        return _of_subclass(model)
    raise ModelError(
        f"only Keras models and TensorFlow's concrete functions can be exported, received {type(model).__name__}: load "
        "a file first, or wrap your function in tf.function and get_concrete_function."
    )


def chosen(
    source: Source, *, input_names: Names | None = None, output_names: Names | None = None, shape: Shapes | None = None
) -> Source:
    """Returns the source with the inputs and outputs that a file shall have.

    Args:
      source: the model.
      input_names: names for all inputs in the model's order; or {the model's name: the file's name} for all of them,
        in the order that the file shall have.
      output_names: likewise; as a mapping it may also leave outputs out.
      shape: one sample's shape, for the only input; or {the model's input name: shape}. It fixes sizes that the model
        leaves open.

    Raises:
      RecipeError: unknown, missing or repeated names, or a wrong number of them.
      ModelError: a shape that the model cannot take, or a size that is still open.
    """
    inputs = _fixed(source, shape)
    order, named = _selected(
        [spec.name for spec in inputs], input_names, what="input", model=source.name, all_needed=True
    )
    own = [name or "the output" for name in source.outputs]
    kept, outputs = _selected(own, output_names, what="output", model=source.name, all_needed=False)

    def call(arrays: Sequence[Any]) -> Sequence[Any]:
        given = dict(zip(order, arrays, strict=True))
        made = source.call([given[position] for position in range(len(order))])
        return [made[position] for position in kept]

    unnamed = output_names is None and source.outputs == (None,)
    return dataclasses.replace(
        source,
        call=call,
        inputs=tuple(
            inputs[position].model_copy(update={"name": name}) for position, name in zip(order, named, strict=True)
        ),
        outputs=(None,) if unnamed else tuple(outputs),
    )


def input_names_in_file(source: Source, names: Names | None) -> dict[str, str]:
    """Returns {the model's name of an input: the file's name} for `input_names` of `chosen`."""
    own = [spec.name for spec in source.inputs]
    order, named = _selected(own, names, what="input", model=source.name, all_needed=True)
    return {own[position]: name for position, name in zip(order, named, strict=True)}


def sample_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Returns the shape of one sample of an input of a source that `chosen` has returned: none of its sizes is open."""
    return tuple(size for size in spec.shape[1:] if size is not None)


def check_weights(source: Source) -> None:
    """Raises NonFiniteError, naming the first weight, unless every weight is finite."""
    for weight in source.weights:
        values = keras.ops.convert_to_numpy(weight)
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            name = weight.path if isinstance(weight, keras.Variable) else weight.name
            raise NonFiniteError(
                f"weight {name!r} of model {source.name!r} has NaN or infinity in "
                f"{int((~np.isfinite(values)).sum())} of {values.size} elements: train it again before exporting."
            )


def _of_graph(model: Any, *, library: Any) -> Source:
    structure = model.inputs[0] if isinstance(model, library.Sequential) else model.input
    tensors = tf.nest.flatten(structure)
    # Keras 3 calls its tensors as the inputs are called; tf_keras keeps these names in a list.
    named = [tensor.name for tensor in tensors] if library is keras else list(model.input_names)
    own = [str(name) for name in model.output_names] if library is not keras else [_maker(t) for t in model.outputs]
    # A Sequential that was never called has no `output`.
    given = model.outputs[0] if isinstance(model, library.Sequential) else model.output
    outputs = _output_names(given, own)

    def call(arrays: Sequence[Any]) -> Sequence[Any]:
        packed = tf.nest.pack_sequence_as(structure, list(arrays))
        made: Sequence[Any] = tf.nest.flatten(model(packed, training=False))
        return made

    for tensor, what in (
        *((tensor, "input") for tensor in tensors),
        *((tensor, "output") for tensor in model.outputs),
    ):
        _require_float32(str(getattr(tensor.dtype, "name", tensor.dtype)), what=what, name=model.name)
    return Source(
        name=model.name,
        call=call,
        inputs=tuple(
            TensorSpec(name=name, shape=(None, *tuple(tensor.shape)[1:]), dtype="float32")
            for name, tensor in zip(named, tensors, strict=True)
        ),
        outputs=tuple(_distinct(outputs)) if len(model.outputs) > 1 else (None,),
        weights=tuple(model.weights),
        layers=frozenset(_layer_names(model)),
    )


def _maker(tensor: Any) -> str:
    """Returns the name of the layer that gives a tensor; of a fake-quantised one, of the layer that is rounded."""
    while isinstance(tensor._keras_history.operation, FakeQuantize):
        history = tensor._keras_history
        tensor = history.operation._inbound_nodes[history.node_index].input_tensors[0]
    return str(tensor._keras_history.operation.name)


def _of_subclass(model: keras.Model) -> Source:
    """A subclassed model has no graph; it remembers the shape that it was first called with."""
    shape = model.get_build_config().get("input_shape") if model.built else None
    if not isinstance(shape, tuple | list) or not all(size is None or isinstance(size, int) for size in shape):
        raise ModelError(
            f"the subclassed model {model.name!r} does not tell what it takes: call it on one sample tensor before it "
            "is exported, or wrap it: keras.Model(inputs, model(inputs))."
        )
    _require_float32(str(model.input_dtype), what="input", name=model.name)

    def call(arrays: Sequence[Any]) -> Sequence[Any]:
        made: Sequence[Any] = tf.nest.flatten(model(arrays[0], training=False))
        return made

    made = tf.nest.flatten(model.compute_output_spec(keras.KerasTensor((1, *shape[1:]), dtype="float32")))
    for each in made:
        _require_float32(str(each.dtype), what="output", name=model.name)
    return Source(
        name=model.name,
        call=call,
        inputs=(TensorSpec(name="input", shape=(None, *shape[1:]), dtype="float32"),),
        outputs=(None,) if len(made) == 1 else tuple(f"output_{number}" for number in range(len(made))),
        weights=tuple(model.weights),
        layers=frozenset(_layer_names(model)),
    )


def _of_function(function: Any) -> Source:
    name = str(function.name).strip("_")
    positional, keywords = function.structured_input_signature
    flat = tf.nest.flatten((positional, keywords))
    if not flat or not all(isinstance(each, tf.TensorSpec) for each in flat):
        raise ModelError(
            f"the function {name!r} takes other things than tensors: bind them first (functools.partial, tf.function)."
        )
    for spec in flat:
        _require_float32(spec.dtype.name, what="input", name=name)
        if spec.shape.rank is None or spec.shape.rank < 1:
            raise ModelError(f"an input of the function {name!r} has shape {spec.shape}: expected [batch, ...].")

    def call(arrays: Sequence[Any]) -> Sequence[Any]:
        arguments, named = tf.nest.pack_sequence_as((positional, keywords), list(arrays))
        made: Sequence[Any] = tf.nest.flatten(function(*arguments, **named))
        return made

    made = tf.nest.flatten(function.structured_outputs)
    for each in made:
        _require_float32(each.dtype.name, what="output", name=name)
    names = _output_names(function.structured_outputs, [f"output_{number}" for number in range(len(made))])
    try:
        weights = tuple(function.variables)
    except AssertionError as error:  # TensorFlow's own, for a function that outlives the module it belongs to
        raise ModelError(
            f"the variables of function {name!r} are gone: keep what tf.saved_model.load returned until it is exported."
        ) from error
    return Source(
        name=name,
        call=call,
        inputs=tuple(
            TensorSpec(name=spec.name or f"input_{number}", shape=tuple(spec.shape), dtype="float32")
            for number, spec in enumerate(flat)
        ),
        outputs=(None,) if len(made) == 1 else tuple(names),
        weights=weights,
    )


def _output_names(structure: Any, otherwise: list[str]) -> list[str]:
    """Returns the keys of a mapping of outputs, in the order in which TensorFlow flattens it."""
    if isinstance(structure, Mapping) and len(structure) == len(otherwise):
        return [str(key) for key in sorted(structure)]
    return otherwise


def _require_float32(dtype: str, *, what: str, name: str) -> None:
    if dtype != "float32":
        raise ModelError(f"the {what} of model {name!r} is {dtype}, expected float32.")


def _fixed(source: Source, shape: Shapes | None) -> tuple[TensorSpec, ...]:
    given = _by_input(source, shape)
    fixed = []
    for spec in source.inputs:
        sample = spec.shape[1:]
        if spec.name in given:
            wanted = given[spec.name]
            fits = len(wanted) == len(sample) and all(
                type(size) is int and size > 0 and own in (None, size) for own, size in zip(sample, wanted, strict=True)
            )
            if not fits:
                raise ModelError(
                    f"input {spec.name!r} of model {source.name!r} takes samples of shape {list(sample)}, which "
                    f"{list(wanted)} does not fit: give whole numbers where it says None."
                )
            sample = tuple(wanted)
        if None in sample:
            raise ModelError(
                f"the input {spec.name!r} of model {source.name!r} has shape {list(spec.shape)}: in a file only the "
                "batch may vary. Fix the other sizes with shape, one sample's shape such as shape=[96, 96, 3]."
            )
        fixed.append(spec.model_copy(update={"shape": (spec.shape[0], *sample)}))
    return tuple(fixed)


def _by_input(source: Source, shape: Shapes | None) -> dict[str, tuple[int, ...]]:
    if shape is None:
        return {}
    names = [spec.name for spec in source.inputs]
    if isinstance(shape, Mapping):
        for name in shape:
            if name not in names:
                raise RecipeError(unknown_name(f"input of model {source.name!r} in shape:", name, names))
        return {name: tuple(sizes) for name, sizes in shape.items()}
    if len(names) != 1:
        raise RecipeError(
            f"model {source.name!r} has {len(names)} inputs: give shape as a mapping of {', '.join(names)} to shapes."
        )
    return {names[0]: tuple(shape)}


def _selected(
    own: Sequence[str], names: Names | None, *, what: str, model: str, all_needed: bool
) -> tuple[list[int], list[str]]:
    """Returns positions in the model's order and the file's names, in the file's order."""
    if names is None:
        return list(range(len(own))), list(own)
    if isinstance(names, Mapping):
        for name in names:
            if name not in own:
                raise RecipeError(unknown_name(f"{what} of model {model!r} in {what}_names:", name, own))
        missing = [name for name in own if name not in names]
        if missing and (all_needed or not names):
            raise RecipeError(f"{what}_names of model {model!r} leaves out {', '.join(missing)}: name every {what}.")
        order, new = [own.index(name) for name in names], list(names.values())
    else:
        if isinstance(names, str) or len(names) != len(own):
            raise RecipeError(
                f"{what}_names is {names!r}: expected {len(own)} name(s), for {', '.join(own)} of model {model!r}."
            )
        order, new = list(range(len(own))), list(names)
    return order, new


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns the names, numbered where a layer gives several outputs."""
    return [
        name if names.count(name) == 1 else f"{name}_{names[:position].count(name)}"
        for position, name in enumerate(names)
    ]


def _layer_names(model: Any) -> list[str]:
    found = []
    for layer in model.layers:
        found.append(layer.name)
        if hasattr(layer, "layers"):
            found += _layer_names(layer)
    return found
