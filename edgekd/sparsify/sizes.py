"""What sparsity is worth: zeros, distinct values, and bytes before and after compression."""

import dataclasses
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import storage
from edgekd.errors import ModelError

if TYPE_CHECKING:
    import keras

_LEVEL = 9


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
    content = storage.require_file(path, "file").read_bytes()
    return FileSize(len(content), len(gzip.compress(content, _LEVEL, mtime=0)))


def kernel_contents(model: "keras.Model") -> tuple[KernelContent, ...]:
    """Returns what each kernel of a plain network holds, in the network's order.

    Args:
      model: built and plain.

    Raises:
      ModelError: a network in training, whose kernels hold what their masks hide.
    """
    import numpy as np

    from edgekd.sparsify.kernels import kernel_of, layers_by_path, variable_of
    from edgekd.sparsify.wrapping import Wrapped

    found = []
    for path, layer in layers_by_path(model).items():
        if isinstance(layer, Wrapped):
            raise ModelError(f"layer {path!r} of model {model.name!r} is in training: strip the network first.")
        if kernel_of(layer) is not None:
            kernel = variable_of(layer).numpy()
            found.append(KernelContent(path, kernel.size, int((kernel == 0).sum()), len(np.unique(kernel))))
    return tuple(found)


def nonzero_parameters(model: "keras.Model") -> int:
    """Returns how many of a network's weights, biases and normalisation statistics are not zero."""
    return sum(int((weight.numpy() != 0).sum()) for weight in model.weights)
