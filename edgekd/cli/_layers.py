"""How a comparison operator by operator reads on a terminal."""

import click

from edgekd.cli import _tables
from edgekd.errors import printable
from edgekd.report import formatting
from edgekd.verify.layers.records import LayerComparison, LayerError, LayerRow, LayersNotCompared

_MOST_RANKED = 5


def print_layers(found: LayerComparison) -> None:
    """Prints a row for each matched operator, what is at fault, and what has no counterpart."""
    _say(
        f"{found.candidate} against {found.reference}, operator by operator, on {found.samples:,} samples of "
        f"{found.dataset}:"
    )
    headers = ("Operator", "Reference's", "Matched by", "Error, rms", "LSB", "Of limit", "SQNR, dB", "Cumulative, dB")
    rows = [_cells(number, row) for number, row in enumerate(found.rows)]
    _tables.print_rows((*headers, "Result"), rows)
    for number, row in enumerate(found.rows):
        if row.reason is not None or row.note is not None:
            _say(f"{number} {_name(row)}: {'; '.join(each for each in (row.reason, row.note) if each)}")
    for side, unmatched in (("reference", found.unmatched_reference), ("candidate", found.unmatched_candidate)):
        if unmatched:
            merged = {name for row in found.rows for name in row.merged}
            alone = [name for name in unmatched if name not in merged]
            _say(
                f"{len(unmatched)} operators of the {side} have no counterpart, {len(unmatched) - len(alone)} of them "
                f"compared together with the next that has one: {', '.join(unmatched)}"
            )
    if found.first is not None:
        _say(f"first at fault: {found.first} {_name(found.rows[found.first])}")
    worst = [number for number in found.ranking if found.rows[number].passed is not None][:_MOST_RANKED]
    if worst:
        _say(f"largest beside their limits: {', '.join(f'{number} {_name(found.rows[number])}' for number in worst)}")
    if not any(row.passed is not None and row.kind != "input" for row in found.rows):
        _say("FAILED: no operator of the two belongs to one of the other, so that nothing was compared")
    if found.unjudged:
        _say(f"INCONCLUSIVE: operators with weights that nothing here judges: {', '.join(found.unjudged)}")


def print_not_compared(found: LayersNotCompared) -> None:
    """Prints that two files could not be compared operator by operator, and why."""
    _say(f"{found.candidate} against {found.reference}: not compared operator by operator: {found.reason}")


def _say(line: str) -> None:
    click.echo(printable(line))


def _name(row: LayerRow) -> str:
    return f"{row.candidate_operator} {row.candidate_tensor}"


def _cells(number: int, row: LayerRow) -> tuple[str, ...]:
    local = row.local
    return (
        f"{number} {row.candidate_operator} {_short(row.candidate_tensor)}",
        row.reference_operator,
        row.matched_by,
        "" if local is None else formatting.number(local.rms),
        "" if local is None or local.rms_lsb is None else f"{local.rms_lsb:.2f}",
        "" if row.excess is None else f"{row.excess:.3g}",
        _ratio(local),
        _ratio(row.cumulative),
        "not compared" if row.passed is None else "passed" if row.passed else "FAILED",
    )


def _short(name: str) -> str:
    """Returns the first of the names that TFLite's converter joins for what it fuses."""
    first, joined, _ = name.partition(";")
    return f"{first} …" if joined else first


def _ratio(error: LayerError | None) -> str:
    if error is None:
        return ""
    if error.max_abs == 0:
        return "identical"
    return "" if error.sqnr_db is None else f"{error.sqnr_db:.1f}"
