"""Damaged files through all that edgekd does with foreign ones: refused in a line, or still files."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "fuzz_models.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """A dense layer with an activation, in each format, without TensorFlow's help."""
    folder = tmp_path_factory.mktemp("bases")
    kernel = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Gemm", ["x", "kernel"], ["t"], alpha=1.0), helper.make_node("Relu", ["t"], ["y"])]
    ends = [helper.make_tensor_value_info(name, kind, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [onnx.numpy_helper.from_array(kernel, "kernel")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "dense.onnx")

    flat, main, code, operator, data = (
        schema.ModelT(),
        schema.SubGraphT(),
        schema.OperatorCodeT(),
        schema.OperatorT(),
        schema.BufferT(),
    )
    data.data = np.frombuffer(kernel.tobytes(), np.uint8)
    flat.version, flat.subgraphs, flat.operatorCodes = 3, [main], [code]
    flat.buffers = [schema.BufferT(), schema.BufferT(), data, schema.BufferT()]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    main.tensors = []
    for buffer, (name, shape) in enumerate((("x", (1, 4)), ("kernel", (4, 4)), ("y", (1, 4))), start=1):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), np.int32(shape), buffer
        main.tensors.append(tensor)
    operator.inputs, operator.outputs = np.int32([0, 1, -1]), np.int32([2])
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    main.operators, main.inputs, main.outputs = [operator], np.int32([0]), np.int32([2])
    (folder / "dense.tflite").write_bytes(flatbuffer.pack(flat))
    return {name: [folder / f"dense.{name}"] for name in ("tflite", "onnx")}


def test_damaged_files_are_refused_in_a_line_or_still_files(tool, bases, tmp_path):
    found = tool.fuzz(bases, numbers=range(15), seed=1, folder=tmp_path)
    assert found.failures == ()
    for name in ("tflite", "onnx"):
        for way in tool.WAYS:
            counts = found.counts[name, way]
            assert counts.total() == 15
            assert counts["refused"] > 0
    assert list(tmp_path.iterdir()) == []


def test_sound_files_are_accepted_and_a_number_is_always_the_same_file(tool, bases, tmp_path, monkeypatch):
    contents = [bases["onnx"][0].read_bytes()]
    files = [tool.damaged("onnx", contents, 0, seed=3, number=number) for number in range(20)]
    assert files == [tool.damaged("onnx", contents, 0, seed=3, number=number) for number in range(20)]
    assert len(set(files)) > 15
    assert contents[0] not in files
    monkeypatch.setattr(tool, "damaged", lambda _name, contents, which, **_: contents[which])
    found = tool.fuzz(bases, numbers=[0], seed=3, folder=tmp_path)
    assert {outcome for counts in found.counts.values() for outcome in counts} == {"accepted"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("'m.onnx' is damaged: copy it again.", "refused"),
        ("'m.onnx' crashed its parser with SIGSEGV when it was read", "crashed in the child"),
        ("'m.onnx' could not be tried in a child process: KeyError: 3", "failure"),
        ("something is damaged: copy it again.", "failure"),
        ("'m.onnx' is damaged: \x1b[31m and so on", "failure"),
        ("m.onnx", "failure"),
    ],
)
def test_a_refusal_must_be_clear(tool, message, expected):
    assert tool._judged(message, Path("m.onnx"))[0] == expected
