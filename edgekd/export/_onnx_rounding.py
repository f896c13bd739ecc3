"""Means of integers in an ONNX file, rounded as TFLite's integer kernels round them."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx

_MOVING = {"Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_LARGEST = 128  # magnitude of an int8
_UP = 1 / 128  # of a step: less than the least distance to a half where an image grows up to four times


@dataclasses.dataclass(frozen=True)
class _Nudge:
    """What puts a number off the half between two integers: x · factor + shift."""

    factor: float = 1.0
    shift: float = 0.0


def rounded_as_tflite(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with means that round halves as TFLite's kernels do.

    QuantizeLinear rounds halves to even, and means of four integers end on a half one time in four. TFLite's average
    pool divides the sum of the integers themselves, zero point included, and rounds halves away from zero; bilinear
    resizing (XNNPACK's kernel) rounds them up. Between DequantizeLinear and QuantizeLinear of one scale s and zero
    point z a pool is therefore followed by x(1 + e) + s·z·e, which multiplies the integer x / s + z by 1 + e: enough to
    leave the half, too little to reach the next; resizing by x + s / 128. All else stays as it is.

    Args:
      proto: made by tf2onnx from a TFLite file of int8.
    """
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    found = _Graph(graph)
    nodes: list[onnx.NodeProto] = []
    for node in proto.graph.node:
        nudge = found.nudge(node)
        if nudge is None:
            nodes.append(node)
            continue
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.output[0] = f"{node.output[0]}_mean"
        nodes.append(made)
        nodes += _nudged(made, node.output[0], nudge, graph)
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

    def nudge(self, node: Any) -> _Nudge | None:
        """Returns what a node's output needs before it is rounded; None where it needs nothing."""
        resizes = node.op_type == "Resize" and _attributes(node).get("mode") == b"linear"
        if not resizes and not (node.op_type == "AveragePool" and _may_end_on_half(node)):
            return None
        before, after = self._before(node.input[0]), set(self._after(node.output[0]))
        if before is None or after != {before}:
            return None
        scale, zero_point = before
        if resizes:
            return _Nudge(shift=scale * _UP)
        share = _share(node)
        return _Nudge(factor=1 + share, shift=scale * zero_point * share)

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


def _attributes(node: Any) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _may_end_on_half(node: Any) -> bool:
    attributes = _attributes(node)
    pads = any(attributes.get("pads", ())) or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    return pads or math.prod(attributes["kernel_shape"]) % 2 == 0


def _share(node: Any) -> float:
    """Returns e: the largest integer moves by a quarter of the least distance from a mean to a half."""
    return 1 / (_LARGEST * 2 * math.prod(_attributes(node)["kernel_shape"]) * 4)


def _nudged(node: Any, output: str, nudge: _Nudge, graph: Any) -> list[onnx.NodeProto]:
    steps = [("Mul", "factor", nudge.factor, 1.0), ("Add", "shift", nudge.shift, 0.0)]
    steps = [each for each in steps if each[2] != each[3]]
    name, nodes = node.output[0], []
    for number, (kind, what, value, _) in enumerate(steps):
        constant = onnx.numpy_helper.from_array(np.float32(value), f"{output}_{what}")
        graph.initializer.append(constant)
        made = output if number == len(steps) - 1 else f"{output}_{what}s"
        nodes.append(onnx.helper.make_node(kind, [name, constant.name], [made], name=f"{node.name}_{what}"))
        name = made
    return nodes
