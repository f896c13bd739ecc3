"""Sizes raw and compressed, and what kernels hold; sparsity reaches the exported file."""

import gzip
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import edgekd
from edgekd import architectures
from edgekd.errors import ModelError, StorageError
from edgekd.sparsify.clustering import cluster
from edgekd.sparsify.pruning import prune
from edgekd.sparsify.schedule import PolynomialSchedule
from edgekd.sparsify.sizes import KernelContent, file_size, kernel_contents, nonzero_parameters
from edgekd.sparsify.stripping import strip


def test_a_files_size_is_its_bytes_and_those_of_gzip(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = bytes(10_000) + np.random.default_rng(0).bytes(1_000)
    path.write_bytes(content)
    found = file_size(path)
    assert found.size_bytes == 11_000
    assert 1_000 < found.gzip_bytes < 1_200
    assert found.gzip_bytes == len(gzip.compress(content, compresslevel=9, mtime=123))
    with pytest.raises(StorageError, match="does not exist"):
        file_size(tmp_path / "other")


def test_kernels_are_counted() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense"), layers.BatchNormalization()])
    weights = [[[0.0, 1.0], [0.0, 1.0], [2.0, -0.0]], [0.0, 3.0], [1.0, 1.0], [0.0, 0.0], [0.0, 5.0], [1.0, 1.0]]
    model.set_weights([np.array(weight, np.float32) for weight in weights])
    assert kernel_contents(model) == (KernelContent("dense", weights=6, zeros=3, distinct_values=3),)
    assert kernel_contents(model)[0].sparsity == 0.5
    assert nonzero_parameters(model) == 3 + 1 + 2 + 1 + 2


def test_a_network_in_training_is_not_counted() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
    with pytest.raises(ModelError, match=r"layer 'dense' .* strip the network first"):
        kernel_contents(prune(model, sparsity=0.5, schedule=PolynomialSchedule(end_step=0)))


def test_the_exported_file_holds_the_zeros_and_compresses_smaller(tmp_path: Path) -> None:
    dense = architectures.create("light_cnn", input_shape=(8, 8, 1), num_classes=3, seed=0)
    sparse = strip(prune(dense, sparsity=0.8, schedule=PolynomialSchedule(end_step=0)))
    clustered = strip(cluster(dense, clusters=16))
    sizes = {}
    for name, model in {"dense": dense, "sparse": sparse, "clustered": clustered}.items():
        path = tmp_path / f"{name}.tflite"
        edgekd.export_model(model, path)
        sizes[name] = file_size(path)
    assert sizes["sparse"].gzip_bytes < 0.4 * sizes["dense"].gzip_bytes
    assert sizes["clustered"].gzip_bytes < 0.4 * sizes["dense"].gzip_bytes
    assert abs(sizes["sparse"].size_bytes - sizes["dense"].size_bytes) < 0.01 * sizes["dense"].size_bytes
    interpreter = Interpreter(str(tmp_path / "sparse.tflite"))
    interpreter.allocate_tensors()
    kernel = sparse.get_layer("hidden_dense").kernel.numpy()
    written = [
        interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_tensor_details()
        if tuple(detail["shape"]) == kernel.T.shape
    ]
    assert any(np.array_equal(tensor, kernel.T) for tensor in written)
