"""The table of what takes the bytes of each file, and the memory of running it."""

from edgekd.records import Artifact, Summary
from edgekd.report import formatting

HEADERS = (
    "File",
    "Operators",
    "Constants",
    "Most in one operator",
    "Structure",
    "Activations at once",
    "While it runs",
)
OPERATOR_HEADERS = ("Operator", "Name", "Constants", "Activations at once")
_NONE = "–"


def rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each file whose operators are known, in the order of HEADERS."""
    return tuple(_row(artifact) for artifact in summary.artifacts if artifact.operators)


def operators(artifact: Artifact) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each operator of a file, in the order in which they run and of OPERATOR_HEADERS.

    The last row is what the file's structure and its metadata take, so that constants add up to the file.
    """
    return (
        *(
            (
                f"{number} {cost.operator}",
                (cost.name or "").split(";")[0] or _NONE,
                formatting.size(cost.weights_bytes),
                formatting.size(cost.live_bytes),
            )
            for number, cost in enumerate(artifact.operators, start=1)
        ),
        ("Structure and metadata", _NONE, formatting.size(_structure(artifact)), _NONE),
    )


def _row(artifact: Artifact) -> tuple[str, ...]:
    heaviest = max(artifact.operators, key=lambda cost: cost.weights_bytes)
    fullest = max(artifact.operators, key=lambda cost: cost.live_bytes or 0)
    known = all(cost.live_bytes is not None for cost in artifact.operators)
    return (
        artifact.name,
        formatting.count(len(artifact.operators)),
        formatting.size(_constants(artifact)),
        f"{formatting.size(heaviest.weights_bytes)}, {heaviest.operator}",
        formatting.size(_structure(artifact)),
        formatting.size(fullest.live_bytes) if known else formatting.NOT_MEASURED,
        fullest.operator if known else formatting.NOT_MEASURED,
    )


def _constants(artifact: Artifact) -> int:
    return sum(cost.weights_bytes for cost in artifact.operators)


def _structure(artifact: Artifact) -> int:
    return max(artifact.size_bytes - _constants(artifact), 0)
