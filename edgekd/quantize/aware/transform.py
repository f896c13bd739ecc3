"""From a float network to one that is fake-quantised."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.quantize import calibration as calibration_samples
from edgekd.quantize.aware import observing, plan
from edgekd.quantize.aware.biases import round_biases
from edgekd.quantize.aware.folding import fold_where_needed
from edgekd.quantize.aware.graph import Graph, Value, outputs_of, trace
from edgekd.quantize.aware.layers import Affine, FreezingBatchNorm, QuantizedKernel, QuantizedMerge
from edgekd.quantize.aware.lowering import KEEPS_RANGE, MERGES, Kind, Step, fresh
from edgekd.quantize.aware.plan import Plan
from edgekd.quantize.aware.rounding import LEARNED, MOVING_AVERAGE, FakeQuantize, FloatBoundary
from edgekd.quantize.byte_range import byte_range, byte_step

_RANGES = (MOVING_AVERAGE, LEARNED)


@dataclasses.dataclass(frozen=True)
class Built:
    """A network of a plan.

    Attributes:
      network: rounded where the plan says so.
      sites: its quantizers, each with the arrays whose range it takes.
      tensors: every array of the plan in the network, rounded where it is.
    """

    network: keras.Model
    sites: dict[FakeQuantize, list[Value]]
    tensors: dict[Value, Any]


def quantize_aware(
    model: keras.Model,
    samples: np.ndarray[Any, Any],
    *,
    exclude: Collection[str] = (),
    ranges: str = MOVING_AVERAGE,
    momentum: float = 0.99,
    freeze_after: int | None = None,
    calibration: str = "min_max",
    seed: int = 0,
    **settings: Any,
) -> keras.Model:
    """Returns a network with the model's weights that computes in float32 what its int8 file will compute.

    Kernels are rounded to int8, convolutions with a scale for each output channel, activations with a scale and zero
    point for each array; the gradient passes through (straight-through). Layers keep their names. Separable
    convolutions become a depthwise and a pointwise one. Batch normalisation after Dense and Conv2DTranspose, which have
    one scale for the whole kernel, is folded into it from the start; all others are folded by the converter.

    Args:
      model: a built functional or sequential network, which stays as it is; nested networks and shared layers are
        followed.
      samples: [samples, ...] float32, preprocessed as for training: the ranges start from what they show. Where they
        are bytes (whole numbers from 0 to 255, or those over 255), the input has the range of a byte, and keeps it.
      exclude: names of layers that stay in float, with a batch normalisation or ReLU that directly follows one.
      ranges: `moving_average` follows the training batches, `learned` trains them with the weights (LSQ).
      momentum: of the moving average.
      freeze_after: training steps after which moving averages, of ranges and of batch normalisations, stay. None
        for never.
      calibration: how the first ranges are found, a plug-in of `edgekd.quantize.ranges`.
      seed: of layers that act at random in training and have no seed of their own, such as Dropout.
      **settings: of the calibration.

    Raises:
      ModelError: layers without an integer form (the message names them all), or no functional or sequential network.
      RecipeError: an unknown layer, setting or value.
      DataError: samples that show no range.

    References:
      Jacob et al., 2017 (arXiv:1712.05877). Krishnamoorthi, Quantizing deep convolutional networks for efficient
      inference, 2018 (arXiv:1806.08342).
    """
    if ranges not in _RANGES:
        raise RecipeError(unknown_name("kind of ranges", ranges, _RANGES))
    if isinstance(exclude, str):
        raise RecipeError(f"exclude is {exclude!r}: expected a list of layer names, such as [{exclude!r}].")
    if not 0 <= momentum < 1:
        raise RecipeError(f"momentum is {momentum}: expected 0 to below 1.")
    if freeze_after is not None and freeze_after < 0:
        raise RecipeError(f"freeze_after is {freeze_after}: expected a number of training steps, or None.")
    graph = traced(model)
    require_usable(model, samples)
    found = fold_where_needed(plan.make(graph, exclude=exclude, seed=seed))
    quantizer = {"ranges": ranges, "momentum": momentum}
    built = build(
        model, graph, found, quantizer=quantizer, freeze_after=freeze_after, input_range=known_input_range(samples)
    )
    sites = {layer: [built.tensors[value] for value in values] for layer, values in built.sites.items()}
    observing.set_ranges(built.network, sites, samples, estimator=calibration, settings=settings)
    round_biases(built.network)
    return built.network


def require_usable(model: keras.Model, samples: np.ndarray[Any, Any]) -> None:
    """Raises unless the ranges of a model can be read from samples: ModelError or DataError."""
    if len(model.inputs) != 1:
        raise ModelError(
            f"model {model.name!r} has {len(model.inputs)} inputs, and calibration samples are of one: quantise the "
            "part behind one input."
        )
    calibration_samples.require_usable(samples, model.inputs[0].shape[1:])


def known_input_range(samples: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    """Returns the range of a network's input where samples are bytes; else it is for calibration to find."""
    step = byte_step(samples)
    return None if step is None else byte_range(step)


