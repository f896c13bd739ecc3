"""ONNX files, read without being run."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import onnx
from google.protobuf.message import DecodeError

from edgekd import external_data, kernel_values, storage
from edgekd import provenance as origins
from edgekd.errors import ModelError, said
from edgekd.inspect import _memory
from edgekd.inspect._attributes import plain
from edgekd.inspect._contents import Content, Contents
from edgekd.inspect._counting import count, unknown_arithmetic
from edgekd.inspect._onnx_arithmetic import is_free, macs
from edgekd.inspect.records import Inspection, Memory, Operator, Quantisation, Subgraph, Tensor
from edgekd.kernel_values.onnx import kernels
from edgekd.records import TensorSpec

SUFFIXES = (".onnx",)
NATIVE_PARSER = True  # protobuf's parser and ONNX's shape inference are C++

_OWN_DOMAINS = {"", "ai.onnx"}
_MOVING = {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}  # the same integers, elsewhere
_Shape = tuple[int | None, ...]
_Made = TypeVar("_Made")


def inspect(path: Path) -> Inspection:
    """Returns what an ONNX file holds; see `edgekd.inspect.inspect_model`."""
    return _opened(path, lambda graph: graph.inspection(path))


def inspect_with_contents(path: Path) -> tuple[Inspection, Contents]:
    """Returns what an ONNX file holds, and what it stores, in files beside it too.

    Raises:
      ModelError: it is no ONNX file, or is damaged.
    """
    return _opened(path, lambda graph: (graph.inspection(path), graph.contents()))


def _opened(path: Path, work: Callable[["_Graph"], _Made]) -> _Made:
    try:
        proto = onnx.load_model(path, load_external_data=False)
        if not proto.graph.output:
            raise ModelError(f"{str(path)!r} is not an ONNX model: it has no graph with outputs.")
        inferred = onnx.shape_inference.infer_shapes(_with_batch_of_one(proto), data_prop=True)
        beside = external_data.load(proto, path)  # after inference, which serialises: more than 2 GiB fit no message
        return work(_Graph(proto, inferred.graph, beside))
    except (
        DecodeError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelError(
            f"{str(path)!r} is damaged or not an ONNX model{said(error)}: copy, download or export it again."
        ) from error


def _constants(graph: Any) -> dict[str, Any]:
    found = {each.name: each for each in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                found[node.output[0]] = attribute.t
    return found


class _Graph:
    """The main graph, with the shapes that follow from its inputs' when an open batch is 1."""

    def __init__(self, proto: Any, graph: Any, beside: tuple[Path, ...]) -> None:
        self._proto = proto
        self._beside = beside
        self._nodes = [node for node in graph.node if node.op_type != "Constant"]
        self._constants = _constants(proto.graph)
        values = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
        self._types = {
            name: (_shape(value), _dtype(value.type.tensor_type.elem_type)) for name, value in values.items()
        }
        self._types.update({name: (tuple(each.dims), _dtype(each.data_type)) for name, each in self._constants.items()})
        self._inputs = [value.name for value in graph.input if value.name not in self._constants]
        self._outputs = [value.name for value in graph.output]
        for node in self._nodes:
            for name in node.output:
                if name:
                    self._types.setdefault(name, (None, "undefined"))  # shape inference does not know it
        self._positions = {name: position for position, name in enumerate(self._types)}
        self._opsets = {each.domain: each.version for each in proto.opset_import}
        self._quantised = self._quantisations()

    def inspection(self, path: Path) -> Inspection:
        metadata = {entry.key: entry.value for entry in self._proto.metadata_props}
        document = metadata.get(origins.KEY)
        files = (path, *self._beside)
        memory = self._activations()
        lives = [None] * len(self._nodes) if memory is None else memory.live_bytes
        nodes = [self._operator(node, live) for node, live in zip(self._nodes, lives, strict=True)]
        unknown = unknown_arithmetic(nodes)
        bodies = [
            Subgraph(name=f"{node.name or node.op_type}/{attribute.name}", operators=len(attribute.g.node))
            for node, attribute in _bodies(self._proto.graph)
        ]
        opsets = ", ".join(
            f"opset {each.version}" if each.domain in _OWN_DOMAINS else f"{each.domain} {each.version}"
            for each in sorted(self._proto.opset_import, key=lambda each: each.domain)
        )
        return Inspection(
            name=path.name,
            format="onnx",
            format_version=f"ONNX IR {self._proto.ir_version}, {opsets}",
            sha256=external_data.sha256(path, self._beside),
            size_bytes=sum(each.stat().st_size for each in files),
            gzip_bytes=sum(storage.gzip_size(each) for each in files),
            weights_bytes=sum(self._size(name) or 0 for name in self._constants),
            metadata_bytes=sum(len(value.encode()) for value in metadata.values()),
            metadata={key: len(value.encode()) for key, value in sorted(metadata.items())},
            inputs=tuple(self._spec(value) for value in self._proto.graph.input if value.name not in self._constants),
            outputs=tuple(self._spec(value) for value in self._proto.graph.output),
            subgraphs=(Subgraph(name=self._proto.graph.name, operators=len(nodes)), *bodies),
            operators=count(nodes),
            macs=None if unknown else sum(node.macs or 0 for node in nodes),
            macs_note=f"the arithmetic of {', '.join(unknown)} is not known" if unknown else None,
            memory=memory,
            kernels=kernel_values.kernel_values(kernels(self._proto.graph)),
            nodes=tuple(nodes),
            tensors=tuple(self._tensor(name) for name in self._types),
            provenance=None if document is None else origins.Provenance.from_json(document, name=path.name),
        )

    def contents(self) -> Contents:
        about = {
            name: getattr(self._proto, name)
            for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string")
        }
        return Contents(
            tensors=tuple(self._content(name) for name in self._types),
            metadata={name: str(value).encode() for name, value in about.items() if value}
            | {entry.key: entry.value.encode() for entry in self._proto.metadata_props},
        )

    def _content(self, name: str) -> Content:
        elements: Content = onnx.numpy_helper.to_array(self._constants[name]) if name in self._constants else None
        return elements

    def _operator(self, node: Any, live_bytes: int | None) -> Operator:
        own = node.domain in _OWN_DOMAINS
        sizes = [self._size(name) for name in node.output if name]
        return Operator(
            operator=node.op_type if own else f"{node.domain}.{node.op_type}",
            version=self._version(node),
            name=node.name or None,
            inputs=tuple(self._positions.get(name) if name else None for name in node.input),
            outputs=tuple(self._positions.get(name) if name else None for name in node.output),
            attributes={each.name: _attribute(each) for each in sorted(node.attribute, key=lambda each: each.name)},
            macs=self._macs(node) if own else None,
            weights_bytes=sum(self._size(name) or 0 for name in set(node.input) if name in self._constants),
            made_bytes=None if None in sizes else sum(size or 0 for size in sizes),
            live_bytes=live_bytes,
        )

    def _version(self, node: Any) -> int | None:
        """Returns the opset in which the operator that this file means was defined."""
        own = node.domain in _OWN_DOMAINS
        opset = max((version for domain, version in self._opsets.items() if domain in _OWN_DOMAINS), default=0)
        try:
            schema = onnx.defs.get_schema(
                node.op_type, opset if own else self._opsets.get(node.domain, 0), "" if own else node.domain
            )
            return int(schema.since_version)
        except onnx.defs.SchemaError:
            return None  # of a domain that ONNX does not know

    def _macs(self, node: Any) -> int | None:
        if is_free(node.op_type):
            return 0
        inputs, outputs = ([self._known(name) for name in names] for names in (node.input, node.output))
        if any(shape is None for shape in (*inputs, *outputs)):
            return None
        attributes = {each.name: each.i for each in node.attribute if each.type == onnx.AttributeProto.INT}
        return macs(node.op_type, attributes, [each or () for each in inputs], [each or () for each in outputs])

    def _known(self, name: str) -> tuple[int, ...] | None:
        """Returns a tensor's shape, () for an optional one that is missing, None where a size is open."""
        if not name:
            return ()
        shape = self._types.get(name, (None, ""))[0]
        if shape is None:
            return None
        sizes = tuple(size for size in shape if size is not None)
        return sizes if len(sizes) == len(shape) else None

    def _activations(self) -> Memory | None:
        made = {name for node in self._nodes for name in node.output if name}
        sizes = {name: self._size(name) for name in (*self._inputs, *made)}
        steps = [([*node.input], [*node.output]) for node in self._nodes]
        return _memory.estimate(steps, sizes, inputs=self._inputs, outputs=self._outputs)

    def _size(self, name: str) -> int | None:
        shape, dtype = self._known(name), self._types.get(name, (None, "undefined"))[1]
        return None if shape is None else _memory.tensor_bytes(shape, dtype)

    def _tensor(self, name: str) -> Tensor:
        shape, dtype = self._types[name]
        if name in self._constants:
            role = "constant"
        else:
            role = "input" if name in self._inputs else "output" if name in self._outputs else "activation"
        return Tensor(
            name=name,
            role=role,  # type: ignore[arg-type]
            shape=shape,
            dtype=dtype,
            size_bytes=self._size(name),
            quantisation=self._quantised.get(name),
        )

    def _spec(self, value: Any) -> TensorSpec:
        quantisation = self._quantised.get(value.name)
        single = quantisation if quantisation is not None and quantisation.granularity == "per_tensor" else None
        return TensorSpec(
            name=value.name,
            shape=_shape(value) or (),
            dtype=_dtype(value.type.tensor_type.elem_type),
            scale=single.scales[0] if single is not None else None,
            zero_point=single.zero_points[0] if single is not None else None,
        )

    def _quantisations(self) -> Mapping[str, Quantisation]:
        """Returns the quantisation of what QuantizeLinear makes or DequantizeLinear reads, also once it is moved."""
        found = {}
        for node in self._nodes:
            if node.op_type not in {"QuantizeLinear", "DequantizeLinear"} or node.input[1] not in self._constants:
                continue
            scales = onnx.numpy_helper.to_array(self._constants[node.input[1]])
            zero = self._constants[node.input[2]] if len(node.input) > 2 and node.input[2] in self._constants else None
            zero_points = (0,) * scales.size if zero is None else onnx.numpy_helper.to_array(zero).ravel()
            axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
            granularity = {0: "per_tensor", 1: "per_channel"}.get(scales.ndim, "blockwise")
            if scales.size == 1:
                granularity = "per_tensor"
            name = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
            found[name] = Quantisation(
                granularity=granularity,  # type: ignore[arg-type]
                axis=axis if granularity == "per_channel" else None,
                scales=tuple(float(scale) for scale in scales.ravel()) if granularity != "blockwise" else (),
                zero_points=tuple(int(each) for each in zero_points) if granularity != "blockwise" else (),
            )
        moving = [node for node in self._nodes if node.op_type in _MOVING]
        for pairs in (
            [(node.output[0], node.input[0]) for node in reversed(moving)],
            [(node.input[0], node.output[0]) for node in moving],
        ):
            for known, other in pairs:
                if known in found and found[known].granularity == "per_tensor":
                    found.setdefault(other, found[known])
        return found


