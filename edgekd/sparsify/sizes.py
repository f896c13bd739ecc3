"""What sparsity is worth: zeros, distinct values, and bytes before and after compression."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import storage
from edgekd.errors import ModelError
from edgekd.kernel_values import kernel_values
from edgekd.records import KernelValues

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class FileSize:
    """How large a file is.

    Attributes:
      size_bytes: as it is.
      gzip_bytes: compressed by gzip at its highest level, as an update over the air would be; the same for the same
        file, since no time is written.
    """

    size_bytes: int
    gzip_bytes: int


@dataclasses.dataclass(frozen=True)
class KernelContent:
    """What a layer's kernel holds.

    Attributes:
      layer: the layer's name, `outer/inner` in nested models.
      weights: how many there are.
      zeros: how many of them are exactly zero.
      distinct_values: how many different ones, zero included.
    """

    layer: str
    weights: int
    zeros: int
    distinct_values: int

    @property
    def sparsity(self) -> float:
        """The share of zeros."""
        return self.zeros / self.weights


def file_size(path: Path) -> FileSize:
    """Returns a file's size, raw and compressed.

    Raises:
      StorageError: there is no such file, or it cannot be read.
    """
    storage.require_file(path, "file")
    return FileSize(path.stat().st_size, storage.gzip_size(path))


def kernel_contents(model: "keras.Model") -> tuple[KernelContent, ...]:
    """Returns what each kernel of a plain network holds, in the network's order.

    Args:
      model: built and plain.

    Raises:
      ModelError: a network in training, whose kernels hold what their masks hide.
    """
    import numpy as np

    from edgekd.sparsify.kernels import variable_of

    found = []
    for path, layer in _with_kernels(model):
        kernel = variable_of(layer).numpy()
        found.append(KernelContent(path, kernel.size, int((kernel == 0).sum()), len(np.unique(kernel))))
    return tuple(found)


def values_of_kernels(model: "keras.Model") -> KernelValues | None:
    """Returns what the kernels of a plain network hold, all together; None where it has none.

    Of a separable convolution both kernels count, as they do in files.

    Args:
      model: built and plain.

    Raises:
      ModelError: as `kernel_contents`.
    """
    from edgekd.sparsify.layer_kinds import DEPTHWISE, SEPARABLE, TRANSPOSED

    def kernels() -> Iterator[tuple[Any, int]]:
        for _, layer in _with_kernels(model):
            if isinstance(layer, SEPARABLE):
                yield _merged(layer.depthwise_kernel.numpy()), -1
                yield layer.pointwise_kernel.numpy(), -1
            elif isinstance(layer, DEPTHWISE):
                yield _merged(layer.kernel.numpy()), -1
            else:
                yield layer.kernel.numpy(), -2 if isinstance(layer, TRANSPOSED) else -1

    return kernel_values(kernels())


def _merged(depthwise: Any) -> Any:
    """Returns a depthwise kernel with its channels and their multiples on one axis."""
    return depthwise.reshape(*depthwise.shape[:-2], -1)


def _with_kernels(model: "keras.Model") -> "Iterator[tuple[str, keras.layers.Layer]]":
    from edgekd.sparsify.kernels import kernel_of, layers_by_path
    from edgekd.sparsify.wrapping import Wrapped

    for path, layer in layers_by_path(model).items():
        if isinstance(layer, Wrapped):
            raise ModelError(f"layer {path!r} of model {model.name!r} is in training: strip the network first.")
        if kernel_of(layer) is not None:
            yield path, layer


def nonzero_parameters(model: "keras.Model") -> int:
    """Returns how many of a network's weights, biases and normalisation statistics are not zero."""
    return sum(int((weight.numpy() != 0).sum()) for weight in model.weights)
