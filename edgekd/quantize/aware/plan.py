"""Where a network's arrays are rounded, so that every integer operator of the file is computed as it will be there."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from keras import layers

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.quantize.aware.graph import Call, Graph, Value
from edgekd.quantize.aware.layers import Affine
from edgekd.quantize.aware.lowering import KERNELS, MERGES, SUPPORTED, Kind, Lowering, Step


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps of a network, and which arrays are rounded.

    Attributes:
      steps: in order.
      rounded: the arrays that get a range of their own.
      shared: arrays that are rounded in the range of another array: means, and what is joined with others.
      folded: the batch normalisations that are folded into the kernel before them.
    """

    steps: tuple[Step, ...]
    rounded: frozenset[Value]
    shared: dict[Value, Value]
    folded: frozenset[Step]

    def origin(self, value: Value) -> Value:
        """Returns the array whose range a value is in."""
        makers = {made: step for step in self.steps for made in step.outputs}
        return _origin(value, makers, self.shared)


def make(graph: Graph, *, exclude: Collection[str] = (), seed: int = 0) -> Plan:
    """Returns the plan for a network.

    Args:
      graph: the network.
      exclude: names of layers that stay in float; the batch normalisation and the ReLU that would be computed together
        with such a layer stay with it.
      seed: of what acts at random in training.

    Raises:
      ModelError: layers have no integer form; the message names them all.
      RecipeError: there is no layer of an excluded name, or nothing is left to quantise.
    """
    steps = _lowered(graph, _names(graph, exclude), seed=seed)
    if all(step.kind in (Kind.FLOAT, Kind.TRAINING) for step in steps):
        raise RecipeError("nothing is left to quantise: every layer is excluded.")
    return _rounding(steps, graph)


def _names(graph: Graph, exclude: Collection[str]) -> set[str]:
    known = {call.name for call in graph.calls}
    names = {name.replace("/", ".") for name in exclude}
    for name in sorted(names - known):
        raise RecipeError(unknown_name("layer to exclude", name, known))
    return names


def unsupported(graph: Graph, *, exclude: Collection[str] = ()) -> dict[str, str]:
    """Returns the layers of a network that have no integer form and are not excluded: {name: class}.

    Raises:
      RecipeError: there is no layer of an excluded name.
    """
    return _tried(graph, _names(graph, exclude), seed=0)[1]


def _lowered(graph: Graph, exclude: set[str], *, seed: int) -> list[Step]:
    steps, refused = _tried(graph, exclude, seed=seed)
    if refused:
        listed = ", ".join(f"{name} ({kind})" for name, kind in refused.items())
        norms = any(kind.endswith("Normalization") for kind in refused.values())
        instead = " (a normalisation by BatchNormalization, which is folded into the layer before it)" if norms else ""
        raise ModelError(
            f"these layers cannot be trained quantisation-aware: {listed}. Leave them in float with "
            f"exclude: [{', '.join(refused)}], or replace them{instead}. What can: {SUPPORTED}."
        )
    return _with_companions(steps, graph)


def _tried(graph: Graph, exclude: set[str], *, seed: int) -> tuple[list[Step], dict[str, str]]:
    """Returns the steps of what has an integer form or is excluded, and the classes of the other layers by name."""
    lowering = Lowering((call.name for call in graph.calls), seed=seed)
    steps: list[Step] = []
    refused: dict[str, str] = {}
    for call in graph.calls:
        found = lowering.left_in_float(call) if call.name in exclude else lowering.steps(call)
        if found is None:
            refused[call.name] = type(call.operation).__name__
        else:
            steps += found
    return steps, refused


def _with_companions(steps: list[Step], graph: Graph) -> list[Step]:
    """Leaves in float, too, what would be computed together with an excluded kernel."""
    uses = _uses(steps)
    found: list[Step] = []
    left: set[Value] = set()
    for step in steps:
        joined = step.kind in (Kind.NORM, Kind.RELU) and step.inputs[0] in left
        current = _in_float(step) if joined else step
        computes = type(step.layer) in KERNELS or joined
        if current.kind is Kind.FLOAT and computes and _sole(step.outputs[0], uses, graph) is not None:
            left.add(step.outputs[0])
        found.append(current)
    return found


