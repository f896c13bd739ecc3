"""Rescaling and normalisation at a network's inputs: kept in the graph, left to the caller, or folded away."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.export import _folding
from edgekd.export._source import Source, source_of
from edgekd.quantize.aware import affine
from edgekd.quantize.aware.graph import Call, Graph, Value, trace
from edgekd.quantize.aware.rounding import FakeQuantize
from edgekd.quantize.byte_range import byte_range
from edgekd.records import Preprocessing

INSIDE, OUTSIDE, FOLD = CHOICES = ("inside", "outside", "fold")
_INTEGERS = 2**8
_NEAR = 1e-3  # of a step: how near to a whole number a zero point must be that rounding in float32 has blurred


@dataclasses.dataclass(frozen=True)
class _Lead:
    """What an input goes through first.

    Attributes:
      name: the input's.
      start: the input.
      end: what the last of the layers gives.
      gone: the calls between.
      factor, shift: what they come to, float64, [channels] or [1].
    """

    name: str
    start: Value
    end: Value
    gone: tuple[Call, ...]
    factor: np.ndarray[Any, Any]
    shift: np.ndarray[Any, Any]

    def record(self, placement: Any, layer: str | None = None) -> Preprocessing:
        return Preprocessing(
            input=self.name,
            placement=placement,
            factor=tuple(self.factor.tolist()),
            shift=tuple(self.shift.tolist()),
            layer=layer,
        )


def check(model: Any, choice: str) -> None:
    """Raises what `placed` raises for a choice that does not go with a model, before anything is converted."""
    if choice not in CHOICES:
        raise RecipeError(unknown_name("preprocessing", choice, CHOICES))
    if choice != INSIDE:
        _leads(model, _graph(model))


def placed(
    model: Any, choice: str, *, quantised: bool = False, bytes_in: bool = False, step: float | None = None
) -> tuple[Source, tuple[Preprocessing, ...]]:
    """Returns the model without the rescaling and normalisation that its inputs begin with, and where that went.

    Args:
      model: a functional or sequential Keras 3 model.
      choice: `outside` leaves it to the caller. `fold` puts it into the weights of the first layer: exactly where that
        layer pads nothing, and of one that pads zeros the factor alone, so that the shift stays in the graph. Where
        bytes go in, it goes into the scale and zero point of the input instead where these are exact and the first
        layer's weights are not.
      quantised: whether the model is fake-quantised to int8: its weights are rounded already, and stay.
      bytes_in: whether the file takes integers of 8 bits.
      step: by how much inputs differ that are one byte apart, where they are bytes.

    Raises:
      RecipeError: an unknown choice, or one that does not go with the input's dtype.
      ModelError: a model whose layers cannot be seen, that begins with no such layer, or that it cannot be folded into.
    """
    check(model, choice)
    source = source_of(model)
    graph = _graph(model)
    leads = _leads(model, graph)
    records, replaced, shifts = [], {}, {}
    for lead in leads:
        if choice == OUTSIDE:
            records.append(lead.record("outside"))
        elif quantised:
            records.append(_into_rounded_input(lead, graph, model.name, bytes_in=bytes_in))
        else:
            taker = _only_taker(lead, graph, model.name)
            found = _folding.fold(taker, lead.factor, lead.shift, graph=graph)
            scaled = bytes_in and _zero_point(lead, step) is not None
            if found is not None and (found.shift is None or not scaled):
                replaced.update(found.layers)
                shifts[lead.start] = found.shift
                placement = "first_layer" if found.shift is None else "first_layer_factor"
                records.append(lead.record(placement, found.name))
            elif scaled:
                records.append(lead.record("input_scale"))
            else:
                raise ModelError(
                    f"the preprocessing of input {lead.name!r} of model {model.name!r} cannot be folded into "
                    f"{taker.name!r} ({type(taker.operation).__name__}), which takes it: choose preprocessing: "
                    "outside, or inside."
                )
    call = _called(graph, leads, replaced, shifts)
    return dataclasses.replace(source, call=call), tuple(records)


def byte_limits(step: float, record: Preprocessing | None) -> tuple[float, float] | None:
    """Returns the range of a file's input that has the bytes as its integers; None where the caller makes other ones.

    Args:
      step: by how much the model's inputs differ that are one byte apart.
      record: what became of the preprocessing, if there is any.
    """
    low, high = byte_range(step)
    if record is None or not record.by_the_caller:
        return low, high
    if record.placement == "outside":
        return None
    return low * record.factor[0] + record.shift[0], high * record.factor[0] + record.shift[0]


def _graph(model: Any) -> Graph:
    network = isinstance(model, keras.Model) and getattr(model, "inputs", None) and getattr(model, "outputs", None)
    if not network:
        name = getattr(model, "name", type(model).__name__)
        raise ModelError(
            f"only of functional and sequential networks of Keras 3 can preprocessing be taken out of the graph, and "
            f"{name!r} is none: export it with preprocessing: inside."
        )
    return trace(model)


def _leads(model: Any, graph: Graph) -> list[_Lead]:
    names = [spec.name for spec in source_of(model).inputs]
    found = [_lead(name, value, graph) for name, value in zip(names, graph.inputs, strict=True)]
    leads = [lead for lead in found if lead is not None]
    if not leads:
        raise ModelError(
            f"model {model.name!r} begins with no Rescaling or Normalization that all that follows takes: there is no "
            "preprocessing to take out of its graph. Export it with preprocessing: inside."
        )
    for lead in leads:
        if not (lead.factor != 0).all():
            raise ModelError(f"the preprocessing of input {lead.name!r} multiplies by zero: it cannot be taken out.")
    return leads


def _lead(name: str, start: Value, graph: Graph) -> _Lead | None:
    current, passed = start, []
    lead = None
    factor, shift = np.ones(1), np.zeros(1)
    while current not in graph.outputs:
        takers = [call for call in graph.calls if current in call.inputs]
        if len(takers) != 1 or len(takers[0].outputs) != 1:
            break
        (call,) = takers
        passed.append(call)
        current = call.outputs[0]
        step = affine.factor_and_shift(call.operation)
        if step is not None:
            factor, shift = factor * step[0], shift * step[0] + step[1]
            lead = _Lead(name, start, current, tuple(passed), factor, shift)
        elif not isinstance(call.operation, FakeQuantize):
            break
    return lead


def _only_taker(lead: _Lead, graph: Graph, name: str) -> Call:
    takers = [call for call in graph.calls if lead.end in call.inputs]
    if len(takers) != 1 or lead.end in graph.outputs:
        raise ModelError(
            f"the preprocessing of input {lead.name!r} of model {name!r} cannot be folded, since several layers take "
            "its result: choose preprocessing: outside, or inside."
        )
    return takers[0]


def _zero_point(lead: _Lead, step: float | None) -> int | None:
    """Returns the byte that stands for zero after preprocessing, if there is one."""
    if step is None or len(lead.factor) > 1 or len(lead.shift) > 1 or lead.factor[0] < 0:
        return None
    zero = -lead.shift[0] / (lead.factor[0] * step)
    exact = abs(zero - round(zero)) < _NEAR and 0 <= round(zero) < _INTEGERS
    return round(zero) if exact else None


def _into_rounded_input(lead: _Lead, graph: Graph, name: str, *, bytes_in: bool) -> Preprocessing:
    """Checks that each integer of the rounded input is the same integer after preprocessing."""
    if not bytes_in:
        raise RecipeError(
            f"the preprocessing of the int8 network {name!r} can be folded only where integers go in: set "
            "input_dtype: uint8 (or int8), or choose preprocessing: outside."
        )
    before, *others = [lead.gone[0].operation, *(call.operation for call in graph.calls if lead.end in call.inputs)]
    after = others[0] if len(others) == 1 else None
    if (
        isinstance(before, FakeQuantize)
        and isinstance(after, FakeQuantize)
        and len(lead.factor) == len(lead.shift) == 1
    ):
        integers = np.arange(_INTEGERS)
        values = before.real(integers) * lead.factor[0] + lead.shift[0]
        if np.array_equal(after.integers(values), integers):
            return lead.record("input_scale")
    raise ModelError(
        f"the preprocessing of input {lead.name!r} of the int8 network {name!r} is not exactly a scale and a zero "
        "point of its input, and its weights are rounded already: choose preprocessing: outside, or inside. Exact are "
        "bytes with one factor for all channels that take some byte to zero, such as Rescaling(1 / 255)."
    )


def _called(
    graph: Graph,
    leads: Sequence[_Lead],
    replaced: Mapping[Call, Any],
    shifts: Mapping[Value, np.ndarray[Any, Any] | None],
) -> Any:
    gone = {call for lead in leads for call in lead.gone}
    ends = {lead.start: lead.end for lead in leads}

    def call(arrays: Sequence[Any]) -> Sequence[Any]:
        made: dict[Value, Any] = {}
        for start, array in zip(graph.inputs, arrays, strict=True):
            shift = shifts.get(start)
            made[ends.get(start, start)] = array if shift is None else array + tf.constant(shift, tf.float32)
        for each in graph.calls:
            if each in gone:
                continue
            operation = replaced.get(each, each.operation)
            args, kwargs = keras.tree.map_structure(
                lambda leaf: made[leaf] if isinstance(leaf, Value) else leaf, (each.args, each.kwargs)
            )
            if isinstance(operation, keras.Layer) and operation._call_has_training_arg:
                kwargs = {**kwargs, "training": False}
            made.update(zip(each.outputs, keras.tree.flatten(operation(*args, **kwargs)), strict=True))
        return [made[value] for value in graph.outputs]

    return call
