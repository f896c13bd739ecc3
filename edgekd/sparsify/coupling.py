"""Which channels of a network stand or fall together, read from its graph.

Every position on the last axis of every array has a number. Layers that make new channels (convolutions, dense layers)
give new numbers; layers that pass channels on keep them; where arrays meet position by position (Add, Multiply) the
numbers are joined into one class. A class is removed as a whole or not at all: so residual sums, depthwise stages,
concatenations and shortcuts that pad channels all follow from the numbers.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from edgekd.errors import ModelError
from edgekd.sparsify import layer_kinds
from edgekd.sparsify.cloning import graph_of, require_graph
from edgekd.sparsify.kernels import layers_by_path, require_known


@dataclasses.dataclass(frozen=True)
class Use:
    """A layer whose weights or settings follow the channels.

    Attributes:
      layer: the layer.
      inputs: [channels] integers, the numbers of the channels that it takes.
      outputs: likewise of those that it gives.
      positions: multiply-accumulates for each pair of an input and an output channel (for a depthwise convolution, for
        each output channel), over all calls; of a separable convolution, of its pointwise part.
      depthwise_positions: of a separable convolution's depthwise part, for each channel in between.
    """

    layer: layers.Layer
    inputs: np.ndarray[Any, Any]
    outputs: np.ndarray[Any, Any]
    positions: int = 0
    depthwise_positions: int = 0


@dataclasses.dataclass(frozen=True)
class Coupling:
    """The classes of a network's channels.

    Attributes:
      classes: [numbers] integers: the class of each number.
      fixed: [classes] bool: whether the class cannot be removed.
      uses: the layers that follow, each once, in the network's order.
    """

    classes: np.ndarray[Any, Any]
    fixed: np.ndarray[Any, Any]
    uses: tuple[Use, ...]

    def inputs(self, use: Use) -> np.ndarray:
        """Returns the classes of the channels that a layer takes."""
        return self.classes[use.inputs]

    def outputs(self, use: Use) -> np.ndarray:
        """Returns the classes of the channels that a layer gives."""
        return self.classes[use.outputs]


def coupled(model: keras.Model, *, exclude: Sequence[str] = ()) -> Coupling:
    """Returns the classes of a network's channels.

    The channels of the network's inputs and outputs are fixed, as are those at the inputs of nested models, and those
    that are a constant other than zero, such as sigmoid(0), where a layer sums over them.

    Args:
      model: a built functional or sequential network, channels last.
      exclude: names of layers of which all channels, those that they take and those that they give, are fixed; their
        kind does not matter then.

    Raises:
      ModelError: layers whose effect on channels is not known; the message names all of them. Or a subclassed network,
        or an excluded layer that does not exist.
    """
    require_graph(model)
    known = layers_by_path(model)
    require_known(exclude, known, model=model.name)
    tracer = _Tracer({id(known[name]) for name in exclude})
    inputs = [tracer.new(tensor.shape[-1] or 0, fixed=True) for tensor in graph_of(model).inputs]
    for channels in tracer.run(model, inputs):
        tracer.fix(channels)
    if tracer.unsupported:
        raise ModelError(
            f"model {model.name!r} has layers whose channels cannot be followed: {', '.join(tracer.unsupported)}. "
            "Build them of standard layers, or list their names in exclude, so that the channels around them stay."
        )
    return tracer.coupling()


def macs(coupling: Coupling, kept: np.ndarray[Any, Any]) -> int:
    """Returns the multiply-accumulates of one inference with some of the channels.

    Args:
      coupling: of the network.
      kept: [classes] bool.
    """
    total = 0
    for use in coupling.uses:
        inputs, outputs = int(kept[coupling.inputs(use)].sum()), int(kept[coupling.outputs(use)].sum())
        if isinstance(use.layer, layer_kinds.DEPTHWISE):
            total += use.positions * outputs
        elif isinstance(use.layer, layer_kinds.SEPARABLE):
            between = inputs * use.layer.depth_multiplier
            total += use.depthwise_positions * between + use.positions * between * outputs
        elif isinstance(use.layer, layer_kinds.MAKING):
            total += use.positions * inputs * outputs
    return total


def parameters(coupling: Coupling, kept: np.ndarray[Any, Any]) -> int:
    """Returns the weights, biases and statistics of the layers that follow the channels, with some of the channels.

    Args:
      coupling: of the network.
      kept: [classes] bool.
    """
    total = 0
    for use in coupling.uses:
        inputs, outputs = int(kept[coupling.inputs(use)].sum()), int(kept[coupling.outputs(use)].sum())
        for weight in use.layer.weights:
            total += _size(use.layer, weight, inputs, outputs)
    return total


def _size(layer: Any, weight: Any, inputs: int, outputs: int) -> int:
    """Returns how large a weight is in the layer with so many channels."""
    if len(weight.shape) == 1:
        return outputs
    shape = tuple(weight.shape)
    if isinstance(layer, layers.PReLU):  # a slope for each channel, or one for all
        return math.prod(shape[:-1]) * (outputs if shape[-1] > 1 else 1)
    window = math.prod(shape[:-2])
    if isinstance(layer, layer_kinds.DEPTHWISE):
        return window * outputs
    if isinstance(layer, layer_kinds.SEPARABLE):
        between = inputs * layer.depth_multiplier
        return window * (between if weight is layer.depthwise_kernel else between * outputs)
    return window * inputs * outputs


@dataclasses.dataclass(frozen=True)
class _Channels:
    """The last axis of an array: each position's number, and whether it is zero once its class is removed."""

    numbers: np.ndarray[Any, Any]
    zero: np.ndarray[Any, Any]


