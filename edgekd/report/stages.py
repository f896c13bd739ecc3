"""Accuracy stage by stage: every network and file beside the one that it came from."""

from edgekd.records import StageRow, Summary
from edgekd.report import figure as figures
from edgekd.report import formatting, table
from edgekd.report.figure import GREY, ROLE_COLOURS, Figure

HEADERS = ("Stage", "Came from", "Accuracy", "Lost since, points", "Agreement", "SQNR, dB")
_FIRST = "–"
_SAME_NETWORK = (table.STUDENT_SPARSE, table.STUDENT_QUANTIZED)  # made of the one before; others were trained apart


def rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each, in the order of HEADERS."""
    return tuple(_row(row, summary) for row in summary.stages)


def ratio(row: StageRow) -> str | None:
    """Returns the signal-to-noise ratio since the one before in decibels: `34.8`, or `identical`.

    None where it was not measured, and where it tells nothing: two networks that were trained apart may agree on every
    class and differ in every logit.
    """
    if row.before is None or (row.kind == "network" and row.name not in _SAME_NETWORK):
        return None
    if row.identical:
        return "identical"
    return None if row.sqnr_db is None else f"{row.sqnr_db:.1f}".replace("-", "−")


def graph(summary: Summary) -> Figure | None:
    """Returns what each step lost as dots with intervals, or None where that is not known."""
    known = [(row, row.accuracy_drop) for row in summary.stages if row.accuracy_drop is not None]
    if not known:
        return None
    names = [figures.text(table.title_of(row.name, summary)) for row, _ in known]
    told = [
        f"since {table.title_of(row.before or '', summary)}: {formatting.points(drop.value)} points, "
        f"{formatting.points_interval(drop)}"
        for row, drop in known
    ]
    colours = [ROLE_COLOURS.get(row.name, _FILES if row.kind == "file" else GREY) for row, _ in known]
    return figures.dots(names, [drop for _, drop in known], colours, x="points lost", told=told, zero=True)


_FILES = "#8b5cf6"


def _row(row: StageRow, summary: Summary) -> tuple[str, ...]:
    accuracy = f"{formatting.percent(row.accuracy.value)} [{formatting.percent_interval(row.accuracy)}]"
    name = table.title_of(row.name, summary)
    if row.before is None or row.accuracy_drop is None:
        return (name, _FIRST, accuracy, _FIRST, _FIRST, _FIRST)
    return (
        name,
        table.title_of(row.before, summary),
        accuracy,
        f"{formatting.points(row.accuracy_drop.value)} [{formatting.points_interval(row.accuracy_drop)}]",
        formatting.percent(row.agreement.value if row.agreement else None),
        ratio(row) or _FIRST,
    )
