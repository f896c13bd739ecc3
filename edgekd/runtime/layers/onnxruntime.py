"""ONNX files operator by operator: ONNX Runtime without optimisations, every tensor an output."""

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.utils
import onnxruntime

from edgekd.errors import ModelError
from edgekd.records import TensorSpec
from edgekd.runtime.layers._qoperators import written_out
from edgekd.runtime.layers.graph import AFFINE, DEQUANTISE, LINEAR, MOVING, QUANTISE, Array, Graph, Kernel, Operator
from edgekd.runtime.native_output import captured_stderr
from edgekd.runtime.onnxruntime import QUANTISATION_KEY

_KINDS = {
    "Add": "add",
    "AveragePool": "pool_average",
    "BatchNormalization": "norm",
    "Cast": MOVING,
    "Concat": "concat",
    "Conv": "conv",
    "ConvTranspose": "conv_transposed",
    "DequantizeLinear": DEQUANTISE,
    "Div": "divide",
    "Dropout": MOVING,
    "Flatten": MOVING,
    "Gemm": "dense",
    "GlobalAveragePool": "mean",
    "GlobalMaxPool": "max",
    "HardSigmoid": "hard_sigmoid",
    "HardSwish": "hard_swish",
    "Identity": MOVING,
    "LeakyRelu": "leaky_relu",
    "LogSoftmax": "log_softmax",
    "MatMul": "matmul",
    "Max": "maximum",
    "MaxPool": "pool_max",
    "Min": "minimum",
    "Mul": "multiply",
    "PRelu": "prelu",
    "QuantizeLinear": QUANTISE,
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "Reshape": MOVING,
    "Squeeze": MOVING,
    "Sub": "subtract",
    "Transpose": MOVING,
    "Unsqueeze": MOVING,
}
_WITH_CONSTANT = {
    "Add": "shift",
    "Div": "factor",
    "MatMul": "dense",
    "Max": "clip",
    "Min": "clip",
    "Mul": "factor",
    "Sub": "shift",
}
_SUMS = {"add", "subtract"}
# Operators whose output holds values of their first input, so that integers keep their scale.
_KEEPING = {
    *("DepthToSpace", "Expand", "Gather", "GlobalMaxPool", "MaxPool", "Pad", "ReduceMax", "Resize", "Slice"),
    *("SpaceToDepth", "Split", "Tile", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
}
_FLOATS = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}