class _Tracer:
    """Runs through the graph in order and numbers the channels."""

    def __init__(self, excluded: set[int]) -> None:
        self.unsupported: list[str] = []
        self._excluded = excluded
        self._parents: list[int] = []
        self._fixed: set[int] = set()
        self._uses: dict[int, Use] = {}
        self._rules = (
            (layer_kinds.MAKING, self._made),
            (layer_kinds.DEPTHWISE, self._filtered),
            (layers.BatchNormalization, self._normalised),
            (layer_kinds.ACTIVATIONS, self._activated),
            (layer_kinds.RESHAPING, self._reshaped),
            (layers.Concatenate, self._concatenated),
            (layers.Multiply, lambda _, given: self._joined(given, np.logical_or)),
            (layer_kinds.SUMMING, lambda _, given: self._joined(given, np.logical_and)),
            (layer_kinds.PASSING, self._passed),
        )

    def new(self, count: int, *, fixed: bool = False) -> _Channels:
        """Returns new channels."""
        numbers = np.arange(len(self._parents), len(self._parents) + count)
        self._parents.extend(numbers.tolist())
        channels = _Channels(numbers, np.ones(count, bool))
        if fixed:
            self.fix(channels)
        return channels

    def fix(self, channels: _Channels) -> None:
        """Lets these channels stay."""
        self._fixed.update(channels.numbers.tolist())

    def run(self, model: keras.Model, inputs: list[_Channels]) -> list[_Channels]:
        """Returns the channels of a model's outputs."""
        graph = graph_of(model)
        values = {id(tensor): channels for tensor, channels in zip(graph.inputs, inputs, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if not node.is_input:
                    made = self._called(node, [values[id(tensor)] for tensor in node.input_tensors])
                    values.update({id(tensor): channels for tensor, channels in zip(node.outputs, made, strict=True)})
        return [values[id(tensor)] for tensor in graph.outputs]

    def coupling(self) -> Coupling:
        """Returns what was found."""
        roots = np.array([self._root(number) for number in range(len(self._parents))], int)
        distinct, classes = np.unique(roots, return_inverse=True)
        fixed = np.zeros(len(distinct), bool)
        fixed[classes[sorted(self._fixed)]] = True
        return Coupling(classes, fixed, tuple(self._uses.values()))

    def _called(self, node: Any, given: list[_Channels]) -> list[_Channels]:
        layer = node.operation
        if isinstance(layer, keras.Model):
            for channels in given:  # its Input layers hold their sizes
                self.fix(channels)
            return self.run(layer, given)
        excluded = id(layer) in self._excluded
        problem = layer_kinds.problem_of(layer)
        if problem is not None and not excluded:
            self.unsupported.append(f"{layer.name!r} ({problem})")
        if excluded or problem is not None or isinstance(layer, layer_kinds.FIXING):
            return self._fixing(node, given)
        rule = next(rule for kinds, rule in self._rules if isinstance(layer, kinds))
        return [rule(node, given)]

    def _fixing(self, node: Any, given: list[_Channels]) -> list[_Channels]:
        for channels in given:
            self.fix(channels)
        made = [self.new(tensor.shape[-1] or 0, fixed=True) for tensor in node.outputs]
        if isinstance(node.operation, layer_kinds.PARAMETRIC) and layer_kinds.problem_of(node.operation) is None:
            self._note(node, given[0], made[0])  # its arithmetic counts all the same
        return made

    def _made(self, node: Any, given: list[_Channels]) -> _Channels:
        layer, (channels,) = node.operation, given
        constant = channels.numbers[~channels.zero]  # it would be missing from the sum
        self._fixed.update(constant.tolist())
        seen = self._uses.get(id(layer))
        numbers = self.new(node.outputs[0].shape[-1]).numbers if seen is None else seen.outputs
        made = _Channels(numbers, np.full(len(numbers), layer_kinds.keeps_zero(layer.activation)))
        self._note(node, channels, made)
        if layer_kinds.mixes_channels(layer.activation):
            self.fix(made)
        return made

    def _filtered(self, node: Any, given: list[_Channels]) -> _Channels:
        layer, (channels,) = node.operation, given
        numbers = np.repeat(channels.numbers, layer.depth_multiplier)
        made = _Channels(numbers, np.full(len(numbers), layer_kinds.keeps_zero(layer.activation)))
        self._note(node, channels, made)
        return made

    def _normalised(self, node: Any, given: list[_Channels]) -> _Channels:
        (channels,) = given
        self._note(node, channels, channels)
        return _Channels(channels.numbers, channels.zero | node.operation.scale)

    def _activated(self, node: Any, given: list[_Channels]) -> _Channels:
        layer, (channels,) = node.operation, given
        if layer_kinds.mixes_channels(getattr(layer, "activation", None)):
            return self._fixing(node, given)[0]
        return _Channels(channels.numbers, channels.zero & layer_kinds.keeps_zero(layer))

    def _passed(self, node: Any, given: list[_Channels]) -> _Channels:
        layer, (channels,) = node.operation, given
        if layer_kinds.pads_channels(layer):
            before, after = (self.new(count) for count in layer.padding[1])
            made = _concatenated((before, channels, after))
            self._uses.setdefault(id(layer), Use(layer, channels.numbers, made.numbers))
            return made
        if isinstance(layer, layers.PReLU):
            self._uses.setdefault(id(layer), Use(layer, channels.numbers, channels.numbers))
        return channels

    def _reshaped(self, node: Any, given: list[_Channels]) -> _Channels:
        layer, (channels,) = node.operation, given
        before, after = node.input_tensors[0].shape, node.outputs[0].shape
        if isinstance(layer, layers.Permute):
            return channels if layer.dims[-1] == len(before) - 1 else self._fixing(node, given)[0]
        if before[-1] is None or after[-1] is None or after[-1] % before[-1]:
            return self._fixing(node, given)[0]
        # Whole positions one after the other: the channels repeat.
        times = after[-1] // before[-1]
        made = _Channels(np.tile(channels.numbers, times), np.tile(channels.zero, times))
        self._uses.setdefault(id(layer), Use(layer, channels.numbers, made.numbers))
        return made

    def _concatenated(self, node: Any, given: list[_Channels]) -> _Channels:
        if node.operation.axis in {-1, len(node.outputs[0].shape) - 1}:
            return _concatenated(given)
        return self._joined(given, np.logical_and)

    def _joined(self, given: Sequence[_Channels], zero: np.ufunc) -> _Channels:
        most = max(len(channels.numbers) for channels in given)
        for channels in given:
            if len(channels.numbers) != most:  # one channel for all
                self.fix(channels)
        first, *others = (channels.numbers for channels in given if len(channels.numbers) == most)
        for other in others:
            self._join(first, other)
        return _Channels(first, zero.reduce([np.broadcast_to(channels.zero, most) for channels in given]))

    def _note(self, node: Any, given: _Channels, made: _Channels) -> None:
        """Records a call of a layer; the channels of a shared layer's calls are the same."""
        layer, inputs, outputs = node.operation, given.numbers, made.numbers
        positions, depthwise = _positions(node)
        seen = self._uses.get(id(layer))
        if seen is not None:
            self._join(seen.inputs, inputs)
            self._join(seen.outputs, outputs)
            inputs, outputs = seen.inputs, seen.outputs
            positions, depthwise = positions + seen.positions, depthwise + seen.depthwise_positions
        self._uses[id(layer)] = Use(layer, inputs, outputs, positions, depthwise)

    def _join(self, one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> None:
        for first, second in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted((self._root(first), self._root(second)))
            self._parents[high] = low

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number


def _concatenated(parts: Sequence[_Channels]) -> _Channels:
    return _Channels(np.concatenate([part.numbers for part in parts]), np.concatenate([part.zero for part in parts]))


def _positions(node: Any) -> tuple[int, int]:
    """Returns a call's multiply-accumulates: see Use."""
    layer = node.operation
    if isinstance(layer, layers.BatchNormalization):
        return 0, 0
    tensor = node.input_tensors[0] if isinstance(layer, layer_kinds.TRANSPOSED) else node.outputs[0]
    sizes = tensor.shape[1:-1]
    if None in sizes:
        raise ModelError(
            f"layer {layer.name!r} works on open size {tuple(sizes)}, so that its arithmetic cannot be counted: build "
            "the network for a fixed input size."
        )
    places = math.prod(sizes)
    if isinstance(layer, layers.Dense):
        return places, 0
    window = math.prod(layer.kernel_size)
    return (places, places * window) if isinstance(layer, layer_kinds.SEPARABLE) else (places * window, 0)
