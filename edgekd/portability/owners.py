"""Which layer of a user's model an operator or tensor of an exported graph comes from."""

import dataclasses
from typing import Any

from edgekd.portability.advice import Problem, instead
from edgekd.records import Finding


@dataclasses.dataclass(frozen=True)
class Owner:
    """A layer: its name, after those of the networks that it is nested in, with dots, and its class."""

    name: str
    kind: str


@dataclasses.dataclass(frozen=True)
class _Node:
    owner: Owner
    inside: dict[str, "_Node"]


class Owners:
    """Finds layers by the names of what they became: an operation is named after its layer, see `export._graph`."""

    def __init__(self, model: Any = None) -> None:
        """Reads the names of a model's layers.

        Args:
          model: a model of Keras 3 or tf_keras; of anything else no layers are known.
        """
        self._nodes = _nodes(model, "")
        self._outputs = _outputs(model)

    def of(self, name: str) -> Owner | None:
        """Returns the layer of an operation or tensor, None where it cannot be told.

        Args:
          name: in the graph; of a fused operator all names, joined by semicolons, the last operation's first.
        """
        first = name.partition(";")[0]
        if first in self._outputs:
            return self._outputs[first]
        found, nodes = None, self._nodes
        for scope in first.split("/"):
            if scope in nodes:
                found, nodes = nodes[scope].owner, nodes[scope].inside
        return found

    def finding(
        self,
        kind: Problem,
        operator: str,
        output: str,
        *,
        problem: str,
        targets: tuple[str, ...],
        schemes: tuple[str, ...] = (),
        advice: str | None = None,
    ) -> Finding:
        """Returns a finding about one operator, with its layer.

        Args:
          kind: what is wrong, for the advice.
          operator: as whoever refuses it calls it.
          output: the name of what it makes, or of itself in the graph.
          problem: what is wrong, in words.
          targets: whom it concerns.
          schemes: of the files that it concerns.
          advice: what to write instead, where that is known better here.
        """
        owner = self.of(output)
        name, layer = (None, None) if owner is None else (owner.name, owner.kind)
        return Finding(
            targets=targets,
            schemes=schemes,
            layer=name,
            operator=operator,
            output=output.partition(";")[0] or None,
            problem=problem,
            advice=advice or instead(kind, operator, layer),
        )


def _nodes(model: Any, prefix: str) -> dict[str, _Node]:
    nodes = {}
    for layer in getattr(model, "layers", ()):
        name = f"{prefix}{layer.name}"
        nodes[layer.name] = _Node(Owner(name, type(layer).__name__), _nodes(layer, f"{name}."))
    return nodes


def _outputs(model: Any) -> dict[str, Owner]:
    """Returns the layers that make a functional network's outputs, by the outputs' names in files."""
    from edgekd.export import source_of

    tensors = getattr(model, "outputs", None)
    if not tensors or not all(hasattr(tensor, "_keras_history") for tensor in tensors):
        return {}
    found = {}
    for tensor, name in zip(tensors, source_of(model).outputs, strict=True):
        operation = tensor._keras_history[0]  # the layer, in both versions of Keras
        found["logits" if name is None else name] = Owner(operation.name, type(operation).__name__)
    return found
