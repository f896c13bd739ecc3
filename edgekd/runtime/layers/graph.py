"""A model as a graph of canonical operators, whatever format it comes from."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from edgekd.records import TensorSpec

Array = np.ndarray[Any, Any]

MOVING = "moving"
"""Kind of an operator that moves or renames values without computing any: a reshape, a transpose, an identity."""
QUANTISE = "quantise"
"""Kind of an operator that rounds values to a tensor's scale."""
DEQUANTISE = "dequantise"
"""Kind of an operator that writes integers as the real numbers that they stand for."""
LINEAR = frozenset({"conv", "depthwise", "dense", "conv_transposed"})
"""Kinds of operators that have a kernel."""
AFFINE = frozenset({"norm", "factor", "shift", "affine"})
"""Kinds of operators with one array and constants, which converters fold into kernels and biases."""
FUSED = frozenset({"relu", "relu6", "relu_n1_to_1", "clip"})
"""Kinds of activations that formats fuse into the operator before."""


@dataclasses.dataclass(frozen=True, eq=False)
class Operator:
    """One operator that computes something at run time.

    Attributes:
      kind: what it computes, called alike in all formats: conv, add, relu, ...; formats' own names in lower case where
        there is no common one.
      type: what the format calls it: CONV_2D, Conv, Conv2D.
      inputs: keys of the tensors of numbers that it reads, in order, constants left out.
      outputs: keys of the tensors that it gives.
      fused: the kind of the activation that is part of it.
      kernel: the key of its kernel, for an operator of LINEAR.
      halves: whether constants that it reads are stored as float16.
      constant_step: the largest distance of neighbouring values of constants, other than kernels and biases, that it
        reads and that are stored as integers; 0 where there are none.
    """

    kind: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fused: str | None = None
    kernel: str | None = None
    halves: bool = False
    constant_step: float = 0.0


@dataclasses.dataclass(frozen=True)
class Graph:
    """A model's operators in an order in which they can run.

    Attributes:
      operators: those that compute with numbers at run time; what computes shapes only, or constants, is left out.
      inputs: keys of the model's inputs.
      outputs: keys of the model's outputs.
      tensors: name, shape, dtype, scale and zero point of every tensor of numbers by its key.
    """

    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, TensorSpec] = dataclasses.field(default_factory=lambda: MappingProxyType({}))


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """The kernel of an operator as real numbers.

    Attributes:
      values: [made, ...] float32; the other axes are those of space, in order, and then the channels read.
      steps: [made] float32, the distance of neighbouring values that can be stored.
      axis: which axis of the operator's output has the `made` channels.
      rounds_input: whether the operator rounds its float input to 8 bits while it runs.
    """

    values: Array
    steps: Array
    axis: int
    rounds_input: bool = False


class LayeredModel(Protocol):
    """A model that can be run as a whole, with every tensor seen, or in part.

    Attributes:
      name: the file's name, for messages.
      graph: its operators.
      batch: the batch of the file, or None where it may vary.
    """

    name: str
    graph: Graph
    batch: int | None

    def values(self, arrays: Sequence[Array]) -> dict[str, Array]:
        """Returns all tensors of the graph, run from the model's inputs.

        Args:
          arrays: [runs, batch, ...] for each input, in its own dtype.

        Returns:
          [runs, ...] of each tensor's key, in its own dtype.

        Raises:
          ModelError: the engine failed.
        """

    def part(self, feeds: Mapping[str, Array], output: str) -> Array:
        """Returns one tensor, computed from some others alone; to be called after `values`.

        Args:
          feeds: [runs, ...] by key, in the tensors' own dtypes. They must suffice.
          output: the key of the tensor.

        Raises:
          ModelError: the engine failed.
        """

    def kernel(self, operator: Operator) -> Kernel | None:
        """Returns an operator's kernel, None where it has none that can be read; to be called after `values`."""
