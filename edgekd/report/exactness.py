"""The table of how far each file's outputs are from the Keras students'."""

from edgekd.records import OutputError, Summary
from edgekd.report import formatting, merit, table

HEADERS = ("File", "Against", "Output", "Samples", "Largest error", "Largest, LSB", "Relative L2", "Cosine", "SQNR, dB")
IDENTICAL = "identical"
ALL_ZERO = "outputs all zero"
FLOAT_OUTPUT = "float output"


def rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts per file and output, in the order of HEADERS."""
    return tuple(
        (
            comparison.candidate,
            table.title(comparison.reference, merit.of(summary)),
            output.output,
            formatting.count(comparison.samples),
            *_errors(output),
        )
        for comparison in summary.comparisons
        for output in comparison.outputs
    )


def _errors(output: OutputError) -> tuple[str, ...]:
    return (
        formatting.number(output.max_abs),
        FLOAT_OUTPUT if output.max_lsb is None else formatting.number(output.max_lsb),
        formatting.number(output.relative_l2),
        ALL_ZERO if output.cosine is None else f"{output.cosine:.6f}",
        IDENTICAL if output.sqnr_db is None else f"{output.sqnr_db:.1f}",
    )
