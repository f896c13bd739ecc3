"""How an exported file computes: in floats or integers, in which steps, for which range of inputs it was made."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import flatbuffer
from edgekd.errors import ModelError
from edgekd.verify import onnx_files
from edgekd.verify.activations import Activation
from edgekd.verify.records import FLOAT16, FLOAT32, INTEGER, WEIGHTS

_INTEGERS = {"int4", "int8", "uint8", "int16"}
_MOVING = {"EXPAND_DIMS", "RESHAPE", "SQUEEZE", "TRANSPOSE"} | {
    "Flatten",
    "Identity",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}  # the same numbers, elsewhere
_ROUNDING = {"DEQUANTIZE", "QUANTIZE", "DequantizeLinear", "QuantizeLinear"}
_ACTIVATIONS = {"LOGISTIC": "logistic", "SOFTMAX": "softmax", "TANH": "tanh"} | {
    "QLinearSigmoid": "logistic",
    "QLinearSoftmax": "softmax",
    "Sigmoid": "logistic",
    "Softmax": "softmax",
    "Tanh": "tanh",
}


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """What is known of a model's numbers.

    Attributes:
      kind: float32; float16 (some weights are); weights (they are quantised, activations are floats); integer.
      steps: of each output that comes from integers, by name, the distance of neighbouring values.
      ranges: of each input that becomes integers, by name, the least and the largest real number that they can hold.
      activations: of each output that comes out of a steep function of integers, by name, that function.
    """

    kind: str
    steps: Mapping[str, float] = dataclasses.field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    activations: Mapping[str, Activation] = dataclasses.field(default_factory=dict)


def arithmetic_of(path: Path, *, signature: str | None = None) -> Arithmetic:
    """Returns how a TFLite or ONNX file computes.

    Args:
      path: the file, which a runner has opened: so it is whole.
      signature: the signature of a TFLite file that is run; by default the only one, or else the main graph.

    Raises:
      ModelError: it is of another kind, or is damaged.
    """
    try:
        if path.suffix.lower() == ".tflite":
            return _tflite(flatbuffer.read(path.read_bytes()), signature)
        if path.suffix.lower() == ".onnx":
            return _onnx(path)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is damaged: copy, download or export it again.") from error
    raise ModelError(f"{str(path)!r} is neither a TFLite nor an ONNX file.")


def integer_range(dtype: str, scale: float, zero_point: int) -> tuple[float, float]:
    """Returns the least and the largest real number that integers of a dtype can stand for."""
    limits = np.iinfo(dtype)
    return scale * (int(limits.min) - zero_point), scale * (int(limits.max) - zero_point)


def _kind(*, activations: bool, weights: bool, halves: bool) -> str:
    return INTEGER if activations else WEIGHTS if weights else FLOAT16 if halves else FLOAT32


def _tflite(model: Any, signature: str | None) -> Arithmetic:
    known = model.signatureDefs or []
    only = len(known) == 1 and signature is None
    chosen = [each for each in known if only or (each.signatureKey or b"").decode() == signature]
    graph = model.subgraphs[chosen[0].subgraphIndex if chosen else 0]
    names = {index: (tensor.name or b"").decode(errors="replace") for index, tensor in enumerate(graph.tensors)}
    for definition in chosen:
        names |= {each.tensorIndex: each.name.decode() for each in (*definition.inputs, *definition.outputs)}
    made: dict[int, tuple[str, int]] = {}
    used: dict[int, tuple[str, int]] = {}
    betas: dict[int, float] = {}  # by what a softmax reads: the factor that it multiplies that with
    for operator in graph.operators or ():
        kind = flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex])
        received, returned = _indices(operator.inputs), _indices(operator.outputs)
        if received and returned:
            made |= dict.fromkeys(returned, (kind, received[0]))
            used.setdefault(received[0], (kind, returned[0]))
            if kind == "SOFTMAX":
                betas[received[0]] = float(operator.builtinOptions.beta)
    constants = [tensor for tensor in graph.tensors if model.buffers[tensor.buffer].data is not None]
    others = [tensor for tensor in graph.tensors if model.buffers[tensor.buffer].data is None]
    steps, ranges = {}, {}
    for index in _indices(graph.outputs):
        found = _parameters(graph.tensors[_walk(index, made, "DEQUANTIZE")])
        if found is not None:
            steps[names[index]] = found[1]
    for index in _indices(graph.inputs):
        found = _parameters(graph.tensors[_walk(index, used, "QUANTIZE")])
        if found is not None:
            ranges[names[index]] = integer_range(*found)
    return Arithmetic(
        kind=_kind(
            activations=any(_parameters(tensor) is not None for tensor in others),
            weights=any(_is_quantised(tensor) for tensor in constants),
            halves=any(flatbuffer.type_name(tensor.type) == "float16" for tensor in graph.tensors),
        ),
        steps=steps,
        ranges=ranges,
        activations={
            names[index]: activation
            for index in _indices(graph.outputs)
            if (activation := _tflite_activation(index, made, betas, graph.tensors)) is not None
        },
    )


def _tflite_activation(
    index: int, made: Mapping[int, tuple[str, int]], betas: Mapping[int, float], tensors: Any
) -> Activation | None:
    for kind, neighbour in _path(index, made):
        if kind in _ACTIVATIONS:
            found = _parameters(tensors[neighbour])
            return None if found is None else Activation(_ACTIVATIONS[kind], found[1] * betas.get(neighbour, 1.0))
        if kind not in _MOVING | _ROUNDING:
            break
    return None


def _indices(found: Any) -> list[int]:
    return [] if found is None else [int(index) for index in found]


def _walk(index: int, neighbours: Mapping[int, tuple[str, int]], crossing: str) -> int:
    """Returns the tensor on the integers' side of the operator that turns this one's numbers from or into them."""
    for kind, neighbour in _path(index, neighbours):
        if kind == crossing:
            return neighbour
        if kind not in _MOVING:
            break
    return index


def _path(index: Any, neighbours: Mapping[Any, tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for _ in range(len(neighbours)):
        if index not in neighbours:
            return
        yield neighbours[index]
        index = neighbours[index][1]


def _is_quantised(tensor: Any) -> bool:
    found = tensor.quantization
    return (
        flatbuffer.type_name(tensor.type) in _INTEGERS
        and found is not None
        and ((found.scale is not None and len(found.scale) > 0) or found.details is not None)
    )


def _parameters(tensor: Any) -> tuple[str, float, int] | None:
    """Returns the dtype, scale and zero point of a tensor that is quantised as a whole."""
    if not _is_quantised(tensor) or tensor.quantization.scale is None or len(tensor.quantization.scale) != 1:
        return None
    zero_points = tensor.quantization.zeroPoint
    zero_point = 0 if zero_points is None or len(zero_points) == 0 else int(zero_points[0])
    return flatbuffer.type_name(tensor.type), float(tensor.quantization.scale[0]), zero_point


def _onnx(path: Path) -> Arithmetic:
    import onnx

    graph = onnx_files.load(path).graph
    constants = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], each.t) for each in node.attribute if each.HasField("t"))

    def value(name: str) -> Any:
        return onnx.numpy_helper.to_array(constants[name]) if name in constants else None

    quantises = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in constants]
    restores = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
    integer = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "MatMulNBits"}
    dynamic = any(node.op_type in integer for node in graph.node)
    made = {node.output[0]: node for node in graph.node if node.input and node.output}
    used: dict[str, Any] = {}
    for node in graph.node:
        if node.input:
            used.setdefault(node.input[0], node)
    return Arithmetic(
        kind=_kind(
            activations=bool(quantises) or any(node.op_type.startswith("QLinear") for node in graph.node),
            weights=bool(restores) or dynamic,
            halves=any(each.data_type == onnx.TensorProto.FLOAT16 for each in constants.values()),
        ),
        steps={
            output.name: parameters[1]
            for output in graph.output
            if (parameters := _linear(output.name, made, "DequantizeLinear", value, forward=False)) is not None
        },
        ranges={
            each.name: integer_range(*parameters)
            for each in graph.input
            if (parameters := _linear(each.name, used, "QuantizeLinear", value, forward=True)) is not None
        },
        activations={
            output.name: found
            for output in graph.output
            if (found := _onnx_activation(output.name, made, value)) is not None
        },
    )


def _onnx_activation(name: str, made: Mapping[str, Any], value: Callable[[str], Any]) -> Activation | None:
    for _ in range(len(made)):
        node = made.get(name)
        if node is None or node.op_type not in {*_MOVING, *_ROUNDING, *_ACTIVATIONS}:
            return None
        if node.op_type in _ACTIVATIONS:
            # Either reads integers itself, or numbers that were made of them.
            from_ = node if node.op_type.startswith("QLinear") else made.get(node.input[0])
            if from_ is None or (from_ is not node and from_.op_type != "DequantizeLinear"):
                return None
            scale = value(from_.input[1])
            if scale is None or scale.size != 1:
                return None
            return Activation(_ACTIVATIONS[node.op_type], float(scale.reshape(-1)[0]))
        name = node.input[0]
    return None


def _linear(
    name: str, nodes: Mapping[str, Any], crossing: str, value: Callable[[str], Any], *, forward: bool
) -> tuple[str, float, int] | None:
    """Returns the parameters of the operator of that kind which a tensor goes into, or comes from."""
    for _ in range(len(nodes)):
        node = nodes.get(name)
        if node is None or node.op_type not in {crossing, *_MOVING}:
            return None
        if node.op_type == crossing:
            scale = value(node.input[1])
            zero_point = value(node.input[2]) if len(node.input) > 2 else np.uint8(0)
            if scale is None or zero_point is None or scale.size != 1:
                return None
            return zero_point.dtype.name, float(scale.reshape(-1)[0]), int(zero_point.reshape(-1)[0])
        name = node.output[0] if forward else node.input[0]
    return None
