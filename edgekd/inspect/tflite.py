"""TFLite flatbuffers, read without being run."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer, kernel_values, microcontroller, storage
from edgekd import provenance as origins
from edgekd.errors import ModelError
from edgekd.inspect import _memory
from edgekd.inspect._attributes import plain
from edgekd.inspect._contents import Content, Contents
from edgekd.inspect._counting import count, unknown_arithmetic
from edgekd.inspect._tflite_arithmetic import macs
from edgekd.inspect.records import (
    Inspection,
    Memory,
    Microcontroller,
    Operator,
    Quantisation,
    Signature,
    Subgraph,
    Tensor,
    Variable,
)
from edgekd.kernel_values.tflite import kernels
from edgekd.records import TensorSpec

SUFFIXES = (".tflite",)
NATIVE_PARSER = True  # read in Python, but a damaged file may claim to hold billions of entries

_CODES = {"padding": schema.Padding, "fusedActivationFunction": schema.ActivationFunctionType}
_CODES_NAMES = {
    option: {code: name for name, code in vars(kind).items() if isinstance(code, int)}
    for option, kind in _CODES.items()
}
_Made = TypeVar("_Made")

_PACKED = {"int4": 4, "uint4": 4, "int2": 2}
_DTYPES = {
    "bool",
    "float16",
    "float32",
    "float64",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


def inspect(path: Path) -> Inspection:
    """Returns what a TFLite file holds; see `edgekd.inspect.inspect_model`."""
    return _opened(path, lambda file, content: file.inspection(content, path))


def inspect_with_contents(path: Path) -> tuple[Inspection, Contents]:
    """Returns what a TFLite file holds, and what it stores.

    Raises:
      ModelError: it is no TFLite file, or is damaged.
    """
    return _opened(path, lambda file, content: (file.inspection(content, path), file.contents()))


def _opened(path: Path, work: Callable[["_File", bytes], _Made]) -> _Made:
    content = path.read_bytes()
    try:
        return work(_File(flatbuffer.read(content)), content)
    except ModelError as error:
        raise ModelError(f"{str(path)!r}: {error}") from error
    except (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is damaged: copy, download or export it again.") from error


class _File:
    """A model, with the positions of its graphs' tensors in one list of all."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._graphs = list(model.subgraphs or ())
        if not self._graphs:
            raise ModelError("it is damaged: it has no graph. Copy, download or export it again.")
        self._names = [flatbuffer.operator_name(code) for code in model.operatorCodes or ()]
        sizes = [len(graph.tensors or ()) for graph in self._graphs]
        self._first = [sum(sizes[:number]) for number in range(len(sizes))]

    def inspection(self, content: bytes, path: Path) -> Inspection:
        model, main = self._model, self._graphs[0]
        metadata = flatbuffer.metadata(model)
        document = metadata.get(origins.KEY)
        nodes = [node for number in range(len(self._graphs)) for node in self._operators(number)]
        unknown = unknown_arithmetic(nodes)
        variables = self._variables()
        memory = self._activations(variables)
        if memory is not None:
            own = len(main.operators or ())
            lives = [*memory.live_bytes, *[None] * (len(nodes) - own)]
            nodes = [node.model_copy(update={"live_bytes": live}) for node, live in zip(nodes, lives, strict=True)]
        return Inspection(
            name=path.name,
            format="tflite",
            format_version=f"TFLite schema {model.version}",
            sha256=storage.sha256_file(path),
            size_bytes=len(content),
            gzip_bytes=storage.gzip_size(path),
            weights_bytes=self._weights_bytes(),
            metadata_bytes=sum(map(len, metadata.values())),
            metadata={name: len(value) for name, value in sorted(metadata.items())},
            inputs=tuple(_spec(self._tensor(0, index)) for index in _indices(main.inputs)),
            outputs=tuple(_spec(self._tensor(0, index)) for index in _indices(main.outputs)),
            signatures=tuple(self._signature(each) for each in model.signatureDefs or ()),
            subgraphs=tuple(
                Subgraph(name=_text(graph.name) or str(number), operators=len(graph.operators or ()))
                for number, graph in enumerate(self._graphs)
            ),
            variables=variables,
            operators=count(nodes),
            macs=None if unknown else sum(node.macs or 0 for node in nodes),
            macs_note=f"the arithmetic of {', '.join(unknown)} is not known" if unknown else None,
            memory=memory,
            kernels=kernel_values.kernel_values(kernels(model)),
            nodes=tuple(nodes),
            tensors=tuple(each for number in range(len(self._graphs)) for each in self._tensors(number)),
            provenance=None if document is None else origins.Provenance.from_json(document, name=path.name),
            microcontroller=Microcontroller(lacking=tuple(microcontroller.lacking(node.operator for node in nodes))),
        )

    def contents(self) -> Contents:
        description = self._model.description
        return Contents(
            tensors=tuple(
                _content(tensor, self._data(tensor)) for graph in self._graphs for tensor in graph.tensors or ()
            ),
            metadata=flatbuffer.metadata(self._model) | ({"description": description} if description else {}),
        )

    def _tensor(self, number: int, index: int) -> Any:
        tensors = self._graphs[number].tensors or ()
        if not 0 <= index < len(tensors):
            raise ValueError(f"graph {number} has no tensor {index}")
        return tensors[index]

    def _data(self, tensor: Any) -> Any:
        if tensor.buffer < 0:
            raise ValueError(f"there is no buffer {tensor.buffer}")
        return self._model.buffers[tensor.buffer].data

    def _operators(self, number: int) -> list[Operator]:
        graph = self._graphs[number]
        found = []
        for operator in graph.operators or ():
            if operator.opcodeIndex < 0:
                raise ValueError(f"there is no operator code {operator.opcodeIndex}")
            name, code = self._names[operator.opcodeIndex], self._model.operatorCodes[operator.opcodeIndex]
            read, made = _indices(operator.inputs), _indices(operator.outputs)
            shapes = [
                [[] if index < 0 else _shape(self._tensor(number, index)) for index in indices]
                for indices in (read, made)
            ]
            sizes = [_size(self._tensor(number, index)) for index in made if index >= 0]
            constants = [self._data(self._tensor(number, index)) for index in sorted(set(read)) if index >= 0]
            found.append(
                Operator(
                    operator=name,
                    version=int(code.version),
                    subgraph=number,
                    inputs=self._positions(number, read),
                    outputs=self._positions(number, made),
                    attributes=_attributes(operator),
                    macs=macs(name, operator.builtinOptions, *shapes),
                    weights_bytes=sum(len(data) for data in constants if data is not None),
                    made_bytes=None if None in sizes else sum(size or 0 for size in sizes),
                )
            )
        return found

    def _positions(self, number: int, indices: list[int]) -> tuple[int | None, ...]:
        return tuple(None if index < 0 else self._first[number] + index for index in indices)

    def _activations(self, variables: tuple[Variable, ...]) -> Memory | None:
        graph = self._graphs[0]
        handles = {index for index, tensor in enumerate(graph.tensors or ()) if _dtype(tensor) == "resource"}
        sizes = {
            index: _size(tensor)
            for index, tensor in enumerate(graph.tensors or ())
            if self._data(tensor) is None and index not in handles
        }
        steps = [(_indices(operator.inputs), _indices(operator.outputs)) for operator in graph.operators or ()]
        kept = [index for index, tensor in enumerate(graph.tensors or ()) if tensor.isVariable]
        resources = [each.size_bytes for each in variables[len(kept) :]]
        if None in resources:
            return None
        return _memory.estimate(
            steps,
            sizes,
            inputs=_indices(graph.inputs),
            outputs=_indices(graph.outputs),
            variables=kept,
            always=sum(size or 0 for size in resources),
        )

    def _variables(self) -> tuple[Variable, ...]:
        """Returns the main graph's variable tensors, then the resources that any graph has handles of."""
        kept = tuple(
            Variable(name=_text(each.name), shape=tuple(_shape(each)), dtype=_dtype(each), size_bytes=_size(each))
            for each in self._graphs[0].tensors or ()
            if each.isVariable
        )
        resources: dict[str, Variable] = {}
        for number, graph in enumerate(self._graphs):
            handles: dict[int, str] = {}
            for operator in graph.operators or ():
                name = self._names[operator.opcodeIndex]
                read, made = _indices(operator.inputs), _indices(operator.outputs)
                if name == "VAR_HANDLE" and made:
                    handles[made[0]] = _text(getattr(operator.builtinOptions, "sharedName", None))
                    resources.setdefault(
                        handles[made[0]], Variable(name=handles[made[0]], shape=None, dtype=None, size_bytes=None)
                    )
                value = {"ASSIGN_VARIABLE": read[1:2], "READ_VARIABLE": made[:1]}.get(name, [])
                if value and read and read[0] in handles:
                    tensor = self._tensor(number, value[0])
                    resources[handles[read[0]]] = Variable(
                        name=handles[read[0]],
                        shape=tuple(_open_shape(tensor)),
                        dtype=_dtype(tensor),
                        size_bytes=_size(tensor),
                    )
        return (*kept, *resources.values())

    def _tensors(self, number: int) -> list[Tensor]:
        graph = self._graphs[number]
        inputs, outputs = set(_indices(graph.inputs)), set(_indices(graph.outputs))
        found = []
        for index, tensor in enumerate(graph.tensors or ()):
            data = self._data(tensor)
            found.append(
                Tensor(
                    name=_text(tensor.name),
                    role=_role(tensor, index, inputs, outputs) if data is None else "constant",
                    shape=tuple(_open_shape(tensor)),
                    dtype=_dtype(tensor),
                    size_bytes=_size(tensor) if data is None else len(data),
                    quantisation=_quantisation(tensor),
                    subgraph=number,
                )
            )
        return found

    def _signature(self, found: Any) -> Signature:
        number = int(found.subgraphIndex)
        inputs, outputs = (
            {_text(each.name): _text(self._tensor(number, int(each.tensorIndex)).name) for each in side or ()}
            for side in (found.inputs, found.outputs)
        )
        return Signature(name=_text(found.signatureKey), subgraph=number, inputs=inputs, outputs=outputs)

    def _weights_bytes(self) -> int:
        stored = {tensor.buffer for graph in self._graphs for tensor in graph.tensors or ()}
        return sum(len(data) for index in stored if (data := self._model.buffers[index].data) is not None)


