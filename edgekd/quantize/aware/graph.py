"""A network as a flat list of calls: nested networks are opened, shared layers are called several times."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras

from edgekd.errors import ModelError


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """An array that a call takes or gives."""


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation.

    Attributes:
      operation: what is called.
      name: the operation's name, after those of the networks that it is nested in, with dots.
      args, kwargs: as the network passes them, with a Value for each array.
      outputs: what it gives.
    """

    operation: keras.Operation
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Value, ...]

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The arrays that it takes, in order."""
        return tuple(leaf for leaf in keras.tree.flatten((self.args, self.kwargs)) if isinstance(leaf, Value))


@dataclasses.dataclass(frozen=True)
class Graph:
    """A network's calls in an order in which they can be made.

    Attributes:
      calls: every call of a layer or operation that is no network itself.
      inputs: the network's inputs, in its order.
      outputs: the network's outputs, in its order.
    """

    calls: tuple[Call, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def trace(model: keras.Model) -> Graph:
    """Returns the calls of a network.

    Raises:
      ModelError: it is not a built functional or sequential network, or one that is nested in it is not.
    """
    calls: list[Call] = []
    inputs = tuple(Value() for _ in _functional(model).inputs)
    outputs = _functional(model)._run_through_graph(inputs, operation_fn=_recording(calls, ""))
    return Graph(tuple(calls), inputs, tuple(keras.tree.flatten(outputs)))


def _recording(calls: list[Call], prefix: str) -> Callable[[keras.Operation], Callable[..., Any]]:
    def recorder(operation: keras.Operation) -> Callable[..., Any]:
        name = f"{prefix}{operation.name}"

        def record(*args: Any, **kwargs: Any) -> Any:
            if isinstance(operation, keras.Model):
                inner = _functional(operation)
                return inner._run_through_graph(args[0], operation_fn=_recording(calls, f"{name}."))
            # training=False says what a copy does anyway; training=True would change what the network computes.
            given = {
                key: value for key, value in kwargs.items() if value is not None and (key, value) != ("training", False)
            }
            count = len(keras.tree.flatten(operation._inbound_nodes[0].outputs))
            call = Call(operation, name, args, given, tuple(Value() for _ in range(count)))
            calls.append(call)
            return list(call.outputs)

        return record

    return recorder


def _functional(model: Any) -> Any:
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"a {type(model).__module__}.{type(model).__name__} is no Keras 3 network: load it first, or carry it to "
            "Keras 3 with edgekd.quantize.legacy.from_tf_keras."
        )
    if isinstance(model, keras.Sequential) and model.built:
        return model._functional
    if isinstance(model, keras.Function) and model.built:
        return model
    raise ModelError(
        f"{model.name!r} is a {type(model).__name__}: only built functional and sequential networks can be trained "
        "quantisation-aware. Build it as keras.Model(inputs, outputs), or give a sequential network an Input."
    )


def outputs_of(model: keras.Model) -> Any:
    """Returns a network's output tensors in the structure in which it gives them."""
    return _functional(model)._outputs_struct


def operations(model: keras.Model) -> Iterator[tuple[str, keras.Operation]]:
    """Yields every operation of a network once, with its name."""
    seen = set()
    for call in trace(model).calls:
        if id(call.operation) not in seen:
            seen.add(id(call.operation))
            yield call.name, call.operation
