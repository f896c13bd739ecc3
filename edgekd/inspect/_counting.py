"""From single operators to counts and totals."""

from collections import Counter
from collections.abc import Sequence

from edgekd.inspect.records import Operator, OperatorCount


def count(nodes: Sequence[Operator]) -> tuple[OperatorCount, ...]:
    """Returns how often each operator occurs with its arithmetic, the most frequent first."""
    counts = Counter(node.operator for node in nodes)
    unknown = set(unknown_arithmetic(nodes))
    totals: Counter[str] = Counter()
    for node in nodes:
        totals[node.operator] += node.macs or 0
    return tuple(
        OperatorCount(operator=name, count=number, macs=None if name in unknown else totals[name])
        for name, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def unknown_arithmetic(nodes: Sequence[Operator]) -> list[str]:
    """Returns the operators whose arithmetic is not known, sorted."""
    return sorted({node.operator for node in nodes if node.macs is None})