def _attributes(operator: Any) -> dict[str, Any]:
    """Returns an operator's options by their names in the schema; activations and paddings by name."""
    found: dict[str, Any] = {}
    for options in (operator.builtinOptions, operator.builtinOptions2):
        for option, value in ({} if options is None else vars(options)).items():
            found[option] = _CODES_NAMES[option].get(value, value) if option in _CODES_NAMES else plain(value)
    if operator.customOptions is not None and len(operator.customOptions):
        found["customOptions"] = plain(np.asarray(operator.customOptions, np.uint8))
    return found


def _content(tensor: Any, data: Any) -> Content:
    """Returns a constant's elements; of a packed one unpacked, of other unusual ones its bytes."""
    if data is None:
        return None
    raw, dtype, shape = np.asarray(data, np.uint8), _dtype(tensor), _shape(tensor)
    if dtype in _PACKED:
        raw = _unpacked(raw, _PACKED[dtype], math.prod(shape), signed=dtype.startswith("int"))
    elif dtype in _DTYPES:
        raw = np.frombuffer(raw.tobytes(), dtype) if len(raw) % np.dtype(dtype).itemsize == 0 else raw
    return raw.reshape(shape) if math.prod(shape) == raw.size else raw


def _unpacked(raw: Any, bits: int, count: int, *, signed: bool) -> Any:
    """Returns integers of less than a byte, the lowest bits first, each in a byte."""
    parts = [(raw >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    values = np.stack(parts, axis=-1).ravel()[: max(count, 0)].astype(np.int8)
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int8) if signed else values


def _role(
    tensor: Any, index: int, inputs: set[int], outputs: set[int]
) -> Literal["input", "output", "activation", "variable"]:
    if tensor.isVariable:
        return "variable"
    return "input" if index in inputs else "output" if index in outputs else "activation"


def _spec(tensor: Any) -> TensorSpec:
    quantisation = _quantisation(tensor)
    single = quantisation is not None and quantisation.granularity == "per_tensor"
    return TensorSpec(
        name=_text(tensor.name),
        shape=tuple(_open_shape(tensor)),
        dtype=_dtype(tensor),
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
    if len(zero_points) not in (1, len(scales)):
        raise ValueError(f"tensor {_text(tensor.name)!r} has {len(scales)} scales and {len(zero_points)} zero points")
    return Quantisation(
        granularity="per_tensor" if len(scales) == 1 else "per_channel",
        axis=None if len(scales) == 1 else int(found.quantizedDimension),
        scales=scales,
        zero_points=zero_points if len(zero_points) == len(scales) else zero_points * len(scales),
    )


def _size(tensor: Any) -> int | None:
    return _memory.tensor_bytes(_shape(tensor), _dtype(tensor))


def _dtype(tensor: Any) -> str:
    return flatbuffer.type_name(tensor.type)


def _shape(tensor: Any) -> list[int]:
    """Returns the shape in the file, in which open sizes stand as 1 (older files: -1)."""
    shape = [] if tensor.shape is None else [1 if size == -1 else int(size) for size in tensor.shape]
    if min(shape, default=0) < 0:
        raise ValueError(f"tensor {_text(tensor.name)!r} has the shape {shape}")
    return shape


def _open_shape(tensor: Any) -> list[int | None]:
    signature = tensor.shapeSignature
    if signature is None or len(signature) == 0:
        return list(_shape(tensor))
    return [None if size < 0 else int(size) for size in signature]


def _indices(found: Any) -> list[int]:
    return [] if found is None else [int(index) for index in found]


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")
