"""Tiny real models, written without TensorFlow: one dense layer as a TFLite flatbuffer and as an ONNX graph."""

from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

UNITS = 16
FEATURES = 64


@pytest.fixture(scope="session")
def dense_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _tflite_dense(tmp_path_factory.mktemp("bench") / "dense.tflite")


@pytest.fixture(scope="session")
def int8_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _tflite_dense(tmp_path_factory.mktemp("bench") / "int8.tflite", quantised=True)


@pytest.fixture(scope="session")
def dynamic_batch_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _tflite_dense(tmp_path_factory.mktemp("bench") / "dynamic_batch.tflite", signature=(-1, FEATURES))


@pytest.fixture(scope="session")
def dynamic_length_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "dynamic_length.tflite"
    return _tflite_dense(path, shape=(1, 2, FEATURES), signature=(-1, -1, FEATURES))


@pytest.fixture(scope="session")
def eight_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense layer with a fixed batch of eight."""
    return _tflite_dense(tmp_path_factory.mktemp("bench") / "eight.tflite", shape=(8, FEATURES))


@pytest.fixture(scope="session")
def dense_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _onnx_dense(tmp_path_factory.mktemp("bench") / "dense.onnx", ("batch", FEATURES))


@pytest.fixture(scope="session")
def outside_onnx(tmp_path_factory: pytest.TempPathFactory, dense_onnx: Path) -> Path:
    """The dense layer with its kernel, 64 · 16 floats, in a file of a subfolder."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "parts").mkdir()
    path = folder / "outside.onnx"
    onnx.save(onnx.load(dense_onnx), path, save_as_external_data=True, location="parts/kernel.bin", size_threshold=0)
    return path


@pytest.fixture(scope="session")
def dynamic_length_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _onnx_dense(tmp_path_factory.mktemp("bench") / "dynamic_length.onnx", ("batch", "length", FEATURES))


def _tflite_dense(
    path: Path,
    *,
    shape: tuple[int, ...] = (1, FEATURES),
    signature: tuple[int, ...] | None = None,
    quantised: bool = False,
) -> Path:
    generator = np.random.default_rng(0)
    kernel = generator.standard_normal((UNITS, FEATURES)).astype(np.float32)
    bias = np.zeros(UNITS, np.float32)
    kind = schema.TensorType.FLOAT32
    if quantised:
        kernel = generator.integers(-127, 128, (UNITS, FEATURES)).astype(np.int8)
        bias, kind = bias.astype(np.int32), schema.TensorType.INT8

    def tensor(name, shape, kind, buffer, *, scale, signature=None):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, np.array(shape, np.int32), kind, buffer
        if signature is not None:
            made.shapeSignature = np.array(signature, np.int32)
        if quantised:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = np.float32([scale]), np.int64([0])
        return made

    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("x", shape, kind, 0, scale=0.1, signature=signature),
        tensor("kernel", kernel.shape, kind, 1, scale=0.01),
        tensor("bias", bias.shape, schema.TensorType.INT32 if quantised else kind, 2, scale=0.001),
        tensor("y", (*shape[:-1], UNITS), kind, 0, scale=0.2, signature=signature and (*signature[:-1], UNITS)),
    ]
    graph.inputs, graph.outputs = np.int32([0]), np.int32([3])
    dense = schema.OperatorT()
    dense.inputs, dense.outputs = np.int32([0, 1, 2]), np.int32([3])
    dense.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    dense.builtinOptions = schema.FullyConnectedOptionsT()
    dense.builtinOptions.keepNumDims = True
    graph.operators = [dense]

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.buffers[1].data = np.frombuffer(kernel.tobytes(), np.uint8)
    model.buffers[2].data = np.frombuffer(bias.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


def _onnx_dense(path: Path, shape: tuple[str | int, ...]) -> Path:
    kernel = np.random.default_rng(0).standard_normal((FEATURES, UNITS)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "kernel"], ["y"])],
        "dense",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (*shape[:-1], UNITS))],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
