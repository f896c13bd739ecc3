"""What a model costs before anything is measured: multiply-accumulates and parameters."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgekd.errors import ModelError

if TYPE_CHECKING:
    import keras

_Shapes = list[tuple[int, ...]]


def count_macs(model: "keras.Model", *, input_shape: Sequence[int] | None = None) -> int:
    """Returns the multiply-accumulate operations of one inference on one sample.

    Convolutions, matrix products and contractions count, with padded positions counted like any other, as in MLPerf
    Tiny and most published tables. Element-wise work, normalisation, pooling and activations do not count.

    Args:
      model: any built Keras model: functional, sequential, nested or subclassed.
      input_shape: one sample's shape, where the model leaves a size open.

    Raises:
      ModelError: the model is not built, its input size is open, or it holds an operation whose arithmetic is not
        known, such as a loop: nothing is taken to be free in silence.
    """
    import tensorflow as tf

    specs = _input_specs(model, input_shape)
    function = tf.function(lambda inputs: model(inputs, training=False), autograph=False)
    return sum(_macs(operation) for operation in _operations(function.get_concrete_function(specs).graph))


def count_parameters(model: "keras.Model") -> int:
    """Returns the number of all weights, trainable and not: what a Keras file carries, random state aside."""
    return _size(model)


def count_folded_parameters(model: "keras.Model") -> int:
    """Returns the number of parameters that remain once batch normalisation is folded, as the converters do.

    After a convolution or dense layer that feeds nothing else, a batch normalisation becomes that layer's bias: one
    parameter per channel, or none where there was a bias. Anywhere else a scale and an offset per channel remain.

    Raises:
      ModelError: the model is subclassed, so that Keras does not know which layer feeds which.
    """
    import keras

    calls: list[_Call] = []
    outputs = _collect_calls(model, None, itertools.count(), calls)
    readers = Counter([*outputs, *(value for _, inputs, _ in calls for value in inputs)])
    uses = Counter(id(layer) for layer, _, _ in calls)
    producers = {value: layer for layer, _, outputs in calls for value in outputs}
    normalisations = {
        id(layer): (layer, inputs[0])
        for layer, inputs, _ in calls
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    total = _size(model)
    for layer, read in normalisations.values():
        channels = layer.moving_mean.shape[0]
        producer = producers.get(read)
        folds = _folds(producer) and readers[read] == uses[id(layer)] == uses[id(producer)] == 1
        bias = folds and producer is not None and producer.use_bias
        total += (0 if bias else channels if folds else 2 * channels) - _size(layer)
    return total


_Call = tuple[Any, list[int], list[int]]  # a layer, and the numbers of the values it reads and makes


def _collect_calls(model: Any, inputs: list[int] | None, numbers: Iterator[int], calls: list[_Call]) -> list[int]:
    """Appends every layer call of a functional model to `calls`, in order, and returns its outputs' numbers.

    Each value gets a number of its own, also when a nested model or a layer is called twice; a nested model's input
    is the value that it is given.
    """
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        model = model._functional
    if not isinstance(model, keras.Function):
        raise ModelError(
            f"model {model.name!r} is subclassed or not built: batch normalisation can be folded on paper only in a "
            "functional or sequential model. Count the parameters of an exported file instead."
        )
    given = [next(numbers) for _ in model.inputs] if inputs is None else inputs
    values = {id(tensor): number for tensor, number in zip(model.inputs, given, strict=True)}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            read = [values[id(tensor)] for tensor in node.input_tensors]
            if isinstance(node.operation, keras.Model):
                made = _collect_calls(node.operation, read, numbers, calls)
            else:
                made = [next(numbers) for _ in node.outputs]
                calls.append((node.operation, read, made))
            values.update({id(tensor): number for tensor, number in zip(node.outputs, made, strict=True)})
    return [values[id(tensor)] for tensor in model.outputs]


def _folds(layer: Any) -> bool:
    import keras

    kinds = (
        keras.layers.Dense,
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.Conv3D,
        keras.layers.Conv1DTranspose,
        keras.layers.Conv2DTranspose,
        keras.layers.Conv3DTranspose,
        keras.layers.DepthwiseConv1D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv1D,
        keras.layers.SeparableConv2D,
    )
    return isinstance(layer, kinds) and layer.activation is keras.activations.linear


def _size(layer: Any) -> int:
    return sum(math.prod(weight.shape) for weight in layer.weights)


def _input_specs(model: Any, input_shape: Sequence[int] | None) -> Any:
    """Returns the structure of TensorSpecs that the model is called with, for one sample."""
    import keras
    import tensorflow as tf

    if not model.built:
        raise ModelError(f"model {model.name!r} is not built: call it on a sample before its arithmetic is counted.")
    if input_shape is not None:
        return tf.TensorSpec((1, *input_shape), model.input_dtype)
    if isinstance(model, keras.Function):
        inputs = model.input
    elif isinstance(model, keras.Sequential):
        inputs = model.inputs[0]
    else:
        shape = model.get_build_config().get("input_shape")
        if not isinstance(shape, tuple | list):
            raise ModelError(f"model {model.name!r} does not tell what it takes: give input_shape.")
        return _spec(model, tuple(shape), model.input_dtype)
    return keras.tree.map_structure(lambda tensor: _spec(model, tensor.shape, tensor.dtype), inputs)


def _spec(model: Any, shape: Sequence[int | None], dtype: str) -> Any:
    import tensorflow as tf

    if None in shape[1:]:
        raise ModelError(f"model {model.name!r} takes inputs of open size {tuple(shape[1:])}: give input_shape.")
    return tf.TensorSpec((1, *shape[1:]), dtype)


def _operations(graph: Any) -> Iterator[Any]:
    """Yields the operations of a TensorFlow graph and, for every call, those of the function that it calls."""
    for operation in graph.get_operations():
        if operation.type in {"PartitionedCall", "StatefulPartitionedCall"}:
            yield from _operations(graph._get_function(operation.get_attr("f").name).graph)
        else:
            yield operation


def _macs(operation: Any) -> int:
    if operation.type in _FREE:
        return 0
    if operation.type not in _COUNTED:
        raise ModelError(
            f"the arithmetic of operation {operation.type!r} ({operation.name}) is not known, so the model's "
            "multiply-accumulates cannot be counted: replace the layer, for instance by an unrolled one."
        )
    inputs = [_static(operation, tensor) for tensor in operation.inputs]
    outputs = [_static(operation, tensor) for tensor in operation.outputs]
    return _COUNTED[operation.type](operation, inputs, outputs)


def _static(operation: Any, tensor: Any) -> tuple[int, ...]:
    if not tensor.shape.is_fully_defined():
        raise ModelError(
            f"operation {operation.type!r} ({operation.name}) works on open shape {tensor.shape}, so the model's "
            "multiply-accumulates cannot be counted: give the layer that makes it a fixed size."
        )
    return tuple(tensor.shape)


def _convolution(operation: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    if operation.get_attr("data_format") not in {b"NHWC", b"NDHWC"}:
        raise ModelError(f"operation {operation.name} keeps channels first: use channels_last layers.")
    *window, channels_per_group, _ = inputs[1]
    return _result_size(operation) * math.prod(window) * channels_per_group


def _depthwise(operation: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    return _result_size(operation) * math.prod(inputs[1][:2])


def _result_size(operation: Any) -> int:
    """Returns the number of elements that a convolution makes.

    TensorFlow writes a dilated one as a plain one between SpaceToBatchND and BatchToSpaceND, whose extra padding no
    converted file computes.
    """
    result = operation.outputs[0]
    readers = result.consumers()
    while len(readers) == 1 and readers[0].type in {"Squeeze", "BatchToSpaceND"}:
        result = readers[0].outputs[0]
        readers = result.consumers()
    return math.prod(_static(operation, result))


def _transposed(operation: Any, inputs: _Shapes, outputs: _Shapes) -> int:  # noqa: ARG001
    *window, made, _ = inputs[1]
    return math.prod(inputs[2]) * math.prod(window) * made


def _product(operation: Any, inputs: _Shapes, outputs: _Shapes) -> int:
    flag = "transpose_a" if operation.type == "MatMul" else "adj_x"
    return math.prod(outputs[0]) * inputs[0][-2 if operation.get_attr(flag) else -1]


def _einsum(operation: Any, inputs: _Shapes, outputs: _Shapes) -> int:
    """One multiplication for each combination of indices of two operands; a single one is only moved or summed."""
    if len(inputs) == 1:
        return 0
    left, _, result = operation.get_attr("equation").decode().partition("->")
    sizes: dict[str, int] = {}
    for term, shape in zip([*left.split(","), result], [*inputs, *outputs], strict=True):
        before, ellipsis, after = term.partition("...")
        tail = shape[len(shape) - len(after) :]
        sizes.update(zip(before, shape, strict=False))
        sizes.update(zip(after, tail, strict=True))
        if ellipsis:
            broadcast = math.prod(shape[len(before) : len(shape) - len(after)])
            sizes["..."] = max(sizes.get("...", 1), broadcast)
    return math.prod(sizes.values())


_COUNTED: Mapping[str, Callable[[Any, _Shapes, _Shapes], int]] = {
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed,
    "Conv3D": _convolution,
    "Conv3DBackpropInputV2": _transposed,
    "DepthwiseConv2dNative": _depthwise,
    "Einsum": _einsum,
    "MatMul": _product,
}

# Operations that move, compare, sum or map elements: no multiply-accumulates in the sense of the published tables.
_FREE = frozenset(
    """
    Abs Acos Acosh Add AddN AddV2 All Any ArgMax ArgMin Asin Asinh Assert Atan Atan2 Atanh AvgPool AvgPool3D
    BatchToSpaceND BiasAdd Bitcast BroadcastArgs BroadcastTo Bucketize Cast Ceil CheckNumerics ClipByValue Concat
    ConcatV2 Const Cos Cosh Cumprod Cumsum DepthToSpace Div DivNoNan Elu EnsureShape Equal Erf Erfc Exp ExpandDims Expm1
    FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod
    FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual Identity IdentityN
    Inv InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less LessEqual LinSpace Log Log1p LogSoftmax
    LogicalAnd LogicalNot LogicalOr Max MaxPool MaxPool3D MaxPoolV2 Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan
    Neg NoOp NotEqual OneHot OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault Pow PreventGradient Prod Rank
    ReadVariableOp RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor Reverse ReverseV2 Rint
    Roll Round Rsqrt Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot Softmax Softplus
    Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice
    Sub Sum Tan Tanh Tile TopKV2 Transpose TruncateDiv Unpack VarHandleOp Where Xdivy Xlog1py Xlogy ZerosLike
    """.split()  # noqa: SIM905
)
