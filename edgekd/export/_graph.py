"""A model as one frozen TensorFlow function whose names do not depend on what else the process has built."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.framework import ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edgekd.errors import ModelError
from edgekd.export._source import Source, source_of

_TERMINAL_STYLE = re.compile(r"\x1b\[\d*m")  # Keras prints parts of its messages in bold
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_NOT_INLINED = ("_XlaMustCompile", "_noinline")
_NODE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-]*")


def frozen_function(model: Any, *, batch: int | None, output_name: str) -> Any:
    """Returns the model in inference mode as a TensorFlow ConcreteFunction without variables.

    Inputs and outputs keep their order and names; a single output that has none is called `output_name`. Operations
    are named after their layers. TensorFlow's own names carry the model's name and a counter, which vary from process
    to process.

    Args:
      model: a `Source`, or what `source_of` makes one of.
      batch: the batch size, or None for one that may vary.
      output_name: what a single output without a name is called.

    Raises:
      ModelError: a name that TensorFlow's graphs cannot hold, one name for two tensors, another batch than the model's
        own, or a layer that cannot be traced.
    """
    source = source_of(model)
    inputs = [spec.name for spec in source.inputs]
    outputs = [output_name if name is None else name for name in source.outputs]
    _check_names(inputs, outputs)
    frozen = _frozen(source, batch)
    graph = frozen.graph.as_graph_def()
    names = _names(
        [node.name for node in graph.node],
        fixed={
            tensor.op.name: name
            for tensor, name in (
                *zip(frozen.inputs, inputs, strict=True),
                *zip(frozen.outputs, outputs, strict=True),
            )
        },
        model_name=source.name,
        layers=source.layers,
    )
    for node in graph.node:
        node.name = names[node.name]
        node.input[:] = [_renamed(reference, names) for reference in node.input]
        node.attr.pop("_class", None)  # colocation hints that still hold the old names
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    tensors = {name: wrapped.graph.get_tensor_by_name(f"{name}:0") for name in (*inputs, *outputs)}
    feeds, fetches = [tensors[name] for name in inputs], [tensors[name] for name in outputs]
    return wrapped.prune(feeds, fetches)


def _frozen(source: Source, batch: int | None) -> Any:
    for spec in source.inputs:
        if spec.shape[0] not in {None, batch}:
            raise ModelError(
                f"model {source.name!r} was made for batches of {spec.shape[0]}: export it with batch={spec.shape[0]}."
            )
    signature = [tf.TensorSpec((batch, *spec.shape[1:]), tf.float32) for spec in source.inputs]

    def call(*arrays: Any) -> Any:
        # Named here, so that an input that is handed on unchanged is still an operation of its own.
        return [tf.identity(made) for made in source.call(arrays)]

    traced = tf.function(call, input_signature=signature, autograph=False)
    try:
        with _closed_name_scopes():
            concrete = traced.get_concrete_function()
    except (ValueError, TypeError, NotImplementedError, RuntimeError, tf.errors.OpError) as error:
        reason = " ".join(_TERMINAL_STYLE.sub("", str(error)).split())[:500]
        raise ModelError(f"model {source.name!r} cannot be traced as a TensorFlow graph: {reason}") from error
    return _inlined(convert_variables_to_constants_v2(concrete))


@contextlib.contextmanager
def _closed_name_scopes() -> Iterator[None]:
    """Closes the name scopes of Keras that the block leaves open.

    A layer whose name TensorFlow refuses leaves its scope and its model's open for the rest of the process, and later
    networks' variables would be called after them.
    """

    def scopes() -> list[Any]:
        return global_state.get_global_attribute("name_scope_stack", default=[], set_to_default=True)

    open_before = len(scopes())
    try:
        yield
    finally:
        del scopes()[open_before:]


def _inlined(function: Any) -> Any:
    """Returns a frozen function without calls of others.

    Keras has grouped convolutions compiled by XLA, and a function that must be compiled is not inlined.
    """
    graph = function.graph.as_graph_def()
    if not any(node.op in _CALLS for node in graph.node):
        return function
    # A changed function needs a name that this process does not know; it goes when the function is inlined.
    names = {each.signature.name: f"{each.signature.name}_{ops.uid()}" for each in graph.library.function}
    bodies = [node for each in graph.library.function for node in each.node_def]
    for each in graph.library.function:
        each.signature.name = names[each.signature.name]
    for holder in (*graph.library.function, *graph.node, *bodies):
        for attribute in _NOT_INLINED:
            holder.attr.pop(attribute, None)
    for node in (*graph.node, *bodies):
        for value in node.attr.values():
            if value.func.name in names:
                value.func.name = names[value.func.name]
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    feeds, fetches = (
        [wrapped.graph.get_tensor_by_name(tensor.name) for tensor in tensors]
        for tensors in (function.inputs, function.outputs)
    )
    return convert_variables_to_constants_v2(wrapped.prune(feeds, fetches))


def _check_names(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for what, names in (("input", inputs), ("output", outputs)):
        for name in names:
            if not isinstance(name, str) or not _NODE_NAME.fullmatch(name):
                raise ModelError(
                    f"the {what} cannot be called {name!r} in an exported file: use letters, digits and _ . - only, as "
                    f"the {'name of the keras.Input' if what == 'input' else 'output_name'}, or set {what}_names."
                )
    both = sorted(set(inputs) & set(outputs))
    if both:
        raise ModelError(f"input and output would both be called {both[0]!r}: set another output_name.")
    for what, names in (("inputs", inputs), ("outputs", outputs)):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ModelError(f"several {what} would be called {twice[0]!r}: set {what.removesuffix('s')}_names.")


def _names(nodes: list[str], *, fixed: dict[str, str], model_name: str, layers: frozenset[str]) -> dict[str, str]:
    """Returns new, distinct names: without the model's scope, and without the counter after each layer's name."""
    renamed = dict(fixed)
    taken = set(fixed.values())
    for node in nodes:
        if node in fixed:
            continue
        scopes = node.split("/")
        if len(scopes) > 1 and re.fullmatch(rf"{re.escape(model_name)}(_\d+)?", scopes[0]):
            scopes = scopes[1:]
        base = "/".join(_without_counter(scope, layers) for scope in scopes)
        name, number = base, 1
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        renamed[node] = name
        taken.add(name)
    return renamed


def _without_counter(scope: str, layers: frozenset[str]) -> str:
    if scope.isdigit():  # TensorFlow numbers what an inlined function reads from outside
        return "captured"
    bare = re.sub(r"_\d+$", "", scope)
    return bare if bare in layers and scope not in layers else scope


def _renamed(reference: str, names: dict[str, str]) -> str:
    control, name, port = re.fullmatch(r"(\^?)([^:]+)((?::\d+)?)", reference).groups()  # type: ignore[union-attr]
    return f"{control}{names[name]}{port}"
