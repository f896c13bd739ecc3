"""One network quantised in many ways: calibrated once, then made anew with other layers left in float."""

import dataclasses
from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from edgekd.errors import RecipeError, unknown_name
from edgekd.quantize.aware import observing, plan
from edgekd.quantize.aware.biases import round_biases
from edgekd.quantize.aware.folding import fold_where_needed
from edgekd.quantize.aware.graph import Graph, Value
from edgekd.quantize.aware.lowering import Kind, Step
from edgekd.quantize.aware.plan import Plan
from edgekd.quantize.aware.rounding import MOVING_AVERAGE
from edgekd.quantize.aware.transform import build, known_input_range, require_usable, traced

_QUANTIZER = {"ranges": MOVING_AVERAGE}
_PASSING = (Kind.SAME, Kind.TRAINING)


@dataclasses.dataclass(frozen=True)
class Unit:
    """Layers that an integer file computes as one: a kernel with its batch normalisation and ReLU, a sum with its ReLU.

    Attributes:
      name: of its first layer.
      layers: all of them.
      exclude: what `exclude` must name to leave all of them in float.
      weights: how many numbers its kernels hold.
    """

    name: str
    layers: tuple[str, ...]
    exclude: tuple[str, ...]
    weights: int


class Mixable:
    """A calibrated float network, from which int8 networks are made that leave different layers in float.

    What `quantize_aware` does anew for each list of layers, observing what activations show, is done once here: nothing
    is rounded then, so that it does not depend on the list.

    Attributes:
      units: what can be left in float one by one, in the network's order.
    """

    def __init__(
        self,
        model: keras.Model,
        samples: np.ndarray[Any, Any],
        *,
        exclude: Collection[str] = (),
        calibration: str = "min_max",
        seed: int = 0,
        **settings: Any,
    ) -> None:
        """Calibrates a network; arguments and errors are those of `quantize_aware`.

        Args:
          model: a built functional or sequential network, which stays as it is.
          samples: [samples, ...] float32, preprocessed as for training.
          exclude: names of layers that stay in float whatever else does.
          calibration: how ranges are found.
          seed: of layers that act at random in training.
          **settings: of the calibration.
        """
        self._model, self._graph = model, traced(model)
        require_usable(model, samples)
        self._input_range = known_input_range(samples)
        self._exclude, self._seed = tuple(exclude), seed
        found = plan.make(self._graph, exclude=exclude, seed=seed)
        self._steps = found.steps
        keys = _keys(found, self._graph)
        # As it was, and not with batch normalisations folded into dense layers: the arrays between may be rounded.
        built = build(model, self._graph, found, quantizer=_QUANTIZER, input_range=self._input_range)
        tensors = [built.tensors[value] for value in keys]
        shown = observing.observe(built.network, tensors, samples, estimator=calibration, settings=settings)
        self._ranges = dict(zip(keys.values(), shown, strict=True))
        self.units = tuple(self._units())

    def exclusions(self, units: Collection[str]) -> tuple[str, ...]:
        """Returns the names for `exclude` that leave these units in float, in the network's order.

        Among them are layers that only pass values on, such as a Flatten, between two that are left in float: else the
        array between would be rounded for them.

        Args:
          units: names of `self.units`.

        Raises:
          RecipeError: there is no such unit.
        """
        known = {unit.name: unit for unit in self.units}
        for name in units:
            if name not in known:
                raise RecipeError(unknown_name("unit", name, known))
        names = {name for unit in units for name in known[unit].exclude} | set(self._exclude)
        layers = {name for unit in units for name in known[unit].layers}
        names |= self._passing(layers)
        order = dict.fromkeys(call.name for call in self._graph.calls)
        return tuple(name for name in order if name in names or name.replace(".", "/") in names)

    def network(self, exclude: Collection[str]) -> keras.Model:
        """Returns the network that `quantize_aware` gives for these layers in float and the same samples."""
        found = plan.make(self._graph, exclude=exclude, seed=self._seed)
        keys = _keys(found, self._graph)
        built = build(
            self._model, self._graph, fold_where_needed(found), quantizer=_QUANTIZER, input_range=self._input_range
        )
        for layer, values in built.sites.items():
            layer.set_range(*observing.joined(self._ranges[keys[value]] for value in values))
        round_biases(built.network)
        return built.network

    def _units(self) -> Iterator[Unit]:
        makers = {value: step for step in self._steps for value in step.outputs}
        first: dict[str, str] = {}  # of each layer's unit
        for step in self._steps:
            name = step.call.name
            if step.kind in (*_PASSING, Kind.FLOAT) or name in first:
                continue
            before = makers.get(step.inputs[0])
            joined = step.kind in (Kind.NORM, Kind.RELU) and before is not None and self._computed_along(before, step)
            first[name] = first.get(before.call.name, name) if joined and before is not None else name
        weights: dict[str, dict[int, int]] = {}
        for step in self._steps:
            if step.kind is Kind.KERNEL:
                weights.setdefault(first[step.call.name], {})[id(step.layer)] = int(step.weights[0].size)
        for unit in dict.fromkeys(first.values()):
            layers = tuple(name for name, its in first.items() if its == unit)
            yield Unit(unit, layers, self._named(layers), sum(weights.get(unit, {}).values()))

    def _computed_along(self, before: Step, step: Step) -> bool:
        """Whether one integer operator computes both steps: nothing else takes what is between them."""
        value = before.outputs[0]
        takers = [each for each in self._steps if value in each.inputs]
        if len(takers) > 1 or value in self._graph.outputs:
            return False
        return before.kind is Kind.KERNEL or (step.kind is Kind.RELU and before.kind in (Kind.NORM, Kind.ARITHMETIC))

    def _named(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the first layer, and those that `exclude` would not leave in float along with it."""
        names = layers[:1]
        for layer in layers[1:]:
            if layer not in self._float_layers(names):
                names += (layer,)
        return names

    def _float_layers(self, exclude: Iterable[str]) -> set[str]:
        try:
            found = plan.make(self._graph, exclude=(*self._exclude, *exclude), seed=self._seed)
        except RecipeError:  # nothing else is left to quantise
            return {call.name for call in self._graph.calls}
        return {step.call.name for step in found.steps if step.kind is Kind.FLOAT}

    def _passing(self, layers: set[str]) -> set[str]:
        """Returns the layers that pass values on between layers in float alone."""
        makers = {value: step for step in self._steps for value in step.outputs}
        takers: dict[Value, list[Step]] = {}
        for step in self._steps:
            for value in step.inputs:
                takers.setdefault(value, []).append(step)

        def is_float(step: Step) -> bool:
            return step.kind is Kind.FLOAT or step.call.name in layers

        def from_float(value: Value) -> bool:
            step = makers.get(value)
            if step is None or is_float(step):
                return True
            return step.kind in _PASSING and from_float(step.inputs[0])

        def to_float(value: Value) -> bool:
            return all(
                is_float(step) or (step.kind in _PASSING and to_float(step.outputs[0]))
                for step in takers.get(value, [])
            )

        return {
            step.call.name
            for step in self._steps
            if step.kind in _PASSING and from_float(step.inputs[0]) and to_float(step.outputs[0])
        }


def _keys(found: Plan, graph: Graph) -> dict[Value, Hashable]:
    """Returns a key for every array of a plan, which is the same in all plans of the graph."""
    keys: dict[Value, Hashable] = {value: value for value in graph.inputs}
    parts: dict[Value, int] = {}
    for step in found.steps:
        call = step.call.outputs[0]
        for value in step.outputs:
            # The last step's outputs are the call's own; those of the others are made anew for each plan.
            keys[value] = value if value in step.call.outputs else (call, parts.get(call, 0))
        parts[call] = parts.get(call, 0) + 1
    return keys
