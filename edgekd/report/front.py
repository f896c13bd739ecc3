"""The Pareto front: what no other beats in one thing without being beaten in the other."""

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Returns the positions of the points that no other point dominates, the cheapest first.

    A point dominates another one if it costs no more and is worth no less, and one of the two strictly.

    Args:
      points: cost (the less the better) and worth (the more the better) of each.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1]))
    kept: list[int] = []
    for at in order:
        if not kept or points[at][1] > points[kept[-1]][1] or points[at] == points[kept[-1]]:
            kept.append(at)
    return tuple(kept)
