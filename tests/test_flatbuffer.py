"""TFLite flatbuffers keep what they hold when something is added, and their alignment."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer
from edgekd.errors import ModelError


def model(*buffers):
    made = schema.ModelT()
    made.version, made.description, made.operatorCodes, made.subgraphs = 3, b"test", [], []
    made.buffers = []
    for content in (None, *buffers):
        buffer = schema.BufferT()
        buffer.data = None if content is None else np.frombuffer(content, np.uint8)
        made.buffers.append(buffer)
    return made


@pytest.mark.parametrize("lengths", [(1,), (3, 17, 16), (0, 5), (15, 33, 2, 64)])
def test_data_starts_at_multiples_of_16_bytes_and_is_unchanged(lengths):
    contents = [bytes([200 + number]) * length for number, length in enumerate(lengths)]
    packed = flatbuffer.pack(model(*contents))
    found = schema.Model.GetRootAs(packed, 0)
    for number, content in enumerate(contents, start=1):
        buffer = found.Buffers(number)
        assert buffer.DataLength() == len(content)
        if content:
            assert buffer.DataAsNumpy().tobytes() == content
            assert packed.index(content) % 16 == 0
    assert found.Buffers(0).DataIsNone()
    assert packed[4:8] == b"TFL3"


def test_metadata_is_added_replaced_and_read():
    first = flatbuffer.with_metadata(flatbuffer.pack(model(b"weights")), "one", b"first")
    second = flatbuffer.with_metadata(first, "two", b"more")
    third = flatbuffer.with_metadata(second, "one", b"again")
    found = flatbuffer.read(third)
    assert flatbuffer.metadata(found) == {"one": b"again", "two": b"more"}
    assert [None if each.data is None else bytes(each.data) for each in found.buffers] == [
        None,
        b"weights",
        b"again",
        b"more",
    ]


def test_packing_twice_gives_the_same_bytes():
    packed = flatbuffer.pack(model(b"a" * 20, b"bcd"))
    assert flatbuffer.pack(flatbuffer.read(packed)) == packed


def test_equal_names_and_arrays_are_stored_once_and_read_everywhere():
    made = model()
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], np.int32([0]), np.int32([1])
    sizes = [0]
    for number in range(3):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = b"a_name_of_30_bytes_so_that_it_shows", np.int32([1, 2, 3, number // 2])
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.zeroPoint = np.zeros(64, np.int64)
        tensor.quantization.scale = np.full(64, number + 1, np.float32)
        graph.tensors.append(tensor)
        made.subgraphs = [graph]
        sizes.append(len(flatbuffer.pack(made)))
    assert sizes[1] > 64 * 8 + 64 * 4
    assert sizes[2] - sizes[1] < 64 * 4 + 150  # its own scales, and references to the rest
    found = flatbuffer.read(flatbuffer.pack(made)).subgraphs[0].tensors
    assert [tensor.name for tensor in found] == [b"a_name_of_30_bytes_so_that_it_shows"] * 3
    assert [list(tensor.shape) for tensor in found] == [[1, 2, 3, 0], [1, 2, 3, 0], [1, 2, 3, 1]]
    for number, tensor in enumerate(found):
        assert tensor.quantization.zeroPoint.dtype == np.int64
        np.testing.assert_array_equal(tensor.quantization.zeroPoint, np.zeros(64))
        np.testing.assert_array_equal(tensor.quantization.scale, np.full(64, number + 1))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"not a model"])
def test_what_is_no_flatbuffer_is_refused(content):
    with pytest.raises(ModelError, match="not a TFLite model"):
        flatbuffer.read(content)


def test_a_truncated_flatbuffer_is_refused():
    packed = flatbuffer.pack(model(b"a" * 20))
    with pytest.raises(ModelError, match="damaged"):
        flatbuffer.read(packed[:20])


def outside(content):
    """Returns a file that keeps its buffer of 20 letters behind the flatbuffer, as files of 2 GiB must."""
    made = model(b"")
    made.buffers[1].data = None
    made.buffers[1].offset, made.buffers[1].size = 512, len(content)
    return flatbuffer.pack(made).ljust(512, b"\0") + content


def test_weights_behind_the_flatbuffer_are_joined_to_it():
    found = flatbuffer.read(outside(b"a" * 20))
    assert bytes(found.buffers[1].data) == b"a" * 20
    again = schema.Model.GetRootAs(flatbuffer.pack(found), 0).Buffers(1)
    assert (again.DataAsNumpy().tobytes(), again.Offset(), again.Size()) == (b"a" * 20, 0, 0)


def test_weights_that_are_cut_off_are_refused():
    with pytest.raises(ModelError, match="damaged"):
        flatbuffer.read(outside(b"a" * 20)[:-1])


def test_inputs_and_outputs_are_called_as_the_signature_calls_them():
    made = model()
    graph, signature = schema.SubGraphT(), schema.SignatureDefT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], np.int32([0]), np.int32([2])
    for name in (b"image", b"logits", b"logits_dequant"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, np.int32([1])
        graph.tensors.append(tensor)

    def entry(name, index):
        made_entry = schema.TensorMapT()
        made_entry.name, made_entry.tensorIndex = name, index
        return [made_entry]

    signature.signatureKey, signature.inputs, signature.outputs = b"a", entry(b"image", 0), entry(b"logits", 2)
    made.subgraphs, made.signatureDefs = [graph], [signature]
    named = flatbuffer.with_signature_names(flatbuffer.pack(made))
    assert [tensor.name for tensor in flatbuffer.read(named).subgraphs[0].tensors] == [b"image", b"logits_1", b"logits"]
    assert flatbuffer.with_signature_names(named) == named


def test_operators_have_their_schema_names():
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    assert flatbuffer.operator_name(code) == "CONV_2D"
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.GELU, 127
    assert flatbuffer.operator_name(code) == "GELU"
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"Mine"
    assert flatbuffer.operator_name(code) == "Mine"
