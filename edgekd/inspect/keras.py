"""Keras files: layers and weights; how much memory a network takes depends on what a converter makes of it."""

import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from edgekd import cost, storage
from edgekd.architectures import load_model
from edgekd.errors import ModelError
from edgekd.inspect.records import Inspection, OperatorCount, Tensor
from edgekd.records import KernelValues, TensorSpec
from edgekd.sparsify import sizes

SUFFIXES = (".keras",)
NATIVE_PARSER = False  # a zip of JSON and HDF5, read with Keras' safe mode


def inspect(path: Path) -> Inspection:
    """Returns what a Keras file holds; see `edgekd.inspect.inspect_model`. Operators are its layers' classes."""
    model = load_model(path)
    with zipfile.ZipFile(path) as archive:
        metadata = {each.filename: each.file_size for each in archive.infolist() if each.filename.endswith(".json")}
    layers = Counter(type(layer).__name__ for layer in _layers(model))
    tensors = tuple(_tensor(weight) for weight in model.weights)
    try:
        macs, note = cost.count_macs(model), None
    except ModelError as error:
        macs, note = None, str(error)
    return Inspection(
        name=path.name,
        format="keras",
        format_version=f"read by Keras {keras.__version__}",
        sha256=storage.sha256_file(path),
        size_bytes=path.stat().st_size,
        gzip_bytes=storage.gzip_size(path),
        weights_bytes=sum(tensor.size_bytes or 0 for tensor in tensors),
        metadata_bytes=sum(metadata.values()),
        metadata=dict(sorted(metadata.items())),
        parameters=cost.count_parameters(model),
        inputs=_specs(getattr(model, "inputs", None)),
        outputs=_specs(getattr(model, "outputs", None)),
        operators=tuple(
            OperatorCount(operator=name, count=count)
            for name, count in sorted(layers.items(), key=lambda item: (-item[1], item[0]))
        ),
        macs=macs,
        macs_note=note,
        kernels=_kernels(model),
        tensors=tensors,
    )


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        elif not isinstance(layer, keras.layers.InputLayer):
            yield layer


def _kernels(model: Any) -> KernelValues | None:
    """Returns None where layers of kinds of their own hide theirs."""
    plain = all(not list(layer._flatten_layers(include_self=False)) for layer in _layers(model))
    return sizes.values_of_kernels(model) if plain else None


def _tensor(weight: Any) -> Tensor:
    dtype = str(weight.dtype)
    return Tensor(
        name=weight.path,
        role="constant",
        shape=tuple(weight.shape),
        dtype=dtype,
        size_bytes=keras.ops.convert_to_numpy(weight).nbytes,
    )


def _specs(tensors: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=tensor.name, shape=tuple(tensor.shape), dtype=str(tensor.dtype)) for tensor in tensors or ()
    )
