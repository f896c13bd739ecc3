"""Error layer by layer: how far each operator's output is from that of the network that a file was made from."""

from edgekd.records import LayerErrors, OperatorError, Summary
from edgekd.report import figure as figures
from edgekd.report import formatting, table
from edgekd.report.figure import COLOURS, Figure
from edgekd.report.formatting import NOT_MEASURED

HEADERS = ("File", "Against", "Operators", "SQNR at the end, dB", "Least SQNR, dB", "Local error / limit")
OPERATOR_HEADERS = ("Operator", "Tensor", "SQNR, dB", "Alone, dB", "Local error / limit")
_IDENTICAL = "identical"
_NO_NAME = "–"


def rows(summary: Summary) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each file that was compared, in the order of HEADERS."""
    return tuple(_row(each, summary) for each in summary.layers if each.rows)


def operators(errors: LayerErrors) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each operator of a file in the network's order, in the order of OPERATOR_HEADERS."""
    return tuple(
        (
            f"{number} {row.operator}",
            row.tensor or _NO_NAME,
            _IDENTICAL if row.identical else _decibels(row.sqnr_db),
            _IDENTICAL if row.local_sqnr_db is None and row.excess == 0 else _decibels(row.local_sqnr_db),
            formatting.number(row.excess),
        )
        for number, row in enumerate(errors.rows, start=1)
    )


def notes(summary: Summary) -> tuple[str, ...]:
    """Returns why files could not be compared operator by operator."""
    return tuple(f"{each.candidate}: {each.reason}" for each in summary.layers if each.reason)


def graph(summary: Summary) -> Figure | None:
    """Returns each file's signal-to-noise ratio after each operator, or None where no file was compared.

    Operators are spread over the same width for every file, since formats cut a network differently.
    """
    traces: list[Figure] = []
    order = [artifact.name for artifact in summary.artifacts]
    for each in summary.layers:
        if all(row.sqnr_db is None for row in each.rows):
            continue
        name, last = figures.text(each.candidate), len(each.rows)
        place = order.index(each.candidate) if each.candidate in order else len(traces)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": [100 * (at + 0.5) / last for at in range(last)],
                "y": [row.sqnr_db for row in each.rows],  # a gap where the two are equal
                "text": [_told(row) for row in each.rows],
                "line": {"color": COLOURS[place % len(COLOURS)], "width": 2},
                "marker": {"size": 5},
                "hovertemplate": f"%{{y:.1f}} dB after %{{text}}<extra>{name}</extra>",
            }
        )
    if not traces:
        return None
    drawn = figures.figure(traces, x="operators that have run, %", y="SQNR, dB")
    drawn["layout"]["xaxis"]["range"] = [0, 100]
    return drawn


def _row(errors: LayerErrors, summary: Summary) -> tuple[str, ...]:
    ratios = [(row.sqnr_db, row) for row in errors.rows if row.sqnr_db is not None]
    excesses = [(row.excess, row) for row in errors.rows if row.excess is not None]
    last = errors.rows[-1]
    least = min(ratios, key=lambda each: each[0], default=None)
    same = all(row.identical for row in errors.rows)
    most = max(excesses, key=lambda each: each[0], default=None)
    return (
        errors.candidate,
        table.title_of(errors.reference, summary),
        formatting.count(len(errors.rows)),
        _IDENTICAL if last.identical else _decibels(last.sqnr_db),
        f"{least[0]:.1f}, {_name(least[1])}" if least else _IDENTICAL if same else NOT_MEASURED,
        NOT_MEASURED if most is None else f"{formatting.number(most[0])}, {_name(most[1])}",
    )


def _decibels(ratio: float | None) -> str:
    return NOT_MEASURED if ratio is None else f"{ratio:.1f}"


def _name(row: OperatorError) -> str:
    return row.tensor or row.operator


def _told(row: OperatorError) -> str:
    local = f", {row.local_sqnr_db:.1f} dB alone" if row.local_sqnr_db is not None else ""
    return figures.text(f"{row.operator} {row.tensor}{local}")
