"""A scheme of its own for some layers of a TFLite file: which operators those are, and whether they became so."""

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer, quantize
from edgekd.errors import ModelError, RecipeError, unknown_names
from edgekd.quantize import Scheme

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_BITS = {
    schema.TensorType.FLOAT32: 32,
    schema.TensorType.INT16: 16,
    schema.TensorType.INT8: 8,
    schema.TensorType.INT4: 4,
}


def schemes(model: Any, layers: Mapping[str, str]) -> dict[int, Scheme]:
    """Returns the scheme of each operator of a float32 `ModelT` that a pattern names, by its position.

    An operator has the names of all layers that the converter has joined in it: those in the names of its outputs and
    of its weights. A nested layer is called NETWORK/LAYER.

    Args:
      model: as TensorFlow's converter has made it.
      layers: schemes by patterns of layer names, in which * stands for anything.

    Raises:
      RecipeError: a pattern that names no layer, or patterns of different schemes for one operator.
    """
    (graph, *_) = model.subgraphs
    found: dict[int, tuple[str, Scheme]] = {}
    known: set[str] = set()
    met: set[str] = set()
    for position, operator in enumerate(graph.operators):
        names = set(_names(operator, graph, model))
        known |= names
        for pattern, name in layers.items():
            if not any(fnmatch.fnmatchcase(each, pattern) for each in names):
                continue
            met.add(pattern)
            other, earlier = found.setdefault(position, (pattern, quantize.scheme(name)))
            if earlier != quantize.scheme(name):
                output = _output(operator, graph)
                raise RecipeError(
                    f"layers gives {output!r} two schemes, by {other!r} and by {pattern!r}: it is one operator in the "
                    "file. Write narrower patterns."
                )
    unknown = [pattern for pattern in layers if pattern not in met]
    if unknown:
        raise RecipeError(unknown_names("layer in layers:", unknown, known))
    return {position: each for position, (_, each) in found.items()}


def check_names(model: Any, layers: Mapping[str, str]) -> None:
    """Raises RecipeError for patterns that name no layer of a network, all at once: before anything is converted.

    `schemes` sees what this cannot tell: layers of which the converter makes no operator, and those of networks with
    code of their own.

    Args:
      model: as for `edgekd.export.export_model`.
      layers: as for `schemes`.
    """
    known = _paths(model)
    unknown = [pattern for pattern in layers if not any(fnmatch.fnmatchcase(each, pattern) for each in known or ())]
    if known is not None and unknown:
        raise RecipeError(unknown_names("layer in layers:", unknown, known))


def _paths(parent: Any, prefix: str = "") -> set[str] | None:
    """Returns the names of all layers, nested ones as NETWORK/LAYER; None where code that is not Keras' makes some."""
    import keras

    if not isinstance(parent, keras.Layer) or not type(parent).__module__.startswith("keras."):
        return None
    found: set[str] = set()
    for layer in parent._flatten_layers(include_self=False, recursive=False):
        inner = _paths(layer, f"{prefix}{layer.name}/")
        if inner is None:
            return None
        found |= {f"{prefix}{layer.name}", *inner}
    return found


def scope(operator: Any, graph: Any) -> str:
    """Returns what ai-edge-quantizer matches its rules with."""
    return ";".join(graph.tensors[index].name.decode() for index in operator.outputs) + ";"


def check(
    before: Any, after: Any, scheme: Scheme, chosen: Mapping[int, Scheme], *, allow_float_operators: bool
) -> None:
    """Raises ModelError unless every operator stores its weights, and computes, as its own scheme says.

    Args:
      before: the float32 `ModelT`.
      after: what was made of it.
      scheme: of the operators that have none of their own.
      chosen: the others', by position in `before`.
      allow_float_operators: whether operators without an integer kernel may compute with float32.
    """
    graph, (result, *_) = before.subgraphs[0], after.subgraphs
    made = [each for each in result.operators if _kind(each, after) not in _CONVERSIONS]
    if [_kind(each, after) for each in made] != [_kind(each, before) for each in graph.operators]:
        raise ModelError("the quantised file has other operators than the float32 one: its layers cannot be checked.")
    left: list[str] = []
    for position, (old, new) in enumerate(zip(graph.operators, made, strict=True)):
        own = chosen.get(position, scheme)
        what = f"{_kind(old, before)} {_output(old, graph).partition(';')[0]}"
        if own.arithmetic == "integer" and _computes_in_float(new, result):
            left.append(what)
        elif any(True for _ in _weights(old, graph, before)):
            stored = _stored_bits(new, result, after)
            if stored not in (own.weight_bits, own.other_weight_bits):
                raise ModelError(f"{what} would store its weights in {stored} bits, not as {own.name} says.")
    if left and not allow_float_operators:
        raise ModelError(
            f"these operators have no kernel of the integer scheme that they are given: {', '.join(left)}. Give those "
            "layers the scheme float32, or set allow_float_operators: true where the device has floating point."
        )


def _names(operator: Any, graph: Any, model: Any) -> Iterator[str]:
    tensors = [graph.tensors[index] for index in operator.outputs]
    for tensor in (*tensors, *_weights(operator, graph, model)):
        for name in tensor.name.decode().split(";"):
            parts = name.split("/")
            for count in range(1, max(len(parts), 2)):  # the last part is the operation's
                yield "/".join(parts[:count])


def _weights(operator: Any, graph: Any, model: Any) -> Iterator[Any]:
    """Yields the constants of an operator that schemes are about: floats of two dimensions or more."""
    for index in operator.inputs:
        tensor = graph.tensors[index]
        if index >= 0 and _is_weight(tensor, model) and tensor.type == schema.TensorType.FLOAT32:
            yield tensor


def _stored_bits(operator: Any, graph: Any, model: Any) -> int | None:
    """Returns how many bits the weights of an operator have, also where they are dequantised before it."""
    makers = {int(index): each for each in graph.operators for index in each.outputs}
    for index in operator.inputs:
        maker = makers.get(int(index))
        source = int(maker.inputs[0]) if maker is not None and _kind(maker, model) == "DEQUANTIZE" else int(index)
        if source >= 0 and _is_weight(graph.tensors[source], model):
            return _BITS.get(graph.tensors[source].type)
    return None


def _is_weight(tensor: Any, model: Any) -> bool:
    return model.buffers[tensor.buffer].data is not None and tensor.shape is not None and len(tensor.shape) > 1


def _computes_in_float(operator: Any, graph: Any) -> bool:
    tensors = (graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0)
    return any(tensor.type == schema.TensorType.FLOAT32 for tensor in tensors)


def _kind(operator: Any, model: Any) -> str:
    return flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex])


def _output(operator: Any, graph: Any) -> str:
    name: str = graph.tensors[operator.outputs[0]].name.decode()
    return name
