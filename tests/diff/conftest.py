"""Model files made by hand, so that every number in them is known."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekd import flatbuffer

SIZE = 4


def kernels(count: int) -> list[Any]:
    """Returns [4, 4] float32 kernels that are all different."""
    rng = np.random.default_rng(7)
    return [rng.standard_normal((SIZE, SIZE)).astype(np.float32) for _ in range(count)]


class OnnxChain:
    """A chain of MatMul, each with a kernel of its own, and of operators without one."""

    def __init__(self, steps: list[Any], *, names: tuple[str, str] = ("x", "y")) -> None:
        self.steps, self.names = steps, names
        self.metadata: dict[str, str] = {}

    def save(self, path: Path) -> Path:
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        nodes, initial, last = [], [], self.names[0]
        for position, step in enumerate(self.steps):
            made = self.names[1] if position == len(self.steps) - 1 else f"t{position}"
            if isinstance(step, np.ndarray):
                initial.append(onnx.numpy_helper.from_array(step, f"kernel{position}"))
                nodes.append(helper.make_node("MatMul", [last, f"kernel{position}"], [made]))
            else:
                operator, attributes = step if isinstance(step, tuple) else (step, {})
                nodes.append(helper.make_node(operator, [last], [made], **attributes))
            last = made
        ends = [helper.make_tensor_value_info(name, kind, [1, SIZE]) for name in self.names]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], initial)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, self.metadata)
        onnx.save(model, path)
        return path


class TFLiteChain:
    """Fully connected layers with int8 kernels of one scale for each row; ends may be float32."""

    def __init__(self, integers: list[Any], scales: list[Any], *, activation_scale: float = 0.5) -> None:
        self.integers, self.scales, self.activation_scale = integers, scales, activation_scale
        self.float_ends = False
        self.prefix = ""

    def save(self, path: Path) -> Path:
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
        model.operatorCodes, graph.tensors, graph.operators = [], [], []
        graph.name = b"main"
        kinds = schema.TensorType
        last = first = self._tensor(model, "x", (1, SIZE), kinds.INT8, [self.activation_scale], [-3])
        if self.float_ends:
            first = self._tensor(model, "x_float", (1, SIZE), kinds.FLOAT32)
            self._operator(model, "QUANTIZE", [first], [last])
        for position, (integers, scales) in enumerate(zip(self.integers, self.scales, strict=True)):
            kernel = self._tensor(
                model, f"kernel{position}", integers.shape, kinds.INT8, scales, [0] * len(scales), data=integers
            )
            made = self._tensor(model, f"t{position}", (1, SIZE), kinds.INT8, [self.activation_scale], [position])
            self._operator(model, "FULLY_CONNECTED", [last, kernel, -1], [made])
            last = made
        if self.float_ends:
            integers_end, last = last, self._tensor(model, "y_float", (1, SIZE), kinds.FLOAT32)
            self._operator(model, "DEQUANTIZE", [integers_end], [last])
        graph.inputs, graph.outputs = np.int32([first]), np.int32([last])
        path.write_bytes(flatbuffer.pack(model))
        return path

    def _tensor(
        self, model: Any, name: str, shape: Any, kind: int, scales: Any = (), zeros: Any = (), data: Any = None
    ) -> int:
        tensor, buffer = schema.TensorT(), schema.BufferT()
        tensor.name, tensor.shape, tensor.type = (self.prefix + name).encode(), np.int32(shape), kind
        if len(scales):
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = np.float32(scales), np.int64(zeros)
        if data is not None:
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
        model.subgraphs[0].tensors.append(tensor)
        return len(model.subgraphs[0].tensors) - 1

    def _operator(self, model: Any, name: str, inputs: list[int], outputs: list[int]) -> None:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        model.operatorCodes.append(code)
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = np.int32(inputs), np.int32(outputs)
        if name == "FULLY_CONNECTED":
            operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
            operator.builtinOptions = schema.FullyConnectedOptionsT()
        model.subgraphs[0].operators.append(operator)


@pytest.fixture(scope="session")
def onnx_chain() -> type[OnnxChain]:
    return OnnxChain


@pytest.fixture(scope="session")
def tflite_chain() -> type[TFLiteChain]:
    return TFLiteChain


@pytest.fixture(scope="session")
def some_kernels() -> list[Any]:
    return kernels(4)
