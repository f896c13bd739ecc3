"""Writes the example's models and data: python make_models.py FOLDER. A classifier of windows of eight numbers."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer

FEATURES, HIDDEN, CLASSES = 8, 16, 3


def kernels() -> list[Any]:
    """Returns the kernels of both layers, [outputs, inputs]."""
    rng = np.random.default_rng(5)
    return [rng.normal(0, 0.5, shape).astype(np.float32) for shape in ((HIDDEN, FEATURES), (CLASSES, HIDDEN))]


def windows(samples: int = 200) -> Any:
    """Returns samples, [samples, features] from 0 to 1."""
    return np.random.default_rng(6).uniform(0, 1, (samples, FEATURES)).astype(np.float32)


def activations(weights: list[Any], x: Any) -> list[Any]:
    """Returns what the layers make of samples, in float32."""
    hidden = np.maximum(x @ weights[0].T, 0)
    return [x, hidden, hidden @ weights[1].T]


def write_onnx(path: Path, weights: list[Any]) -> None:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["window", "kernel1"], ["product"]),
            helper.make_node("Relu", ["product"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "kernel2"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("window", kind, ["batch", FEATURES])],
        [helper.make_tensor_value_info("logits", kind, ["batch", CLASSES])],
        [onnx.numpy_helper.from_array(each.T.copy(), f"kernel{n}") for n, each in enumerate(weights, start=1)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def write_tflite(path: Path, weights: list[Any], *, int8: bool = False, name: str = "logits") -> None:
    """Writes two fully connected layers; with int8, calibrated on the windows."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    graph.name, graph.tensors, graph.operators = b"main", [], []
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4 if int8 else 1
    model.operatorCodes = [code]
    ranges = [(min(float(each.min()), 0.0), float(each.max())) for each in activations(kernels(), windows())]
    scales = [(high - low) / 255 for low, high in ranges]
    zero_points = [round(-128 - low / scale) for (low, _), scale in zip(ranges, scales, strict=True)]

    def tensor(called: str, shape: Any, scale: float, zero_point: int, data: Any = None) -> int:
        made, buffer = schema.TensorT(), schema.BufferT()
        made.name, made.shape = called.encode(), np.int32(shape)
        made.type = schema.TensorType.INT8 if int8 else schema.TensorType.FLOAT32
        if int8:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = np.float32([scale]), np.int64([zero_point])
        if data is not None:
            stored = np.rint(data / scale).astype(np.int8) if int8 else data
            buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    last = first = tensor("window", (1, FEATURES), scales[0], zero_points[0])
    for number, (kernel, called) in enumerate(zip(weights, ("hidden", name), strict=True), start=1):
        scale = float(np.abs(kernel).max()) / 127
        stored = tensor(f"kernel{number}", kernel.shape, scale, 0, kernel)
        made = tensor(called, (1, len(kernel)), scales[number], zero_points[number])
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = np.int32([last, stored, -1]), np.int32([made])
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        if number == 1:
            operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        graph.operators.append(operator)
        last = made
    graph.inputs, graph.outputs = np.int32([first]), np.int32([last])
    path.write_bytes(flatbuffer.pack(model))


def main(folder: Path) -> None:
    write_onnx(folder / "models" / "classifier.onnx", kernels())
    write_tflite(folder / "models" / "classifier-float32.tflite", kernels())
    write_tflite(folder / "models" / "classifier-int8.tflite", kernels(), int8=True)
    x = windows()
    labels = activations(kernels(), x)[-1].argmax(axis=-1)
    np.savez(folder / "tests" / "data" / "windows.npz", x=x, labels=labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
