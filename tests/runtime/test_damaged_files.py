"""A damaged or hostile model file is an error message, never a dead process."""

import subprocess
import sys

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd.errors import ModelError
from edgekd.runtime import open_runner
from edgekd.runtime.onnxruntime import QUANTISATION_KEY

NATIVE_FILES = ["static.tflite", "int8.tflite", "varying.onnx"]


@pytest.mark.parametrize("name", ["static.tflite", "varying.onnx", "network.keras"])
@pytest.mark.parametrize("content", [b"", b"not a model at all, only some text"], ids=["empty", "text"])
def test_a_file_that_is_no_model_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        open_runner(tmp_path / name)


@pytest.mark.parametrize("name", [*NATIVE_FILES, "network.keras"])
@pytest.mark.parametrize("kept", [0.1, 0.6, 0.97])
def test_a_truncated_file_is_refused(name, kept, files, tmp_path):
    content = (files / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError):
        open_runner(tmp_path / name)


def test_a_tflite_file_under_an_onnx_name_is_refused(files, tmp_path):
    (tmp_path / "model.onnx").write_bytes((files / "static.tflite").read_bytes())
    with pytest.raises(ModelError, match="damaged or not an ONNX model"):
        open_runner(tmp_path / "model.onnx")


def rewritten(source, target, change):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes(), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
    return target


def add_a_loop_that_contains_itself(model):
    """The interpreter prepares the loop's condition, which is the graph with the loop, until its stack is full."""
    model.subgraphs.append(schema.ModelT.InitFromObj(schema.Model.GetRootAs(packed(model), 0)).subgraphs[0])
    code, options, operator, result = (
        schema.OperatorCodeT(),
        schema.WhileOptionsT(),
        schema.OperatorT(),
        schema.TensorT(),
    )
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
    model.operatorCodes.append(code)
    graph = model.subgraphs[0]
    result.shape, result.type, result.name = graph.tensors[0].shape, graph.tensors[0].type, b"result"
    graph.tensors.append(result)
    options.condSubgraphIndex, options.bodySubgraphIndex = 0, 1
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = np.int32([0]), np.int32([len(graph.tensors) - 1])
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.WhileOptions, options
    graph.operators.insert(0, operator)


def packed(model):
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_file_that_crashes_the_interpreter_is_an_error_here(files, tmp_path):
    path = rewritten(files / "static.tflite", tmp_path / "loop.tflite", add_a_loop_that_contains_itself)
    script = (
        "import sys; from ai_edge_litert.interpreter import Interpreter; Interpreter(sys.argv[1]).allocate_tensors()"
    )
    bare = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, check=False)
    assert bare.returncode < 0, "this file should kill a process that opens it without care"
    with pytest.raises(ModelError, match=r"crashed its parser with SIGSEGV.*it is damaged"):
        open_runner(path)


@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_an_input_or_output_that_does_not_exist_is_refused(side, files, tmp_path):
    def lose_it(model):
        setattr(model.subgraphs[0], side, np.int32([-1]))
        model.signatureDefs = []

    path = rewritten(files / "static.tflite", tmp_path / "model.tflite", lose_it)
    with pytest.raises(ModelError, match="is damaged"):
        open_runner(path)


def test_a_type_that_numpy_lacks_is_refused_with_the_engines_reason(files, tmp_path):
    def make_a_feature_map_bfloat16(model):
        (graph,) = model.subgraphs
        graph.tensors[graph.operators[0].outputs[0]].type = schema.TensorType.BFLOAT16

    path = rewritten(files / "static.tflite", tmp_path / "model.tflite", make_a_feature_map_bfloat16)
    with pytest.raises(ModelError, match=r"LiteRT could not prepare 'model\.tflite': .*BFLOAT16"):
        open_runner(path)


def test_an_operator_that_the_engine_lacks_is_named(files, tmp_path):
    model = onnx.load(files / "static.onnx")
    model.graph.node[-1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="NoSuchOperator"):
        open_runner(tmp_path / "model.onnx")


def test_a_model_of_strings_is_refused(tmp_path):
    text = onnx.TensorProto.STRING
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["a"], ["b"])
    graph = onnx.helper.make_graph([node], "g", [value("a", text, [1])], [value("b", text, [1])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"tensor 'a' .* is a tensor\(string\): only tensors of numbers"):
        open_runner(tmp_path / "model.onnx")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["int8.tflite", "varying.onnx"])
def test_flipped_bytes_are_run_or_refused(name, seed, files, tmp_path):
    rng = np.random.default_rng(seed)
    content = np.frombuffer((files / name).read_bytes(), np.uint8).copy()
    content[rng.integers(8, len(content), 40)] = rng.integers(0, 256, 40)
    (tmp_path / name).write_bytes(content.tobytes())
    try:
        open_runner(tmp_path / name).close()
    except ModelError as error:
        assert name in str(error)  # noqa: PT017 - a file that still runs is as good


@pytest.mark.parametrize(
    "text", ["[1, 2]", '{"image": [1]}', '{"image": [NaN, 0]}', '{"image": [0.0, 0]}', '{"image": [1, Infinity]}']
)
def test_scales_that_nobody_can_use_are_refused(text, files, tmp_path):
    model = onnx.load(files / "int8_inputs.onnx")
    (entry,) = [each for each in model.metadata_props if each.key == QUANTISATION_KEY]
    entry.value = text
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"'model\.onnx' has damaged 'edgekd\.quantisation' metadata"):
        open_runner(tmp_path / "model.onnx", check=False)
