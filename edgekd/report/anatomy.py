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


def rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each file whose operators are known, in the order of HEADERS."""
    return tuple(_row(artifact) for artifact in summary.artifacts if artifact.operators)


def _row(artifact: Artifact) -> tuple[str, ...]:
    constants = sum(cost.weights_bytes for cost in artifact.operators)
    heaviest = max(artifact.operators, key=lambda cost: cost.weights_bytes)
    fullest = max(artifact.operators, key=lambda cost: cost.live_bytes or 0)
    known = all(cost.live_bytes is not None for cost in artifact.operators)
    return (
        artifact.name,
        formatting.count(len(artifact.operators)),
        formatting.size(constants),
        f"{formatting.size(heaviest.weights_bytes)}, {heaviest.operator}",
        formatting.size(max(artifact.size_bytes - constants, 0)),
        formatting.size(fullest.live_bytes) if known else formatting.NOT_MEASURED,
        fullest.operator if known else formatting.NOT_MEASURED,
    )