def _bodies(graph: Any) -> Iterator[tuple[Any, Any]]:
    """Yields every graph inside a graph, with the operator that has it."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield node, attribute
                yield from _bodies(attribute.g)


def _attribute(attribute: Any) -> Any:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return plain(onnx.numpy_helper.to_array(attribute.t))
    if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        return "graph"
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type in (onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT, onnx.AttributeProto.STRING):
        return plain(value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS, onnx.AttributeProto.STRINGS):
        return plain(list(value))
    return onnx.AttributeProto.AttributeType.Name(attribute.type).lower()


def _with_batch_of_one(proto: Any) -> Any:
    """Returns the model with 1 wherever the first dimension of an input, where that is open, stands."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    graph = fixed.graph
    first = [value.type.tensor_type.shape.dim[:1] for value in graph.input]
    batches = {dim.dim_param for dims in first for dim in dims if dim.dim_param}
    for dim in (dim for dims in first for dim in dims):
        if not dim.HasField("dim_value"):
            dim.dim_value = 1
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in batches and dim.dim_param:
                dim.dim_value = 1
    for dim in (dim for value in graph.output for dim in value.type.tensor_type.shape.dim):
        if not dim.HasField("dim_value"):
            dim.Clear()  # for inference to fill in: a name of its own would stay
    return fixed


def _shape(value: Any) -> _Shape | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)


def _dtype(code: int) -> str:
    names = {"float": "float32", "double": "float64"}
    if code not in onnx.TensorProto.DataType.values():
        return f"type_{code}"
    name = onnx.TensorProto.DataType.Name(code).lower()
    return names.get(name, name)
