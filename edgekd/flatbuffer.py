"""TFLite flatbuffers as objects, by the schema classes that LiteRT ships."""

import copy
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import ModelError

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""What the schema asks of the data of every buffer (`force_align: 16`), in bytes from the file's start.

The schema's own Python classes do not keep it. A kernel that reads 64-bit integers or vectors where the file lies, as
on a microcontroller, may fault or slow down without it.
"""

_OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_TYPES = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}


def read(content: bytes) -> Any:
    """Returns a TFLite file as a `schema.ModelT`, whose arrays are views of `content`.

    Data that the file keeps behind the flatbuffer, as large files do, is joined to its buffers.

    Raises:
      ModelError: it is no TFLite file, or is damaged.
    """
    if content[4:8] != IDENTIFIER:
        raise ModelError(f"this is not a TFLite model: its file identifier {IDENTIFIER.decode()!r} is missing.")
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        for buffer in model.buffers or ():
            if buffer.offset > 1:  # 1 stands for "not known yet" in files that are being written
                buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
                buffer.offset = buffer.size = 0
    except Exception as error:  # whatever the reader stumbles over in damaged bytes: struct.error, IndexError, ...
        raise ModelError("the TFLite model is damaged or cut short: copy, download or export it again.") from error
    return model


def pack(model: Any) -> bytes:
    """Returns the bytes of a `ModelT`, with every buffer's data aligned as the schema asks, and equal parts once."""
    aligned = copy.copy(model)
    aligned.buffers = [_Aligned(buffer) for buffer in model.buffers]
    builder = _Sharing(1024)
    builder.Finish(aligned.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def with_metadata(content: bytes, name: str, value: bytes) -> bytes:
    """Returns the file with a named metadata buffer, in place of one of that name; everything else is unchanged.

    Raises:
      ModelError: as `read`.
    """
    model = read(content)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(value, np.uint8)
    kept = list(model.metadata or ())
    for entry in kept:
        if entry.name == name.encode():
            model.buffers[entry.buffer] = buffer
            return pack(model)
    entry = schema.MetadataT()
    entry.name, entry.buffer = name.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*kept, entry]
    return pack(model)


def with_signature_names(content: bytes) -> bytes:
    """Returns the file with its inputs and outputs called as its first signature calls them.

    Not every reader knows signatures. A tensor inside that has such a name gets another one.

    Raises:
      ModelError: as `read`.
    """
    model = read(content)
    signature = model.signatureDefs[0]
    tensors = model.subgraphs[signature.subgraphIndex].tensors
    wanted = {entry.tensorIndex: entry.name for entry in (*signature.inputs, *signature.outputs)}
    if all(tensors[index].name == name for index, name in wanted.items()):
        return content
    taken = set(wanted.values())
    for index, tensor in enumerate(tensors):
        name, number = wanted.get(index, tensor.name), 1
        while index not in wanted and name in taken:
            name, number = tensor.name + b"_%d" % number, number + 1
        tensor.name = name
        taken.add(name)
    return pack(model)


def metadata(model: Any) -> dict[str, bytes]:
    """Returns a `ModelT`'s metadata buffers by name."""
    found = {}
    for entry in model.metadata or ():
        data = model.buffers[entry.buffer].data
        found[(entry.name or b"").decode(errors="replace")] = b"" if data is None else bytes(data)
    return found


def metadata_entry(content: bytes, name: str) -> bytes | None:
    """Returns one metadata buffer of a file without reading the rest of it; None where it has none of that name.

    Raises:
      ModelError: the file is damaged.
    """
    try:
        root = schema.Model.GetRootAs(content, 0)
        for position in range(root.MetadataLength()):
            entry = root.Metadata(position)
            if entry.Name() == name.encode():
                data = root.Buffers(entry.Buffer()).DataAsNumpy()
                return data.tobytes() if isinstance(data, np.ndarray) else b""
    except Exception as error:  # as in `read`
        raise ModelError("the TFLite model is damaged or cut short: copy, download or export it again.") from error
    return None


def operator_name(code: Any) -> str:
    """Returns what the schema calls the operator of an `OperatorCodeT`: CONV_2D; a custom one by its own name."""
    number = max(code.builtinCode, code.deprecatedBuiltinCode)  # newer operators leave 127 in the older field
    if number == schema.BuiltinOperator.CUSTOM:
        return (code.customCode or b"CUSTOM").decode(errors="replace")
    return _OPERATORS.get(number, f"OPERATOR_{number}")


def output_name(operator: Any, graph: Any) -> str:
    """Returns the name of an operator's first output; of those that a fused operator has, the last operation's."""
    return (graph.tensors[operator.outputs[0]].name or b"").decode(errors="replace").partition(";")[0]


def type_name(code: int) -> str:
    """Returns the name of a tensor type: float32, int8, int4, ..."""
    return _TYPES.get(code, f"type_{code}")


class _Sharing(flatbuffers.Builder):
    """A builder that stores equal strings and equal arrays of numbers once, and has all tables refer to them.

    Every channel of a kernel has a zero point of 8 bytes, and most of a file's shapes are alike.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[Any, int] = {}

    def CreateString(self, s: Any, *args: Any) -> int:  # noqa: N802 - as below
        key = (type(s), s)
        if key not in self._written:
            self._written[key] = super().CreateString(s, *args)
        return self._written[key]

    def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


class _Aligned(schema.BufferT):
    """A buffer that keeps its alignment when it is packed."""

    def __init__(self, buffer: Any) -> None:
        super().__init__(data=buffer.data, offset=buffer.offset, size=buffer.size)

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the name that the schema's classes call
        if self.data is None:
            return super().Pack(builder)
        content = bytes(bytearray(self.data))
        builder.StartVector(1, len(content), ALIGNMENT)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        schema.BufferAddOffset(builder, self.offset)
        schema.BufferAddSize(builder, self.size)
        return schema.BufferEnd(builder)
