"""ONNX graphs without pairs of Transpose nodes that undo each other."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from edgekd.runtime.native_output import captured_stderr


def without_stray_transposes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model as ONNX Runtime's optimiser writes it where that has fewer Transpose nodes, else unchanged.

    tf2onnx moves Transpose nodes through element-wise ones until they meet, but not through one with a quantised
    constant, such as the scale of a batch normalisation before a convolution. ONNX Runtime's basic level does, and it
    writes ONNX's own operators only.
    """
    before = _transposes(proto)
    if before < 2:
        return proto
    optimised = _optimised(proto)
    if _transposes(optimised) >= before or any(node.domain not in {"", "ai.onnx"} for node in optimised.graph.node):
        return proto
    result = onnx.ModelProto()
    result.CopyFrom(proto)  # whose opset and producer it keeps
    result.graph.CopyFrom(optimised.graph)
    _name_nodes(result.graph)
    return result


def _optimised(proto: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(path)
        with captured_stderr():
            onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load_model(path)


def _transposes(proto: Any) -> int:
    return sum(node.op_type == "Transpose" for node in proto.graph.node)


def _name_nodes(graph: Any) -> None:
    """Names nodes after what they make where the optimiser has left them without a name of their own."""
    names = Counter(node.name for node in graph.node)
    for node in graph.node:
        if not node.name or names[node.name] > 1:
            node.name = node.output[0]