def _in_float(step: Step) -> Step:
    if step.fixed is None:
        return dataclasses.replace(step, kind=Kind.FLOAT, call=_alone(step))
    # Its largest value was left to the rounding.
    clipping = layers.ReLU(step.fixed[1], name=step.name)
    return dataclasses.replace(step, kind=Kind.FLOAT, layer=clipping, fixed=None, call=_alone(step))


def _alone(step: Step) -> Call:
    """Returns the call of a step's own layer: what it is a part of may have taken other arrays."""
    return dataclasses.replace(step.call, args=step.inputs, kwargs={})


def _uses(steps: Sequence[Step]) -> dict[Value, list[Step]]:
    uses: dict[Value, list[Step]] = {}
    for step in steps:
        for value in step.inputs:
            uses.setdefault(value, []).append(step)
    return uses


def _sole(value: Value, uses: dict[Value, list[Step]], graph: Graph) -> Step | None:
    """Returns the only step that takes a value, if there is one and the value is not given out."""
    takers = uses.get(value, [])
    return takers[0] if len(takers) == 1 and value not in graph.outputs else None


def _rounding(steps: list[Step], graph: Graph) -> Plan:
    uses = _uses(steps)
    makers = {value: step for step in steps for value in step.outputs}
    rounded: set[Value] = set()
    shared: dict[Value, Value] = {}
    folded: set[Step] = set()

    def taken_in_integers(value: Value) -> bool:
        return any(taker.kind is not Kind.FLOAT for taker in uses.get(value, []))

    for value in graph.inputs:
        if taken_in_integers(value):
            rounded.add(value)
    for step in steps:
        for value in step.outputs:
            taker = _sole(value, uses, graph)
            if step.kind is Kind.FLOAT:
                if taken_in_integers(value):
                    rounded.add(value)
            elif step.kind is Kind.KERNEL and taker is not None and taker.kind is Kind.NORM:
                folded.add(taker)
            elif taker is not None and taker.kind is Kind.RELU and _computes_relu(step):
                pass  # in 32 bits until the ReLU is done
            elif step.kind in (Kind.MEAN, Kind.BETWEEN) or _is_relu_of_mean(step, makers):
                shared[value] = _origin(step.inputs[0], makers, shared)
            elif step.kind in (Kind.SAME, Kind.TRAINING):
                pass  # on its input's grid already
            else:
                rounded.add(value)
                if step.kind is Kind.JOIN:
                    _join(step, value, makers, shared)
    return Plan(tuple(steps), frozenset(rounded), shared, frozenset(folded))


def _join(step: Step, joined: Value, makers: Mapping[Value, Step], shared: dict[Value, Value]) -> None:
    """Brings what is joined into the joined array's range from the start, so that nothing is rounded twice.

    An array that is joined with others elsewhere too keeps the range that it has there, and so does one of a known
    range: the file rounds them once more.
    """
    for value in step.inputs:
        root = _origin(value, makers, shared)
        maker = makers.get(root)
        known = maker is not None and maker.fixed is not None
        elsewhere = maker is not None and maker.kind is Kind.JOIN and _origin(value, makers, {}) is not root
        if root is not joined and not known and not elsewhere:
            shared[root] = joined


def _is_relu_of_mean(step: Step, makers: Mapping[Value, Step]) -> bool:
    """Whether a ReLU follows a mean, whose operator computes it along without another range."""
    if step.kind is not Kind.RELU or step.fixed is not None:
        return False
    maker = makers.get(_origin(step.inputs[0], makers, {}))
    return maker is not None and maker.kind in (Kind.MEAN, Kind.BETWEEN)


def _computes_relu(step: Step) -> bool:
    """Whether the integer kernel of a step computes a ReLU along."""
    if step.kind in (Kind.KERNEL, Kind.NORM):
        return True
    return step.kind is Kind.ARITHMETIC and step.fixed is None and isinstance(step.layer, (*MERGES.values(), Affine))


def _origin(value: Value, makers: Mapping[Value, Step], shared: Mapping[Value, Value]) -> Value:
    while True:
        step = makers.get(value)
        if value in shared:
            value = shared[value]
        elif step is not None and step.kind in (Kind.SAME, Kind.TRAINING):
            value = step.inputs[0]
        else:
            return value
