"""TFLite flatbuffers, read without being run."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer, storage
from edgekd import provenance as origins
from edgekd.errors import ModelError
from edgekd.inspect import _memory
from edgekd.inspect._tflite_arithmetic import macs
from edgekd.inspect.records import Inspection, OperatorCount, Quantisation, Tensor
from edgekd.records import TensorSpec

SUFFIXES = (".tflite",)
NATIVE_PARSER = True  # read in Python, but a damaged file may claim to hold billions of entries


def inspect(path: Path) -> Inspection:
    """Returns what a TFLite file holds; see `edgekd.inspect.inspect_model`."""
    content = path.read_bytes()
    try:
        model = flatbuffer.read(content)
        return _inspection(model, content, path)
    except ModelError as error:
        raise ModelError(f"{str(path)!r}: {error}") from error
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ModelError(
            f"{str(path)!r} is damaged ({type(error).__name__}: {error}): copy, download or export it again."
        ) from error


def _inspection(model: Any, content: bytes, path: Path) -> Inspection:
    metadata = flatbuffer.metadata(model)
    document = metadata.get(origins.KEY)
    main = model.subgraphs[0]
    counts, unknown = _operators(model)
    return Inspection(
        name=path.name,
        format="tflite",
        format_version=f"TFLite schema {model.version}",
        sha256=storage.sha256_file(path),
        size_bytes=len(content),
        weights_bytes=_weights_bytes(model),
        metadata_bytes=sum(map(len, metadata.values())),
        metadata={name: len(value) for name, value in sorted(metadata.items())},
        inputs=tuple(_spec(main.tensors[index]) for index in main.inputs),
        outputs=tuple(_spec(main.tensors[index]) for index in main.outputs),
        signatures=tuple((each.signatureKey or b"").decode() for each in model.signatureDefs or ()),
        operators=counts,
        macs=None if unknown else sum(each.macs or 0 for each in counts),
        macs_note=f"the arithmetic of {', '.join(unknown)} is not known" if unknown else None,
        memory=_activations(model, main),
        tensors=tuple(tensor for graph in model.subgraphs for tensor in _tensors(model, graph)),
        provenance=None if document is None else origins.Provenance.from_json(document, name=path.name),
    )


def _operators(model: Any) -> tuple[tuple[OperatorCount, ...], list[str]]:
    names = [flatbuffer.operator_name(code) for code in model.operatorCodes or ()]
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    unknown = set()
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            name = names[operator.opcodeIndex]
            counts[name] += 1
            inputs, outputs = (
                [[] if index < 0 else _shape(graph.tensors[index]) for index in _indices(each)]
                for each in (operator.inputs, operator.outputs)
            )
            made = macs(name, operator.builtinOptions, inputs, outputs)
            if made is None:
                unknown.add(name)
            else:
                totals[name] += made
    return tuple(
        OperatorCount(operator=name, count=count, macs=None if name in unknown else totals[name])
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ), sorted(unknown)


def _activations(model: Any, graph: Any) -> Any:
    sizes = {
        index: _size(tensor) for index, tensor in enumerate(graph.tensors) if model.buffers[tensor.buffer].data is None
    }
    steps = [(_indices(operator.inputs), _indices(operator.outputs)) for operator in graph.operators or ()]
    return _memory.estimate(steps, sizes, inputs=_indices(graph.inputs), outputs=_indices(graph.outputs))


def _tensors(model: Any, graph: Any) -> list[Tensor]:
    inputs, outputs = set(_indices(graph.inputs)), set(_indices(graph.outputs))
    found = []
    for index, tensor in enumerate(graph.tensors):
        data = model.buffers[tensor.buffer].data
        found.append(
            Tensor(
                name=_name(tensor),
                role=_role(index, inputs, outputs) if data is None else "constant",
                shape=tuple(_open_shape(tensor)),
                dtype=flatbuffer.type_name(tensor.type),
                size_bytes=_size(tensor) if data is None else len(data),
                quantisation=_quantisation(tensor),
            )
        )
    return found


def _role(index: int, inputs: set[int], outputs: set[int]) -> Literal["input", "output", "activation"]:
    return "input" if index in inputs else "output" if index in outputs else "activation"


def _weights_bytes(model: Any) -> int:
    stored = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    return sum(len(data) for index in stored if (data := model.buffers[index].data) is not None)


def _spec(tensor: Any) -> TensorSpec:
    quantisation = _quantisation(tensor)
    single = quantisation is not None and quantisation.granularity == "per_tensor"
    return TensorSpec(
        name=_name(tensor),
        shape=tuple(_open_shape(tensor)),
        dtype=flatbuffer.type_name(tensor.type),
        scale=quantisation.scales[0] if quantisation is not None and single else None,
        zero_point=quantisation.zero_points[0] if quantisation is not None and single else None,
    )


def _quantisation(tensor: Any) -> Quantisation | None:
    found = tensor.quantization
    if found is None:
        return None
    if found.detailsType == schema.QuantizationDetails.BlockwiseQuantization:
        return Quantisation(granularity="blockwise", scales=(), zero_points=())
    scales = () if found.scale is None else tuple(float(scale) for scale in found.scale)
    if not scales:
        return None
    zero_points = tuple(int(zero) for zero in found.zeroPoint) if found.zeroPoint is not None else (0,) * len(scales)
    return Quantisation(
        granularity="per_tensor" if len(scales) == 1 else "per_channel",
        axis=None if len(scales) == 1 else int(found.quantizedDimension),
        scales=scales,
        zero_points=zero_points,
    )


def _size(tensor: Any) -> int | None:
    return _memory.tensor_bytes(_shape(tensor), flatbuffer.type_name(tensor.type))


def _shape(tensor: Any) -> list[int]:
    """Returns the shape in the file, in which open sizes stand as 1."""
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def _open_shape(tensor: Any) -> list[int | None]:
    signature = tensor.shapeSignature
    if signature is None or len(signature) == 0:
        return list(_shape(tensor))
    return [None if size < 0 else int(size) for size in signature]


def _indices(found: Any) -> list[int]:
    return [] if found is None else [int(index) for index in found]


def _name(tensor: Any) -> str:
    return (tensor.name or b"").decode(errors="replace")