def check(model: keras.Model, *, exclude: Collection[str] = ()) -> None:
    """Raises what `quantize_aware` raises for a model's layers and for excluded names, without building anything."""
    plan.make(traced(model), exclude=exclude)


def unsupported(model: keras.Model, *, exclude: Collection[str] = ()) -> dict[str, str]:
    """Returns the layers that `check` would refuse: {name: class}.

    Raises:
      ModelError: no functional or sequential network, or one that is fake-quantised already.
      RecipeError: there is no layer of an excluded name.
    """
    return plan.unsupported(traced(model), exclude=exclude)


def traced(model: keras.Model) -> Graph:
    """Returns the calls of a float network; ModelError for one that is fake-quantised already."""
    graph = trace(model)
    if is_quantize_aware(model):
        raise ModelError(f"model {model.name!r} is fake-quantised to int8 already: train it or export it as it is.")
    return graph


def is_quantize_aware(model: keras.Model) -> bool:
    """Returns whether a network was made by `quantize_aware`."""
    return any(isinstance(layer, FakeQuantize) for layer in model._flatten_layers())


def output_scale(model: keras.Model) -> float | None:
    """Returns the distance of neighbouring outputs of a quantisation-aware network; None where they are floats."""
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return None
    tensor = outputs[0]
    while True:
        last = tensor._keras_history.operation
        if isinstance(last, FakeQuantize):
            return last.scale()
        if type(last) not in KEEPS_RANGE or len(keras.tree.flatten(last.input)) != 1:
            return None
        tensor = last.input


@contextlib.contextmanager
def exporting(model: keras.Model) -> Iterator[None]:
    """Lets a network be traced for the converter within the block: rounded in the only way that the converter knows."""
    switchable = FakeQuantize | FloatBoundary | QuantizedKernel
    switched = [layer for layer in model._flatten_layers() if isinstance(layer, switchable)]
    for layer in switched:
        layer.exporting = True
    try:
        yield
    finally:
        for layer in switched:
            layer.exporting = False


def build(
    model: keras.Model,
    graph: Graph,
    found: Plan,
    *,
    quantizer: dict[str, Any],
    freeze_after: int | None = None,
    input_range: tuple[float, float] | None = None,
) -> Built:
    """Returns the network of a plan, with its weights and without ranges.

    Args:
      model: the float network.
      graph: its calls.
      found: the plan.
      quantizer: settings of the quantizers.
      freeze_after: as for `quantize_aware`.
      input_range: of the inputs, where it is known and stays.
    """
    inputs = [keras.Input(batch_shape=each.shape, dtype=each.dtype, name=each.name) for each in model.inputs]
    tensors: dict[Value, Any] = {}
    quantizers: dict[Value, FakeQuantize] = {}
    sites: dict[FakeQuantize, list[Value]] = {}
    wrapped: dict[int, Any] = {}
    ranges_of = _input_ranges(found)

    taken = {call.name for call in graph.calls} | {step.name for step in found.steps} | {each.name for each in inputs}
    owners = _owners(found, graph, taken, input_range)
    members = Counter(found.origin(value) for value in found.rounded)

    def finish(value: Value, tensor: Any, kind: Kind = Kind.SAME) -> None:
        owner = found.origin(value)
        if value in found.rounded or value in found.shared:
            if kind is Kind.FLOAT:
                tensor = FloatBoundary(name=fresh(f"{owners[value][0]}_float", taken))(tensor)
            if owner not in quantizers:
                name, fixed = owners[owner]
                # Each of the arrays that share a range counts a step.
                frozen = None if freeze_after is None else freeze_after * members[owner]
                quantizers[owner] = FakeQuantize(fixed=fixed, name=name, freeze_after=frozen, **quantizer)
            observe = "ignore"
            if value in found.rounded:
                sites.setdefault(quantizers[owner], []).append(value)
                observe = "follow" if members[owner] == 1 else "widen"
            rounding = {"mean": kind is Kind.MEAN, "between": kind is Kind.BETWEEN}
            tensor = quantizers[owner](tensor, observe=observe, **rounding)
        tensors[value] = tensor

    for value, tensor in zip(graph.inputs, inputs, strict=True):
        finish(value, tensor)
    for step in found.steps:
        if id(step.layer) not in wrapped:
            names = {owners[value][0] for value in ranges_of[id(step.layer)] if value in quantizers}
            only = names.pop() if len(names) == 1 else None
            calls = sum(each.layer is step.layer for each in found.steps)
            frozen = None if freeze_after is None else freeze_after * calls
            wrapped[id(step.layer)] = _wrapped(step, found, frozen, only)
            if isinstance(step.layer, Affine):
                step.layer.input_range, step.layer.output_range = only, owners[found.origin(step.output)][0]
        given = _marked(step, tensors, found, taken) if step.kind is Kind.FLOAT else tensors
        outputs = keras.tree.flatten(_called(wrapped[id(step.layer)], step, given))
        for value, tensor in zip(step.outputs, outputs, strict=True):
            finish(value, tensor, step.kind)
    outputs = keras.tree.pack_sequence_as(outputs_of(model), [tensors[value] for value in graph.outputs])
    network = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name=model.name)
    for step in found.steps:
        if step.weights:
            step.layer.set_weights(step.weights)
    return Built(network, sites, tensors)


