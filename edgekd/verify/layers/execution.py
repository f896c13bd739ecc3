"""A model with all its tensors, run from its inputs on some samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgekd.errors import NonFiniteError, ShapeError
from edgekd.records import TensorSpec
from edgekd.runtime import dequantise, quantise
from edgekd.runtime.layers.graph import DEQUANTISE, MOVING, Kernel, LayeredModel, Operator
from edgekd.runtime.runner import shape_matches
from edgekd.verify.layers.alignment import Side
from edgekd.verify.layers.blocks import blocks_of

Array = np.ndarray[Any, Any]


class Execution:
    """A model's tensors on the samples, its blocks and its kernels.

    Attributes:
      model: the model.
      raw: [runs, ...] of each tensor's key, as the model holds it.
      side: what the alignment needs.
    """

    def __init__(self, model: LayeredModel, inputs: Sequence[Array], *, batch: int) -> None:
        """Runs the model.

        Args:
          model: the model.
          inputs: [samples, ...] float32 for each of its inputs; the samples are a multiple of the batch.
          batch: samples in a run.

        Raises:
          ShapeError: samples of another shape than the model takes.
          ModelError: the engine failed.
        """
        self.model = model
        given = []
        for key, array in zip(model.graph.inputs, inputs, strict=True):
            spec = model.graph.tensors[key]
            laid_out = _laid_out(array, spec, model.name)
            given.append(stored(laid_out.reshape(-1, batch, *laid_out.shape[1:]), spec))
        self.raw = model.values(given)
        self._real: dict[str, Array] = {}
        self._producers = {key: operator for operator in model.graph.operators for key in operator.outputs}
        blocks = blocks_of(model.graph)
        self._kernels = {id(each): model.kernel(each) for each in model.graph.operators if each.kernel is not None}
        kernels = {
            number: kernel
            for number, block in enumerate(blocks)
            if block.operator is not None and (kernel := self.kernel(block.operator)) is not None
        }
        self.side = Side(
            blocks=blocks,
            shapes=tuple(tuple(sorted(size for size in self.shape(each.output) if size != 1)) for each in blocks),
            kernels=kernels,
            values=lambda number: np.sort(self.real(blocks[number].output), axis=None),
        )

    def real(self, key: str) -> Array:
        """Returns a tensor as real numbers, [runs, ...] float32."""
        if key not in self._real:
            self._real[key] = real(self.raw[key], self.spec(key))
        return self._real[key]

    def shape(self, key: str) -> tuple[int, ...]:
        """Returns a tensor's shape in one run."""
        return tuple(int(size) for size in self.raw[key].shape[1:])

    def spec(self, key: str) -> TensorSpec:
        """Returns what the model says of a tensor."""
        return self.model.graph.tensors[key]

    def kernel(self, operator: Operator) -> Kernel | None:
        """Returns an operator's kernel, None where it has none that can be read."""
        return self._kernels.get(id(operator))

    def name(self, operator: Operator) -> str:
        """Returns what to call an operator: its type and the name of what it gives."""
        return f"{operator.type} {self.spec(operator.outputs[0]).name}"

    def is_read_for_maxima(self, key: str) -> bool:
        """Returns whether all that reads a tensor, after moving it, takes maxima of neighbouring values."""
        if key in self.model.graph.outputs:
            return False
        readers = [each for each in self.model.graph.operators if key in each.inputs]
        return bool(readers) and all(
            each.kind in ("pool_max", "max")
            or (each.kind in (MOVING, DEQUANTISE) and all(self.is_read_for_maxima(made) for made in each.outputs))
            for each in readers
        )

    def leading_to(self, key: str, known: frozenset[str]) -> tuple[tuple[str, ...], tuple[Operator, ...]]:
        """Returns the nearest known tensors from which one is computed, and the operators in between, last first."""
        feeds: dict[str, None] = {}
        operators: dict[int, Operator] = {}
        wanted, seen = [key], set()
        while wanted:
            each = wanted.pop()
            if each in seen:
                continue
            seen.add(each)
            if (each in known and each != key) or each not in self._producers:
                feeds[each] = None
                continue
            operators[id(self._producers[each])] = self._producers[each]
            wanted += reversed(self._producers[each].inputs)
        return tuple(feeds), tuple(operators.values())


def real(array: Array, spec: TensorSpec) -> Array:
    """Returns a tensor as the float32 numbers that it stands for."""
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else dequantise(array, spec)


def stored(array: Array, spec: TensorSpec) -> Array:
    """Returns real numbers as a tensor holds them: rounded to its scale and clipped to its range, where it has one."""
    if np.dtype(spec.dtype).kind == "f":
        return array.astype(spec.dtype, copy=False)
    try:
        return quantise(array, spec)
    except NonFiniteError as error:
        raise NonFiniteError(f"tensor {spec.name!r} cannot be given the reference's values: {error}") from error


def _laid_out(array: Array, spec: TensorSpec, name: str) -> Array:
    """Returns samples as the model takes them: as they are, or with channels last moved first, or first moved last."""
    rank = array.ndim
    orders = [tuple(range(rank))]
    if rank > 2:
        orders += [(0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)]
    for order in orders:
        moved = array.transpose(order)
        if shape_matches(spec.shape[1:], moved.shape[1:]):
            return moved
    raise ShapeError(
        f"{name!r} takes samples of shape {list(spec.shape[1:])}, received {list(array.shape[1:])}: use the data that "
        "the model was made for."
    )
