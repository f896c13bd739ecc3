"""Small ONNX classifiers whose outputs are known without running them."""

import numpy as np
import onnx
import pytest


@pytest.fixture
def linear(tmp_path):
    """Returns a function that writes logits = images @ weights as an ONNX file and returns its path."""

    def write(name, weights):
        weights = np.asarray(weights, np.float32)
        value, to_tensor = onnx.helper.make_tensor_value_info, onnx.numpy_helper.from_array
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["image", "weights"], ["logits"])],
            "linear",
            [value("image", onnx.TensorProto.FLOAT, ["batch", weights.shape[0]])],
            [value("logits", onnx.TensorProto.FLOAT, ["batch", weights.shape[1]])],
            [to_tensor(weights, "weights")],
        )
        imports = [onnx.helper.make_opsetid("", 17)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / name)
        return tmp_path / name

    return write
