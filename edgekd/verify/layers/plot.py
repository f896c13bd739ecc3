"""A comparison operator by operator as one self-contained HTML page."""

import html
from pathlib import Path
from typing import Any

from edgekd import plot_page
from edgekd.verify.layers.records import LayerComparison, LayerRow

_GOOD, _BAD, _UNKNOWN, _CUMULATIVE = "#3b82f6", "#dc2626", "#78849a", "#d97706"
_LEAST = 1e-3  # where nothing differs: a logarithm has no zero


def write_plot(comparisons: tuple[LayerComparison, ...], path: Path) -> None:
    """Writes a page with two graphs for each comparison: excess of the local error, and both signal-to-noise ratios.

    It needs no network, and the same comparisons give the same bytes.
    """
    plot_page.write("edgekd verify --layers", [(_title(each), figure(each)) for each in comparisons], path)


def figure(comparison: LayerComparison) -> dict[str, Any]:
    """Returns the graphs as a Plotly figure, a plain dictionary."""
    rows = comparison.rows
    names = [f"{number} {row.candidate_operator}" for number, row in enumerate(rows)]
    told = [_told(row) for row in rows]
    excess = {
        "type": "bar",
        "name": "local error / limit",
        "x": names,
        "y": [max(row.excess, _LEAST) if row.excess is not None else None for row in rows],
        "marker": {"color": [_colour(row) for row in rows]},
        "text": told,
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "yaxis": "y",
    }
    ratios = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": names,
            "y": [_sqnr(row, name) for row in rows],
            "line": {"color": colour, "width": 2},
            "hovertemplate": "%{y:.1f} dB<extra>" + name + "</extra>",
            "yaxis": "y2",
        }
        for name, colour in (("local", _GOOD), ("cumulative", _CUMULATIVE))
    ]
    limit = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": 1, "y1": 1}
    return {
        "data": [excess, *ratios],
        "layout": {
            "height": 640,
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "xaxis": {"automargin": True, "tickangle": -45, "anchor": "y2", "type": "category"},
            "yaxis": {
                "title": {"text": "local error / what rounding explains"},
                "type": "log",
                "domain": [0.55, 1],
                "automargin": True,
            },
            "yaxis2": {"title": {"text": "SQNR, dB"}, "domain": [0, 0.45], "automargin": True},
            "shapes": [{**limit, "line": {"color": _BAD, "dash": "dash", "width": 1.5}}],
            "showlegend": True,
        },
    }


def _title(comparison: LayerComparison) -> str:
    verdict = "FAILED" if comparison.status == "failed" else comparison.status
    return f"{comparison.candidate} against {comparison.reference}: {verdict}"


def _told(row: LayerRow) -> str:
    lines = (f"{row.reference_operator} {row.reference_tensor}", row.candidate_tensor, row.reason, row.note)
    excess = None if row.excess is None else f"{row.excess:.3g} times the limit"
    return "<br>".join(html.escape(line) for line in (*lines, excess) if line)


def _colour(row: LayerRow) -> str:
    return _UNKNOWN if row.passed is None else _GOOD if row.passed else _BAD


def _sqnr(row: LayerRow, name: str) -> float | None:
    error = row.local if name == "local" else row.cumulative
    return None if error is None else error.sqnr_db
