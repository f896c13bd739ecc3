"""TFLite files operator by operator: LiteRT's built-in kernels without delegates, all tensors preserved."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgekd import flatbuffer
from edgekd.errors import ModelError
from edgekd.records import TensorSpec
from edgekd.runtime.layers.graph import DEQUANTISE, MOVING, QUANTISE, Array, Graph, Kernel, Operator
from edgekd.runtime.native_output import captured_stderr

_KINDS = {
    "ADD": "add",
    "AVERAGE_POOL_2D": "pool_average",
    "CONCATENATION": "concat",
    "CONV_2D": "conv",
    "CONV_3D": "conv",
    "DEPTHWISE_CONV_2D": "depthwise",
    "DEQUANTIZE": DEQUANTISE,
    "DIV": "divide",
    "EXPAND_DIMS": MOVING,
    "FULLY_CONNECTED": "dense",
    "LEAKY_RELU": "leaky_relu",
    "LOGISTIC": "sigmoid",
    "MAX_POOL_2D": "pool_max",
    "MAXIMUM": "maximum",
    "MEAN": "mean",
    "MINIMUM": "minimum",
    "MIRROR_PAD": "pad",
    "MUL": "multiply",
    "PADV2": "pad",
    "QUANTIZE": QUANTISE,
    "REDUCE_MAX": "max",
    "RESHAPE": MOVING,
    "RESIZE_BILINEAR": "resize",
    "RESIZE_NEAREST_NEIGHBOR": "resize",
    "SQUEEZE": MOVING,
    "STRIDED_SLICE": "slice",
    "SUB": "subtract",
    "TRANSPOSE": MOVING,
    "TRANSPOSE_CONV": "conv_transposed",
}
_WITH_CONSTANT = {
    "ADD": "shift",
    "DIV": "factor",
    "MAXIMUM": "clip",
    "MINIMUM": "clip",
    "MUL": "factor",
    "SUB": "shift",
}
# Where the kernel stands among an operator's inputs, and the order of its axes that is [made, space, read].
_KERNELS: Mapping[str, tuple[int, tuple[int, ...] | None]] = {
    "CONV_2D": (1, None),
    "CONV_3D": (1, (4, 0, 1, 2, 3)),
    "DEPTHWISE_CONV_2D": (1, (3, 1, 2, 0)),
    "FULLY_CONNECTED": (1, None),
    "TRANSPOSE_CONV": (1, None),
}
_FUSED = {code: name.lower() for name, code in vars(schema.ActivationFunctionType).items() if isinstance(code, int)}


class LiteRTLayers:
    """A TFLite file; a tensor's key is its index."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._model = flatbuffer.read(path.read_bytes())
        if len(self._model.subgraphs) != 1:
            raise ModelError(
                f"{self.name!r} has {len(self._model.subgraphs)} subgraphs: only files of one can be compared operator "
                "by operator. Compare it as a whole."
            )
        (self._subgraph,) = self._model.subgraphs
        self._constants = self._constant_tensors()
        self.graph = self._graph()
        sizes = {self._open_shape(int(key))[:1] for key in self.graph.inputs}
        known = {size[0] for size in sizes if size and size[0] is not None}
        self.batch = known.pop() if len(known) == 1 else None if not known else 1
        self._interpreter: Interpreter | None = None

    def values(self, arrays: Sequence[Array]) -> dict[str, Array]:
        self._interpreter = self._prepared(self._model, self.graph.inputs, arrays)
        return self._run(self._interpreter, dict(zip(self.graph.inputs, arrays, strict=True)), self.graph.tensors)

    def part(self, feeds: Mapping[str, Array], output: str) -> Array:
        model = self._extracted([int(key) for key in feeds], int(output))
        interpreter = self._prepared(model, list(feeds), list(feeds.values()))
        return self._run(interpreter, feeds, [output])[output]

    def kernel(self, operator: Operator) -> Kernel | None:
        if operator.kernel is None or self._interpreter is None:
            return None
        index = int(operator.kernel)
        stored = self._subgraph.tensors[self._stored(index)]
        _, order = _KERNELS[operator.type]
        try:
            raw = self._interpreter.get_tensor(index)
        except ValueError:  # the interpreter cannot hand out every type, such as sparse ones
            return None
        axis = 0 if order is None else order[0]
        raw = np.moveaxis(raw, axis, 0) if order is None else np.transpose(raw, order)
        made = len(raw)
        scales, zero_points = _per_channel(stored, made)
        rounds = False
        if raw.dtype.kind == "f":
            values = raw.astype(np.float32)
            steps = _float_steps(values, flatbuffer.type_name(stored.type)) if scales is None else scales
        elif scales is None or zero_points is None:
            return None
        else:
            shape = (made, *[1] * (raw.ndim - 1))
            values = (raw.astype(np.float32) - zero_points.reshape(shape)) * scales.reshape(shape)
            steps = scales
            rounds = self._subgraph.tensors[int(operator.inputs[0])].type == schema.TensorType.FLOAT32
        return Kernel(values=values, steps=steps, axis=-1, rounds_input=rounds)

    def _graph(self) -> Graph:
        names = [flatbuffer.operator_name(code) for code in self._model.operatorCodes]
        tensors = {
            str(index): spec
            for index in range(len(self._subgraph.tensors))
            if index not in self._constants and (spec := self._spec(index)) is not None
        }
        operators = []
        for each in self._subgraph.operators:
            outputs = tuple(str(index) for index in each.outputs if str(index) in tensors)
            read = [int(index) for index in each.inputs if index >= 0]
            inputs = tuple(str(index) for index in read if str(index) in tensors)
            if outputs and inputs:
                operators.append(self._operator(names[each.opcodeIndex], each, read, inputs, outputs))
        return Graph(
            operators=tuple(operators),
            inputs=tuple(str(index) for index in self._subgraph.inputs),
            outputs=tuple(str(index) for index in self._subgraph.outputs),
            tensors=tensors,
        )

    def _operator(
        self, name: str, operator: Any, read: list[int], inputs: tuple[str, ...], outputs: tuple[str, ...]
    ) -> Operator:
        kind = _KINDS.get(name, name.lower())
        kernel = None
        if name in _KERNELS:
            position = _KERNELS[name][0]
            if read[position] in self._constants:
                kernel = str(read[position])
            else:
                kind = "matmul"
        elif len(inputs) == 1 and len(read) == 2:
            kind = _WITH_CONSTANT.get(name, kind)
        if name == "TRANSPOSE_CONV":
            inputs = inputs[-1:]
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
        constants = [self._subgraph.tensors[self._stored(index)] for index in read if index in self._constants]
        scales = [
            float(np.max(each.quantization.scale))
            for each in constants
            if each.quantization is not None and each.quantization.scale is not None and len(each.quantization.scale)
        ]
        return Operator(
            kind,
            name,
            inputs,
            outputs,
            fused=_FUSED.get(fused) if fused else None,
            kernel=kernel,
            halves=any(each.type == schema.TensorType.FLOAT16 for each in constants),
            constant_step=max(scales, default=0.0) if kernel is None else 0.0,
        )

    def _constant_tensors(self) -> set[int]:
        found = {
            index
            for index, tensor in enumerate(self._subgraph.tensors)
            if (data := self._model.buffers[tensor.buffer].data) is not None and len(data) > 0
        }
        for operator in self._subgraph.operators:
            if all(index < 0 or int(index) in found for index in operator.inputs) and len(operator.inputs) > 0:
                found.update(int(index) for index in operator.outputs)
        return found

    def _spec(self, index: int) -> TensorSpec | None:
        """Returns what is known of a tensor of numbers, None for one of shapes, indices or states."""
        tensor = self._subgraph.tensors[index]
        dtype = flatbuffer.type_name(tensor.type)
        quantisation = tensor.quantization
        scales: Sequence[float] = () if quantisation is None or quantisation.scale is None else quantisation.scale
        if not dtype.startswith("float") and len(scales) != 1:
            return None
        zero_points: Sequence[int] = ()
        if quantisation is not None and quantisation.zeroPoint is not None:
            zero_points = quantisation.zeroPoint
        single = len(scales) == 1 and not dtype.startswith("float")
        return TensorSpec(
            name=(tensor.name or b"").decode(errors="replace"),
            shape=self._open_shape(index),
            dtype=dtype,
            scale=float(scales[0]) if single else None,
            zero_point=(int(zero_points[0]) if len(zero_points) else 0) if single else None,
        )

    def _open_shape(self, index: int) -> tuple[int | None, ...]:
        tensor = self._subgraph.tensors[index]
        shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
        return tuple(None if size < 0 else int(size) for size in (() if shape is None else shape))

    def _stored(self, index: int) -> int:
        """Returns the constant that a DEQUANTIZE widens to this one, or this one."""
        return next((int(each.inputs[0]) for each in self._subgraph.operators if index in each.outputs), index)

    def _extracted(self, feeds: list[int], output: int) -> Any:
        """Returns the file with the operators alone that lead from some tensors to another."""
        producers = {int(made): each for each in self._subgraph.operators for made in each.outputs}
        needed: set[int] = set()
        wanted, seen = [output], set(feeds) - {output}
        while wanted:
            index = wanted.pop()
            if index in seen or index not in producers:
                continue
            seen.add(index)
            needed.add(id(producers[index]))
            wanted += [int(each) for each in producers[index].inputs if each >= 0]
        model, subgraph = copy.copy(self._model), copy.copy(self._subgraph)
        subgraph.operators = [each for each in self._subgraph.operators if id(each) in needed]
        subgraph.inputs, subgraph.outputs = np.array(feeds, np.int32), np.array([output], np.int32)
        used = {int(each) for operator in subgraph.operators for each in (*operator.inputs, *operator.outputs)}
        buffers = {tensor.buffer for index, tensor in enumerate(subgraph.tensors) if index in used}
        empty = schema.BufferT()
        model.buffers = [each if index in buffers else empty for index, each in enumerate(model.buffers)]
        model.subgraphs, model.signatureDefs, model.metadata = [subgraph], None, None
        return model

    def _prepared(self, model: Any, keys: Sequence[str], arrays: Sequence[Array]) -> Interpreter:
        try:
            with captured_stderr():
                interpreter = Interpreter(
                    model_content=flatbuffer.pack(model),
                    num_threads=1,
                    experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                    experimental_preserve_all_tensors=True,
                )
                for key, array in zip(keys, arrays, strict=True):
                    declared = self._subgraph.tensors[int(key)].shape
                    if tuple(() if declared is None else declared) != array.shape[1:]:
                        interpreter.resize_tensor_input(int(key), array.shape[1:])
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._failed(error) from error
        return interpreter

    def _run(self, interpreter: Interpreter, feeds: Mapping[str, Array], keys: Iterable[str]) -> dict[str, Array]:
        found: dict[str, list[Array]] = {key: [] for key in keys}
        runs = len(next(iter(feeds.values())))
        try:
            for run in range(runs):
                interpreter.reset_all_variables()
                for key, array in feeds.items():
                    interpreter.set_tensor(int(key), array[run])
                interpreter.invoke()
                for key, values in found.items():
                    values.append(interpreter.get_tensor(int(key)))
        except (RuntimeError, ValueError) as error:
            raise self._failed(error) from error
        return {key: np.stack(values) for key, values in found.items()}

    def _failed(self, error: Exception) -> ModelError:
        return ModelError(f"LiteRT could not run {self.name!r} operator by operator: {' '.join(str(error).split())}")


def open_layers(path: Path) -> LiteRTLayers:
    """Returns a TFLite file, opened to be run operator by operator."""
    return LiteRTLayers(path)


def _per_channel(tensor: Any, made: int) -> tuple[Array | None, Array | None]:
    found = tensor.quantization
    if found is None or found.scale is None or len(found.scale) not in (1, made):
        return None, None
    zero_points = np.zeros(1) if found.zeroPoint is None or not len(found.zeroPoint) else np.asarray(found.zeroPoint)
    return (
        np.broadcast_to(np.asarray(found.scale, np.float32), (made,)),
        np.broadcast_to(zero_points.astype(np.float32), (made,)),
    )


def _float_steps(values: Array, dtype: str) -> Array:
    """Returns the distance of neighbouring floats at each output channel's typical weight."""
    eps = np.finfo(np.float16 if dtype == "float16" else np.float32).eps
    return eps * np.sqrt(np.mean(np.square(values), axis=tuple(range(1, values.ndim))))
