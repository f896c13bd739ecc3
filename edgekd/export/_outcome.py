"""What became of a TFLite model's operators: a scheme that was not carried out is an error or stands in the record."""

from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer
from edgekd.errors import MissingOperator, ModelError, OperatorError
from edgekd.quantize import Scheme

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_READ_NO_VALUES = frozenset({"SHAPE"})
_TAKE_APART = frozenset({"SPLIT", "SPLIT_V", "UNPACK"})  # all have integer kernels
_INTEGERS = {8: schema.TensorType.INT8, 4: schema.TensorType.INT4}


def float_operators(model: Any, scheme: Scheme) -> tuple[str, ...]:
    """Returns the operators of a `ModelT` that a scheme left in float32 although it quantises their kind.

    With integer arithmetic these are the operators that compute with float32; else those whose weights are stored as
    float32. Conversions are no such operators, nor are biases (vectors) such weights. A float32 file has none.

    Returns:
      Each as its operator and the name of its output: `CONV_2D stem_relu/Relu`.
    """
    if scheme.weight_bits == 32:
        return ()
    integer = scheme.arithmetic == "integer"
    found = []
    for name, operator, graph in _operators(model):
        if integer:
            outputs = (graph.tensors[index] for index in operator.outputs)
            affected = any(_is_float(tensor) for tensor in (*_inputs(operator, graph), *outputs))
        else:
            affected = any(_is_float_weight(tensor, model) for tensor in _inputs(operator, graph))
        if affected and name not in _CONVERSIONS | _READ_NO_VALUES:
            found.append(f"{name} {flatbuffer.output_name(operator, graph)}")
    return tuple(found)


def left_in_float_by_chance(model: Any) -> bool:
    """Returns whether an operator of a `ModelT` computes in float that takes a tensor apart and has an unread output.

    See `edgekd.export._tflite_converter`, whose quantiser should have given it integers.
    """
    return any(
        name in _TAKE_APART and _has_unread_output(operator, graph) and any(map(_is_float, _inputs(operator, graph)))
        for name, operator, graph in _operators(model)
    )


def _has_unread_output(operator: Any, graph: Any) -> bool:
    read = {*graph.outputs, *(index for each in graph.operators if each.inputs is not None for index in each.inputs)}
    return any(index not in read for index in operator.outputs)


def check(model: Any, scheme: Scheme, *, allow_float_operators: bool) -> None:
    """Raises ModelError unless a `ModelT` stores its weights, and computes, as the scheme says.

    Args:
      model: a TFLite model.
      scheme: how it was converted.
      allow_float_operators: whether operators may compute with float32 although the scheme's arithmetic is integer.
    """
    if scheme.weight_bits in _INTEGERS and not _has_weights(model, _INTEGERS[scheme.weight_bits]):
        _refuse_without_weights(scheme)
    if scheme.arithmetic == "integer" and not allow_float_operators:
        inside = float_operators(model, scheme)
        if inside:
            raise OperatorError(
                f"scheme {scheme.name!r} computes with integers only, but these operators have no such kernel: "
                f"{', '.join(inside)}. Rebuild the model without them, choose a scheme of float activations such as "
                "dynamic_int8, or set allow_float_operators: true where the device has floating point.",
                operators=[MissingOperator(*each.partition(" ")[::2], lack="integer") for each in inside],
            )


def _refuse_without_weights(scheme: Scheme) -> None:
    if scheme.arithmetic == "integer" and scheme.weight_bits == 8:
        return  # a network without weights computes with integers all the same
    if scheme.arithmetic == "dynamic" and scheme.weight_bits == 8:
        raise ModelError(
            f"scheme {scheme.name!r} would quantise nothing: no weight of this model has the 1024 elements from which "
            "the converter stores weights as int8. Export it as float32, weight_only_int8 or int8."
        )
    raise ModelError(
        f"scheme {scheme.name!r} would store no weight in {scheme.weight_bits} bits: this model has no layer whose "
        "weights can be stored so. Export it as float32 or int8."
    )


def _operators(model: Any) -> Iterator[tuple[str, Any, Any]]:
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            yield flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex]), operator, graph


def _inputs(operator: Any, graph: Any) -> list[Any]:
    indices = () if operator.inputs is None else operator.inputs
    return [graph.tensors[index] for index in indices if index >= 0]


def _is_float(tensor: Any) -> bool:
    return bool(tensor.type == schema.TensorType.FLOAT32)


def _is_float_weight(tensor: Any, model: Any) -> bool:
    constant = model.buffers[tensor.buffer].data is not None
    return constant and _is_float(tensor) and tensor.shape is not None and len(tensor.shape) > 1


def _has_weights(model: Any, kind: int) -> bool:
    return any(
        tensor.type == kind and model.buffers[tensor.buffer].data is not None
        for graph in model.subgraphs
        for tensor in graph.tensors
    )