def _marked(step: Step, tensors: dict[Value, Any], found: Plan, taken: set[str]) -> dict[Value, Any]:
    """Returns the tensors with marks on the rounded inputs of a step in float, where that begins."""
    marked = dict(tensors)
    for value in dict.fromkeys(step.inputs):
        if found.origin(value) in found.rounded:
            name = fresh(f"{step.name}_float_input", taken)
            marked[value] = FloatBoundary(name=name)(tensors[value])
    return marked


def _owners(
    found: Plan, graph: Graph, taken: set[str], input_range: tuple[float, float] | None
) -> dict[Value, tuple[str, tuple[float, float] | None]]:
    """Returns the name of the quantizer that each array would have, and its range where it is known."""
    owners: dict[Value, tuple[str, tuple[float, float] | None]] = {}
    known = {} if input_range is None else dict.fromkeys(graph.inputs, input_range)
    for number, value in enumerate(graph.inputs):
        owners[value] = (fresh(f"input_{number}_range" if number else "input_range", taken), known.get(value))
    for step in found.steps:
        if isinstance(step.layer, Affine) and step.fixed is None and step.inputs[0] in known:
            known[step.output] = _through(step.layer, known[step.inputs[0]])
        for number, value in enumerate(step.outputs):
            name = f"{step.name}_range" + (f"_{number}" if number else "")
            owners[value] = (fresh(name, taken), known.get(value, step.fixed))
    return owners


def _through(layer: Affine, limits: tuple[float, float]) -> tuple[float, float]:
    """Returns what becomes of a range; of all channels together."""
    factor, shift = np.asarray(layer.factor), np.asarray(layer.shift)
    ends = np.concatenate([np.ravel(factor * limit + shift) for limit in limits])
    return float(ends.min()), float(ends.max())


def _input_ranges(found: Plan) -> dict[int, set[Value]]:
    """Returns in which arrays' ranges the inputs of each layer are, over all of its calls."""
    ranges_of: dict[int, set[Value]] = {}
    for step in found.steps:
        ranges_of.setdefault(id(step.layer), set()).update(found.origin(value) for value in step.inputs)
    return ranges_of


def _wrapped(step: Step, found: Plan, freeze_after: int | None, input_range: str | None) -> Any:
    if step.kind is Kind.KERNEL:
        norm = next((each.name for each in found.folded if each.inputs[0] in step.outputs), None)
        return QuantizedKernel(step.layer, input_range=input_range, norm=norm, name=step.name)
    if step.kind is Kind.NORM:
        alone = step not in found.folded
        return FreezingBatchNorm(
            step.layer,
            standalone=alone,
            input_range=input_range if alone else None,
            freeze_after=freeze_after,
            name=step.name,
        )
    if step.kind is Kind.ARITHMETIC and isinstance(step.layer, tuple(MERGES.values())):
        return QuantizedMerge(step.layer, name=step.name)
    return step.layer


def _called(layer: Any, step: Step, tensors: dict[Value, Any]) -> Any:
    if step.kind is Kind.FLOAT:
        args, kwargs = keras.tree.map_structure(
            lambda leaf: tensors[leaf] if isinstance(leaf, Value) else leaf, (step.call.args, step.call.kwargs)
        )
        return layer(*args, **kwargs)
    inputs = [tensors[value] for value in step.inputs]
    several = isinstance(step.layer, layers.Layer) and (len(inputs) > 1 or isinstance(step.layer, layers.Concatenate))
    return layer(inputs if several else inputs[0])