class OnnxLayers:
    """An ONNX file; a tensor's key is its name."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._model = written_out(onnx.load_model(path), path.name)
        initial = {each.name for each in self._model.graph.initializer}
        self._inputs = tuple(each for each in self._model.graph.input if each.name not in initial)
        self._producers = {name: node for node in self._model.graph.node for name in node.output if name}
        self._constants = set(initial)
        for node in self._model.graph.node:
            if all(not name or name in self._constants for name in node.input) and not _random(node):
                self._constants.update(name for name in node.output if name)
        self._found: dict[str, Array] = {
            each.name: onnx.numpy_helper.to_array(each) for each in self._model.graph.initializer
        }
        for node in self._model.graph.node:
            if node.op_type == "Constant" and (value := _attribute(node, "value", None)) is not None:
                self._found[node.output[0]] = onnx.numpy_helper.to_array(value)
        self._readers = Counter(name for node in self._model.graph.node for name in node.input)
        self._readers.update(each.name for each in self._model.graph.output)
        # Zero points of the roundings that read a tensor.
        self._rounded = {
            node.input[0]: np.ravel(self._found[node.input[2]])[0]
            for node in self._model.graph.node
            if node.op_type == "QuantizeLinear" and len(node.input) > 2 and self._found.get(node.input[2]) is not None
        }
        self._session = self._opened()
        self._quantised = self._quantisations()
        dimensions = [each.type.tensor_type.shape.dim for each in self._inputs]
        known = {each[0].dim_value for each in dimensions if len(each) and each[0].HasField("dim_value")}
        self.batch: int | None = known.pop() if len(known) == 1 else None if not known else 1
        self.graph = self._graph()

    def values(self, arrays: Sequence[Array]) -> dict[str, Array]:
        names = list(self._producers)
        feeds = dict(zip(self.graph.inputs, arrays, strict=True))
        found = self._run(self._session, feeds, names)
        # What does not depend on the run is kept once.
        self._found |= {name: found[name][0] for name in names if name in self._constants}
        self._infos = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), [None] * (array.ndim - 1)
            )
            for name, array in {**feeds, **found}.items()
        ]
        return {key: {**feeds, **found}[key] for key in self.graph.tensors}

    def part(self, feeds: Mapping[str, Array], output: str) -> Array:
        model = self._extractor.extract_model(list(feeds), [output])
        # Types that only the run tells are kept, the rest would be stale.
        del model.graph.value_info[:]
        return self._run(self._start(model), feeds, [output])[output]

    def kernel(self, operator: Operator) -> Kernel | None:
        if operator.kernel is None or operator.kernel not in self._found:
            return None
        values = self._found[operator.kernel].astype(np.float32)
        node = self._producers[operator.outputs[0]]
        order = _kernel_order(node, values.ndim)
        if order is None:
            return None
        values = np.transpose(values, order)
        scales = self._steps(operator.kernel)
        if scales is not None and len(scales) in (1, len(values)):
            steps = np.broadcast_to(scales, (len(values),))
        elif scales is not None:
            return None
        else:
            stored = self._found[operator.kernel].dtype
            eps = np.finfo(stored if stored.kind == "f" else np.float32).eps
            steps = eps * np.sqrt(np.mean(np.square(values), axis=tuple(range(1, values.ndim))))
        return Kernel(values=values, steps=steps, axis=-1 if operator.kind == "dense" else 1)

    @functools.cached_property
    def _extractor(self) -> Any:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        kept = {each.name for each in (*model.graph.input, *model.graph.output)}
        del model.graph.value_info[:]
        model.graph.value_info.extend(info for info in self._infos if info.name not in kept)
        return onnx.utils.Extractor(model)

    def _graph(self) -> Graph:
        types = {each.name: each.type for each in self._session.get_outputs()}
        shapes = {each.name: each.shape for each in self._session.get_outputs()}
        types |= {each.name: each.type for each in self._session.get_inputs()}
        shapes |= {each.name: each.shape for each in self._session.get_inputs()}
        tensors = {}
        for name, kind in types.items():
            scale, zero_point = self._quantised.get(name, (None, None))
            dtype = _FLOATS.get(kind, kind.removeprefix("tensor(").removesuffix(")"))
            if name in self._constants or (kind not in _FLOATS and scale is None):
                continue
            shape = tuple(size if isinstance(size, int) else None for size in shapes[name])
            tensors[name] = TensorSpec(name=name, shape=shape, dtype=dtype, scale=scale, zero_point=zero_point)
        operators = []
        for node in self._model.graph.node:
            inputs = tuple(name for name in node.input if name in tensors)
            outputs = tuple(name for name in node.output if name in tensors)
            if inputs and outputs:
                operators.append(self._operator(node, inputs, outputs))
        return Graph(
            operators=tuple(operators),
            inputs=tuple(each.name for each in self._inputs),
            outputs=tuple(each.name for each in self._model.graph.output),
            tensors=tensors,
        )

    def _operator(self, node: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Operator:
        own = node.domain in ("", "ai.onnx")
        name = node.op_type if own else f"{node.domain}.{node.op_type}"
        kind = _KINDS.get(name, name.lower())
        kernel = None
        if len(inputs) == 1 and len(node.input) > 1:
            kind = _WITH_CONSTANT.get(name, kind)
        if kind in ("conv", "conv_transposed", "dense"):
            kernel = next((each for each in node.input[:2] if each in self._constants), None)
            kind = kind if kernel is not None else "matmul"
        if kind == "conv" and _attribute(node, "group", 1) > 1 and kernel is not None:
            weights = self._found.get(self._stored(kernel))
            if weights is not None and weights.shape[1] == 1:
                kind = "depthwise"
        if kind in ("clip", "relu") and name == "Clip":
            kind = self._clip(node)
        constants = [self._found.get(self._stored(each)) for each in node.input if each in self._constants]
        halves = any(each is not None and each.dtype == np.float16 for each in constants)
        steps = [float(np.max(each)) for name in node.input if (each := self._steps(name)) is not None]
        step = max(steps, default=0.0) if kernel is None and kind not in (QUANTISE, DEQUANTISE) else 0.0
        fused = "relu" if kind in LINEAR | AFFINE | _SUMS and self._saturates_at_zero(outputs[0]) else None
        return Operator(kind, name, inputs, outputs, fused=fused, kernel=kernel, halves=halves, constant_step=step)

    def _saturates_at_zero(self, name: str) -> bool:
        """Returns whether a tensor is only rounded, to what holds no negative numbers: so quantisers express ReLU."""
        if self._readers[name] != 1 or self._rounded.get(name) is None:
            return False
        zero_point = self._rounded[name]
        return bool(zero_point == np.iinfo(zero_point.dtype).min)

    def _clip(self, node: Any) -> str:
        limits = [self._found.get(each) for each in node.input[1:3]]
        if not limits:
            limits = [np.asarray(_attribute(node, each, None)) for each in ("min", "max")]
        bounds = [None if each is None or each.dtype == object else float(np.ravel(each)[0]) for each in limits]
        return {(0.0, 6.0): "relu6", (0.0,): "relu", (0.0, None): "relu", (-1.0, 1.0): "relu_n1_to_1"}.get(
            tuple(bounds), "clip"
        )

    def _stored(self, name: str) -> str:
        """Returns the constant from which a constant is computed by DequantizeLinear and by moving."""
        while name in self._producers and _KINDS.get(self._producers[name].op_type) in (DEQUANTISE, MOVING):
            name = self._producers[name].input[0]
        return name

    def _steps(self, name: str) -> Array | None:
        """Returns the scales of a constant that is stored as integers: one, or one for each channel."""
        if name not in self._constants:
            return None
        while name in self._producers and _KINDS.get(self._producers[name].op_type) in (DEQUANTISE, MOVING):
            node = self._producers[name]
            if node.op_type == "DequantizeLinear" and node.input[1] in self._found:
                return np.ravel(self._found[node.input[1]]).astype(np.float32)
            name = node.input[0]
        return None

    def _quantisations(self) -> dict[str, tuple[float, int]]:
        """Returns scale and zero point of tensors of integers, as the operators that make or read them tell."""
        metadata = {entry.key: entry.value for entry in self._model.metadata_props}
        told = json.loads(metadata.get(QUANTISATION_KEY, "{}"))
        found = {name: (float(scale), int(zero_point)) for name, (scale, zero_point) in told.items()}
        for node in self._model.graph.node:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            given = [self._found.get(self._stored(each)) for each in node.input[1:3] if each]
            if not given or given[0] is None or given[0].size != 1:
                continue
            zero_point = 0 if len(given) < 2 or given[1] is None else int(np.ravel(given[1])[0])
            tensor = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
            found.setdefault(tensor, (float(np.ravel(given[0])[0]), zero_point))
        for node in self._model.graph.node:
            if node.op_type in _KEEPING and node.input[0] in found:
                for name in node.output:
                    found.setdefault(name, found[node.input[0]])
        for node in reversed(self._model.graph.node):
            if node.op_type in _KEEPING and node.output[0] in found:
                found.setdefault(node.input[0], found[node.output[0]])
        return found

    def _opened(self) -> onnxruntime.InferenceSession:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        kept = {each.name for each in (*model.graph.output, *model.graph.input)}
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._producers if name not in kept)
        return self._start(model)

    def _start(self, model: Any) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        try:
            with captured_stderr():
                return onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
        except Exception as error:  # ONNX Runtime's errors have no common base but this
            raise self._failed(error) from error

    def _run(
        self, session: onnxruntime.InferenceSession, feeds: Mapping[str, Array], names: Iterable[str]
    ) -> dict[str, Array]:
        wanted = list(names)
        runs = len(next(iter(feeds.values())))
        try:
            found = [session.run(wanted, {key: array[run] for key, array in feeds.items()}) for run in range(runs)]
        except Exception as error:
            raise self._failed(error) from error
        return {name: np.stack(values) for name, values in zip(wanted, zip(*found, strict=True), strict=True)}

    def _failed(self, error: Exception) -> ModelError:
        return ModelError(
            f"ONNX Runtime could not run {self.name!r} operator by operator: {' '.join(str(error).split())}"
        )


def open_layers(path: Path) -> OnnxLayers:
    """Returns an ONNX file, opened to be run operator by operator."""
    return OnnxLayers(path)


def _attribute(node: Any, name: str, default: Any) -> Any:
    return next((onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)


def _random(node: Any) -> bool:
    return node.op_type.startswith(("Random", "Bernoulli", "Multinomial"))


def _kernel_order(node: Any, rank: int) -> tuple[int, ...] | None:
    """Returns the order of a kernel's axes that is [made, space, read]."""
    if node.op_type == "Conv":
        return (0, *range(2, rank), 1)
    if node.op_type == "ConvTranspose":
        return (1, *range(2, rank), 0)
    if node.op_type == "Gemm" and _attribute(node, "transB", 0):
        return (0, 1)
    return (1, 0) if rank == 2 else None
