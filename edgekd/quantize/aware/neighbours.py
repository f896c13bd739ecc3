"""Which layers of a graph stand before and after one that computes in integers: they have the scales that it needs."""

from collections.abc import Callable, Sequence
from typing import Any


class Neighbours:
    """The layers around a layer, found while the graph is built, so that a loaded network has them too.

    Attributes:
      inputs: those that round what the layer takes.
      norm: the batch normalisation that is folded into it, if there is one.
      output: the one that rounds what it gives, after that.
    """

    def __init__(self) -> None:
        self.inputs: tuple[Any, ...] = ()
        self.norm: Any = None
        self.output: Any = None
        self._taken = self._given = self._unclear = False

    def take_from(self, inputs: Sequence[Any]) -> None:
        """Notes what is before the layer in one of its calls."""
        self._unclear |= self._taken and _differ(self.inputs, inputs)
        self.inputs, self._taken = tuple(inputs), True

    def give_to(self, output: Any, norm: Any) -> None:
        """Notes what is after the layer in one of its calls."""
        self._unclear |= self._given and _differ((self.output, self.norm), (output, norm))
        self.output, self.norm, self._given = output, norm, True

    @property
    def before(self) -> tuple[Any, ...]:
        """What is before the layer, where it is the same in all of its calls; else nothing."""
        return () if self._unclear or None in self.inputs else self.inputs

    @property
    def complete(self) -> bool:
        """Whether the layers before and after it are known, and the same in all of its calls."""
        return bool(self.before) and self._given


def _differ(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return [id(each) for each in first] != [id(each) for each in second]


def origin(tensor: Any, *, through: Callable[[Any], bool]) -> tuple[Any, list[Any]]:
    """Returns the layer that made a tensor of a graph, and the layers after it that were passed on the way back.

    Args:
      tensor: of a graph that is being built.
      through: whether to go on to what is before a layer.
    """
    passed: list[Any] = []
    while True:
        history = tensor._keras_history
        if not through(history.operation):
            return history.operation, passed
        sources = history.operation._inbound_nodes[history.node_index].input_tensors
        if len(sources) != 1:
            return history.operation, passed
        passed.append(history.operation)
        (tensor,) = sources
