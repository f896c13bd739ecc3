"""Means of integers in an ONNX file, rounded as TFLite's integer kernels round them."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

_MOVING = {"Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_LARGEST = 128  # magnitude of an int8


def rounding_halves_away(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with average pools whose means round halves away from zero, as TFLite's do.

    QuantizeLinear rounds halves to even, and means of four integers end on a half one time in four. TFLite's kernel
    divides the sum of the integers themselves, zero point included. A pool between DequantizeLinear and QuantizeLinear
    of one scale s and zero point z is therefore followed by x(1 + e) + s·z·e, which multiplies the integer x / s + z by
    1 + e: enough to leave the half, too little to reach the next. Other pools stay as they are.

    Args:
      proto: made by tf2onnx from a TFLite file of int8.
    """
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    found = _Graph(graph)
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        steps = found.steps(node)
        if steps is None:
            nodes.append(node)
            continue
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.output[0] = f"{node.output[0]}_mean"
        nodes.append(made)
        nodes += _away_from_zero(made, node.output[0], *steps, share=_share(node), graph=graph)
    del graph.node[:]
    graph.node.extend(nodes)
    return result


class _Graph:
    """Who makes and who reads what in a graph, and its constants."""

    def __init__(self, graph: Any) -> None:
        self._constants = {each.name: each for each in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def steps(self, node: Any) -> tuple[float, int] | None:
        """Returns scale and zero point of an average pool whose means need rounding and may end on a half."""
        if node.op_type != "AveragePool" or not _may_end_on_half(node):
            return None
        before, after = self._before(node.input[0]), set(self._after(node.output[0]))
        return before if before is not None and after == {before} else None

    def _before(self, name: str) -> tuple[float, int] | None:
        maker = self._makers.get(name)
        while maker is not None and maker.op_type in _MOVING:
            maker = self._makers.get(maker.input[0])
        return self._parameters(maker) if maker is not None and maker.op_type == "DequantizeLinear" else None

    def _after(self, name: str) -> Iterator[tuple[float, int] | None]:
        for reader in self._readers.get(name, ()):
            if reader.op_type in _MOVING:
                yield from self._after(reader.output[0])
            else:
                yield self._parameters(reader) if reader.op_type == "QuantizeLinear" else None

    def _parameters(self, node: Any) -> tuple[float, int] | None:
        values = [self._constants.get(name) for name in node.input[1:]]
        if len(values) != 2 or any(value is None for value in values):
            return None
        scale, zero_point = (onnx.numpy_helper.to_array(value) for value in values if value is not None)
        return (float(scale.item()), int(zero_point.item())) if scale.size == zero_point.size == 1 else None


def _may_end_on_half(node: Any) -> bool:
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    pads = any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    return pads or math.prod(attributes["kernel_shape"]) % 2 == 0


def _share(node: Any) -> float:
    """Returns e: the largest integer moves by a quarter of the least distance from a mean to a half or less."""
    (window,) = (math.prod(each.ints) for each in node.attribute if each.name == "kernel_shape")
    return 1 / (_LARGEST * 2 * window * 4)


def _away_from_zero(
    pool: Any, output: str, scale: float, zero_point: int, *, share: float, graph: Any
) -> list[onnx.NodeProto]:
    shift = scale * zero_point * share
    steps = [("Mul", "factor", 1 + share), *([("Add", "shift", shift)] if zero_point else [])]
    name, nodes = pool.output[0], []
    for number, (kind, what, value) in enumerate(steps):
        constant = onnx.numpy_helper.from_array(np.float32(value), f"{output}_{what}")
        graph.initializer.append(constant)
        made = output if number == len(steps) - 1 else f"{output}_{what}s"
        nodes.append(onnx.helper.make_node(kind, [name, constant.name], [made], name=f"{pool.name}_{what}"))
        name = made
    return nodes
