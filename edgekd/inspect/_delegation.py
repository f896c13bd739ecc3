"""Which operators LiteRT's XNNPACK delegate takes, seen in the graph that LiteRT has prepared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.errors import ModelError
from edgekd.inspect.records import Delegation

NAME = "XNNPACK"
_NODE = "DELEGATE"


def prepared(path: Path) -> Delegation:
    """Returns what LiteRT gives to XNNPACK, which it applies by default, when it prepares a TFLite file.

    LiteRT shows a delegate's nodes with the tensors that they read and make, not the operators that they replace: those
    are found by walking the graph from what a node makes back to what it reads, and on to whatever reads a tensor
    that stays inside. Where that does not tell for an operator, none is named.

    Raises:
      ModelError: LiteRT cannot prepare the file.
    """
    try:
        count, nodes = _prepared(path)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"LiteRT cannot prepare {path.name!r}: {' '.join(str(error).split())}") from error
    operators = [
        {side: [int(index) for index in each[side] if index >= 0] for side in ("inputs", "outputs")}
        | {"name": each["op_name"]}
        for each in nodes
    ]
    delegates = [each for each in operators[count:] if each["name"] == _NODE]
    taken, doubtful = replaced(operators[:count], delegates)
    if doubtful:
        return Delegation(
            delegate=NAME,
            partitions=len(delegates),
            operators=None,
            note=f"LiteRT does not tell who runs {len(doubtful)} of {count} operators",
        )
    return Delegation(delegate=NAME, partitions=len(delegates), operators=tuple(sorted(taken)))


def _prepared(path: Path) -> tuple[int, list[dict[str, Any]]]:
    """Returns how many operators the main graph has, and LiteRT's nodes after it has applied its delegate."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = Interpreter(
        model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    count = len(plain._get_ops_details())
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    return count, interpreter._get_ops_details()


def replaced(
    operators: Sequence[Mapping[str, Any]], delegates: Sequence[Mapping[str, Any]]
) -> tuple[set[int], set[int]]:
    """Returns the positions of the operators that delegates replaced, and of those of which that cannot be told.

    Args:
      operators: of the graph before, with the tensors of their `inputs` and `outputs`.
      delegates: the nodes that were put in, likewise.
    """
    maker = {tensor: position for position, each in enumerate(operators) for tensor in each["outputs"]}
    taken: set[int] = set()
    open_inputs: set[int] = set()
    for node in delegates:
        outside = set(node["inputs"])
        inside = _made_within(node, operators, maker, outside)
        hidden = {tensor for position in inside for tensor in operators[position]["outputs"]} - set(node["outputs"])
        grown = True
        while grown:
            more = {
                position
                for position, each in enumerate(operators)
                if position not in inside and not hidden.isdisjoint(each["inputs"])
            }
            for position in more:
                hidden.update(set(operators[position]["outputs"]) - set(node["outputs"]))
            inside |= more
            grown = bool(more)
        taken |= inside
        open_inputs |= outside
    doubtful = {
        position
        for position, each in enumerate(operators)
        if position not in taken and each["inputs"] and not each["outputs"] and open_inputs.issuperset(each["inputs"])
    }
    return taken, doubtful


def _made_within(
    node: Mapping[str, Any], operators: Sequence[Mapping[str, Any]], maker: Mapping[int, int], outside: set[int]
) -> set[int]:
    found: set[int] = set()
    waiting = [tensor for tensor in node["outputs"] if tensor in maker]
    while waiting:
        position = maker[waiting.pop()]
        if position in found:
            continue
        found.add(position)
        waiting += [tensor for tensor in operators[position]["inputs"] if tensor in maker and tensor not in outside]
    return found
