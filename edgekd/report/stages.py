"""Stage by stage: every network and file, by how good it is, beside the one that it came from."""

from edgekd.records import StageRow, Summary
from edgekd.report import figure as figures
from edgekd.report import formatting, table
from edgekd.report import merit as merits
from edgekd.report.figure import GREY, ROLE_COLOURS, Figure

_LOST = "Lost since"
_FIRST = "–"
_SAME_NETWORK = (table.STUDENT_SPARSE, table.STUDENT_QUANTIZED)  # made of the one before; others were trained apart


def headers(summary: Summary) -> tuple[str, ...]:
    """Returns the titles of the columns."""
    merit = merits.of(summary)
    judged = (merit.title, merit.with_unit(_LOST)) if merit.names_classes or merit.known(summary) else ()
    return ("Stage", "Came from", *judged, "Agreement" if merit.names_classes else "MSE", "SQNR, dB")


def rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each, in the order of `headers`."""
    titles = headers(summary)
    found = [_row(row, summary) for row in summary.stages]
    return tuple(tuple(row[each] for each in titles) for row in found)


def ratio(row: StageRow) -> str | None:
    """Returns the signal-to-noise ratio since the one before in decibels: `34.8`, or `identical`.

    None where it was not measured, and where it tells nothing: two networks that were trained apart may agree on every
    class and differ in every logit. What they give back for their inputs can be compared.
    """
    apart = row.kind == "network" and row.name not in _SAME_NETWORK and row.reconstruction is None
    if row.before is None or apart:
        return None
    return None if row.sqnr_db is None and not row.identical else formatting.decibels(row.sqnr_db)


def graph(summary: Summary) -> Figure | None:
    """Returns what each step lost as dots with intervals, or None where that is not known."""
    merit = merits.of(summary)
    known = [(row, drop) for row in summary.stages if (drop := merit.drop_of_stage(row)) is not None]
    if not known:
        return None
    names = [figures.text(table.title_of(row.name, summary)) for row, _ in known]
    told = [
        f"since {table.title_of(row.before or '', summary)}: {merit.difference(drop.value)}{merit.unit}, "
        f"{merit.difference_interval(drop)}"
        for row, drop in known
    ]
    colours = [ROLE_COLOURS.get(row.name, _FILES if row.kind == "file" else GREY) for row, _ in known]
    drops = [drop for _, drop in known]
    return figures.dots(names, drops, colours, x=merit.lost, factor=merit.factor, told=told, zero=True)


_FILES = "#8b5cf6"


def _row(row: StageRow, summary: Summary) -> dict[str, str]:
    """Returns the texts of a row by the headers of all columns that there may be."""
    merit = merits.of(summary)
    worth, drop = merit.of_stage(row), merit.drop_of_stage(row)
    came = row.before is not None and (drop is not None or row.reconstruction is not None)
    agreement = formatting.percent(row.agreement.value if row.agreement else None)
    return {
        "Stage": table.title_of(row.name, summary),
        "Came from": table.title_of(row.before or "", summary) if came else _FIRST,
        merit.title: formatting.NOT_MEASURED if worth is None else merit.with_interval(worth),
        merit.with_unit(_LOST): merit.difference_with_interval(drop) if came and drop else _FIRST,
        "Agreement": agreement if came else _FIRST,
        "MSE": formatting.number(row.reconstruction.mse if row.reconstruction else None),
        "SQNR, dB": (ratio(row) if came else None) or _FIRST,
    }
