"""Zeros and distinct values of kernels, counted in arrays and in files by hand."""

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from keras import layers

import edgekd
from edgekd.kernel_values import kernel_values, of_file
from edgekd.records import KernelValues
from edgekd.sparsify.sizes import values_of_kernels

# Three output channels on the last axis, with 2, 3 and 1 distinct values.
KERNEL = np.array([[0, 1, 5], [0, 2, 5], [7, 0, 5], [7, 2, 5]], np.float32)


def test_zeros_and_values_are_counted_over_all_kernels() -> None:
    other = np.array([[0.0, -0.0, 0.5, 0.25]], np.float32)
    found = kernel_values([(KERNEL, -1), (other, 0)])
    assert found == KernelValues(
        weights=16,
        zeros=5,
        sparsity=5 / 16,
        distinct_values=5,
        distinct_per_channel=3,
        zeros_by_kernel=(2, 3),
        distinct_by_kernel=(3, 3),
    )
    by_rows = kernel_values([(KERNEL, 0)])
    assert by_rows is not None
    assert (by_rows.zeros_by_kernel, by_rows.distinct_by_kernel) == ((3,), (3,))
    assert kernel_values([]) is None


def network() -> keras.Model:
    """Every kind of kernel, each with as many zeros and values as its weights say."""
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(3, 1, name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(4, 1, name="separable")(x)
    x = layers.Conv2DTranspose(2, 2, strides=2, name="transposed")(x)
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(x))
    generator = np.random.default_rng(0)
    for weight in model.trainable_variables:
        # No rounding on the way to a file: small whole numbers, about a third of them zero.
        weight.assign(generator.integers(0, 3, weight.shape).astype(np.float32))
    return model


def counted(model: keras.Model) -> tuple[int, int]:
    found = [weight.numpy() for weight in model.trainable_variables if weight.name != "bias"]
    return sum(kernel.size for kernel in found), sum(int((kernel == 0).sum()) for kernel in found)


def test_a_networks_kernels_are_those_of_its_files(tmp_path: Path) -> None:
    model = network()
    of_network = values_of_kernels(model)
    assert of_network is not None
    assert (of_network.weights, of_network.zeros) == counted(model)
    assert (of_network.distinct_values, of_network.distinct_per_channel) == (3, 3)
    for name in ("float.tflite", "float.onnx"):
        assert edgekd.export_model(model, tmp_path / name).kernels == of_network, name
        assert edgekd.inspect_model(tmp_path / name).kernels == of_network
    keras_file = tmp_path / "model.keras"
    model.save(keras_file)
    assert edgekd.inspect_model(keras_file).kernels == of_network


@pytest.mark.parametrize("scheme", ["float16", "dynamic_int8", "weight_only_int8", "dynamic_int4"])
def test_kernels_that_are_stored_smaller_are_found(scheme: str, tmp_path: Path) -> None:
    inputs = keras.Input((32,))
    model = keras.Model(inputs, layers.Dense(48, use_bias=False, name="logits")(inputs))
    kernel = np.random.default_rng(1).integers(-7, 8, (32, 48)).astype(np.float32)
    kernel[0], kernel[1] = 7, -7  # so that the scale of every channel is the same, and steps are whole numbers
    model.set_weights([kernel])
    found = edgekd.export_model(model, tmp_path / "model.tflite", scheme=scheme).kernels
    assert found is not None
    assert (found.weights, found.zeros) == (kernel.size, int((kernel == 0).sum()))
    assert found.distinct_values == 15
    assert found.distinct_per_channel == max(len(np.unique(column)) for column in kernel.T)


def test_kernels_of_onnx_operators_are_read_with_their_axes(tmp_path: Path) -> None:
    def constant(name: str, value: np.ndarray) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(value, name)

    nodes = [
        onnx.helper.make_node("Gemm", ["x", "straight"], ["a"]),
        onnx.helper.make_node("Gemm", ["a", "turned"], ["b"], transB=1),
        onnx.helper.make_node("MatMul", ["b", "computed"], ["y"]),
    ]
    initializers = [constant("straight", KERNEL), constant("turned", np.ones((4, 3), np.float32))]
    value = onnx.helper.make_tensor_value_info
    inputs = [value("x", 1, [1, 4]), value("computed", 1, [4, 2])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, [value("y", 1, [1, 2])], initializers)
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    assert of_file(tmp_path / "model.onnx") == KernelValues(
        weights=24,
        zeros=3,
        sparsity=0.125,
        distinct_values=5,
        distinct_per_channel=3,
        zeros_by_kernel=(0, 3),
        distinct_by_kernel=(1, 3),
    )
