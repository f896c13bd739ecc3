"""Keras networks layer by layer: every call of a layer or operation, nested networks opened."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from edgekd.architectures import load_model
from edgekd.errors import ModelError
from edgekd.quantize.aware.graph import Call, Value, trace
from edgekd.quantize.aware.layers import Affine, FreezingBatchNorm, QuantizedKernel, QuantizedMerge
from edgekd.quantize.aware.rounding import FakeQuantize, FloatBoundary
from edgekd.records import TensorSpec
from edgekd.runtime.layers.graph import LINEAR, MOVING, QUANTISE, Array, Graph, Kernel, Operator

_LINEAR: Mapping[type, str] = {
    layers.Conv1D: "conv",
    layers.Conv1DTranspose: "conv_transposed",
    layers.Conv2D: "conv",
    layers.Conv2DTranspose: "conv_transposed",
    layers.Conv3D: "conv",
    layers.Dense: "dense",
    layers.DepthwiseConv1D: "depthwise",
    layers.DepthwiseConv2D: "depthwise",
    layers.SeparableConv1D: "conv",
    layers.SeparableConv2D: "conv",
}
_KINDS: Mapping[str, str] = {
    "activity_regularization": MOVING,
    "average_pooling1d": "pool_average",
    "average_pooling2d": "pool_average",
    "batch_normalization": "norm",
    "concatenate": "concat",
    "cropping1d": "slice",
    "cropping2d": "slice",
    "dropout": MOVING,
    "expand_dims": MOVING,
    "flatten": MOVING,
    "gaussian_dropout": MOVING,
    "gaussian_noise": MOVING,
    "global_average_pooling1d": "mean",
    "global_average_pooling2d": "mean",
    "global_max_pooling1d": "max",
    "global_max_pooling2d": "max",
    "hard_silu": "hard_swish",
    "identity": MOVING,
    "linear": MOVING,
    "max_pooling1d": "pool_max",
    "max_pooling2d": "pool_max",
    "normalization": "affine",
    "permute": MOVING,
    "rescaling": "affine",
    "reshape": MOVING,
    "spatial_dropout1d": MOVING,
    "spatial_dropout2d": MOVING,
    "squeeze": MOVING,
    "swish": "silu",
    "transpose": MOVING,
    "up_sampling1d": "resize",
    "up_sampling2d": "resize",
    "zero_padding1d": "pad",
    "zero_padding2d": "pad",
}
_WITH_CONSTANT = {
    "add": "shift",
    "subtract": "shift",
    "multiply": "factor",
    "divide": "factor",
    "true_divide": "factor",
}
_OWN: Mapping[type, str] = {
    Affine: "affine",
    FakeQuantize: QUANTISE,
    FloatBoundary: MOVING,
    FreezingBatchNorm: "norm",
}
_IN_INTEGERS = (Affine, FreezingBatchNorm, QuantizedKernel, QuantizedMerge)


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """One operator: what computes it, from tensors by key."""

    operator: Operator
    run: Callable[[Mapping[str, Any]], Sequence[Any]]
    layer: Any


class KerasLayers:
    """A Keras network; a tensor's key is a number. A layer with an activation is two operators."""

    batch = None

    def __init__(self, model: keras.Model, name: str) -> None:
        self.name = name
        graph = trace(model)
        self._keys: dict[int, str] = {id(value): f"input {index}" for index, value in enumerate(graph.inputs)}
        self._held = graph  # the ids of its values stand for them
        specs = {
            f"input {index}": TensorSpec(name=tensor.name, shape=tuple(tensor.shape), dtype=str(tensor.dtype))
            for index, tensor in enumerate(model.inputs)
        }
        self._steps: list[_Step] = []
        for number, call in enumerate(graph.calls):
            if not call.inputs:
                raise ModelError(f"{name!r} has a constant, {call.name!r}, as an operation: compare it as a whole.")
            self._add(number, call, specs)
        self._known = {id(step.operator): step for step in self._steps}
        self.graph = Graph(
            operators=tuple(step.operator for step in self._steps),
            inputs=tuple(self._keys[id(value)] for value in graph.inputs),
            outputs=tuple(self._keys[id(value)] for value in graph.outputs),
            tensors=specs,
        )

    def values(self, arrays: Sequence[Array]) -> dict[str, Array]:
        return self._run(dict(zip(self.graph.inputs, arrays, strict=True)), self._steps, list(self.graph.tensors))

    def part(self, feeds: Mapping[str, Array], output: str) -> Array:
        producers = {key: step for step in self._steps for key in step.operator.outputs}
        needed: set[int] = set()
        wanted, seen = [output], set(feeds) - {output}
        while wanted:
            key = wanted.pop()
            if key not in seen and key in producers:
                seen.add(key)
                needed.add(id(producers[key]))
                wanted += producers[key].operator.inputs
        return self._run(feeds, [step for step in self._steps if id(step) in needed], [output])[output]

    def kernel(self, operator: Operator) -> Kernel | None:
        layer = self._known[id(operator)].layer
        rounded = isinstance(layer, QuantizedKernel)
        if rounded:
            layer = layer.layer
        kind = type(layer)
        if kind not in _LINEAR:
            return None
        weights = layer.pointwise_kernel if "Separable" in kind.__name__ else layer.kernel
        values = keras.ops.convert_to_numpy(weights).astype(np.float32)
        if _LINEAR[kind] == "conv_transposed":
            values = np.moveaxis(values, -2, 0)
        elif _LINEAR[kind] == "depthwise":
            values = np.moveaxis(values.reshape(*values.shape[:-2], 1, -1), -1, 0)
        else:
            values = np.moveaxis(values, -1, 0)
        axes = tuple(range(1, values.ndim))
        if rounded:
            largest = np.max(np.abs(values), axis=axes)
            one = kind in (layers.Dense, layers.Conv2DTranspose)
            steps = np.full_like(largest, largest.max()) / 127 if one else largest / 127
        else:
            steps = np.finfo(np.float32).eps * np.sqrt(np.mean(np.square(values), axis=axes))
        first = getattr(layer, "data_format", "channels_last") == "channels_first"
        return Kernel(values=values, steps=steps, axis=1 if first else -1)

    def _add(self, number: int, call: Call, specs: dict[str, TensorSpec]) -> None:
        """Adds a call as its parts: a layer, and one operator or more for its activation."""
        inputs = tuple(self._keys[id(value)] for value in call.inputs)
        outputs = tuple(f"{number}" if index == 0 else f"{number}:{index}" for index in range(len(call.outputs)))
        names = self._keys
        layer, activation = call.operation, _activation_of(call.operation)
        parts = [] if activation is None else _parts(activation)
        read = inputs
        if activation is None or type(layer) in _LINEAR:
            own = layer if activation is None else _without_activation(layer)
            made = (f"{number}, before its activation",) if parts else outputs
            kind = _kind(call)
            operator = Operator(kind, type(layer).__name__, inputs, made, kernel=outputs[0] if kind in LINEAR else None)
            self._steps.append(_Step(operator, lambda found: _called(own, call, names, found), layer))
            read = made
        start = read
        for position, (kind, name, function) in enumerate(parts):
            last = position == len(parts) - 1
            made = outputs if last else (f"{number}, after {kind}",)
            given = (*start, *read) if kind == "multiply" else read  # a gate
            self._steps.append(_Step(Operator(kind, name, given, made), _applied(function, given), None))
            read = made
        for step in self._steps:
            for key in step.operator.outputs:
                about = key.removeprefix(f"{number}")
                specs.setdefault(key, TensorSpec(name=f"{call.name}{about}", shape=(), dtype="float32"))
        spec = _quantised_spec(layer, call.name)
        if spec is not None:
            specs[outputs[0]] = spec
        self._keys.update((id(value), key) for value, key in zip(call.outputs, outputs, strict=True))

    def _run(self, feeds: Mapping[str, Array], steps: Sequence[_Step], keys: Sequence[str]) -> dict[str, Array]:
        """Runs all batches as one: Keras' layers do not know how large a batch is."""
        runs, batch = next(iter(feeds.values())).shape[:2]
        found: dict[str, Any] = {
            key: keras.ops.convert_to_tensor(array.reshape(-1, *array.shape[2:])) for key, array in feeds.items()
        }
        wanted = set(keys)
        for step in steps:
            try:
                made = step.run(found)
            except Exception as error:  # what a layer may raise is not known
                raise ModelError(
                    f"Keras could not run layer {step.operator.type!r} of {self.name!r} alone: "
                    f"{' '.join(str(error).split())[:300]}"
                ) from error
            found.update(zip(step.operator.outputs, made, strict=True))
        results = {}
        for key in wanted:
            array = keras.ops.convert_to_numpy(found[key])
            if array.ndim == 0 or len(array) != runs * batch:
                raise ModelError(
                    f"tensor {self.graph.tensors[key].name!r} of {self.name!r} has shape {list(array.shape)} for "
                    f"{runs * batch} samples: its first dimension is not the batch."
                )
            results[key] = array.reshape(runs, batch, *array.shape[1:])
        return results


def open_layers(path: Path) -> KerasLayers:
    """Returns a `.keras` file, opened to be run layer by layer."""
    return KerasLayers(load_model(path), path.name)


def _called(layer: Any, call: Call, keys: Mapping[int, str], found: Mapping[str, Any]) -> Sequence[Any]:
    def filled(leaf: Any) -> Any:
        return found[keys[id(leaf)]] if isinstance(leaf, Value) else leaf

    args, kwargs = keras.tree.map_structure(filled, (call.args, call.kwargs))
    return list(keras.tree.flatten(layer(*args, **kwargs)))


def _applied(function: Callable[..., Any], keys: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    return lambda found: [function(*(found[key] for key in keys))]


def _activation_of(operation: Any) -> Any:
    """Returns the activation function that a layer applies, None where it applies none or is something else."""
    if type(operation) in _LINEAR or type(operation) is layers.Activation:
        return None if operation.activation is keras.activations.linear else operation.activation
    return None


def _parts(activation: Any) -> list[tuple[str, str, Callable[..., Any]]]:
    """Returns kind, name and function of what an activation consists of, as converters write it."""
    name = str(getattr(activation, "__name__", None) or getattr(activation, "name", type(activation).__name__))
    if activation is keras.activations.hard_sigmoid:
        return [
            ("shift", name, lambda x: x + 3.0),
            ("relu6", name, keras.ops.relu6),
            ("factor", name, lambda x: x / 6.0),
        ]
    if activation is keras.activations.silu:
        return [("sigmoid", name, keras.ops.sigmoid), ("multiply", name, keras.ops.multiply)]
    return [(_canonical(name), name, activation)]


def _without_activation(layer: Any) -> Any:
    """Returns a layer that computes what comes before the activation, with weights of its own."""
    copied = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    copied.build(layer.get_build_config()["input_shape"])
    copied.set_weights(layer.get_weights())
    return copied


def _kind(call: Call) -> str:
    operation = call.operation
    if type(operation) in _OWN:
        return _OWN[type(operation)]
    if type(operation) is QuantizedKernel:
        return _LINEAR[type(operation.layer)]
    if type(operation) is QuantizedMerge:
        return _canonical(type(operation.layer).__name__)
    if type(operation) in _LINEAR:
        return _LINEAR[type(operation)]
    if isinstance(operation, layers.ReLU):
        return _relu(operation.max_value, operation.negative_slope, operation.threshold)
    kind = _canonical(type(operation).__name__)
    with_constant = len(call.inputs) == 1 and len(call.args) + len(call.kwargs) > 1
    return _WITH_CONSTANT.get(kind, kind) if with_constant else kind


def _canonical(name: str) -> str:
    snake = "".join(f"_{each.lower()}" if each.isupper() and at else each.lower() for at, each in enumerate(name))
    snake = {"leaky_re_l_u": "leaky_relu", "p_re_l_u": "prelu", "e_l_u": "elu"}.get(snake, snake)
    snake = snake.replace("1_d", "1d").replace("2_d", "2d").replace("3_d", "3d")
    return _KINDS.get(snake, snake)


def _relu(most: Any, slope: Any, threshold: Any) -> str:
    if slope:
        return "leaky_relu"
    if most is None:
        return "relu"
    return "relu6" if float(most) == 6.0 and not threshold else "clip"


def _quantised_spec(layer: Any, name: str) -> TensorSpec | None:
    """Returns what a layer that gives whole steps gives: with a range where it clips to it, too; None for others."""
    if isinstance(layer, FakeQuantize):
        scale = layer.scale()
        zero_point = int(np.clip(np.rint(-128 - min(float(layer.minimum), 0.0) / scale), -128, 127))
        return TensorSpec(name=name, shape=(), dtype="float32", scale=scale, zero_point=zero_point)
    rounding = layer.rounds_as() if isinstance(layer, _IN_INTEGERS) else None
    return None if rounding is None else TensorSpec(name=name, shape=(), dtype="float32", scale=rounding.scale())
