"""What all figures of a report share: axes, colours, error bars, as plain dictionaries that Plotly draws.

Colours are middle tones that stand out on white and on near-black; text and grid take the page's own colours from its
style sheet. Names are escaped, since Plotly reads some HTML in its texts.
"""

import html
from typing import Any

from edgekd.records import Interval
from edgekd.report import table

Figure = dict[str, Any]

COLOURS = ("#3b82f6", "#d97706", "#0d9488", "#db2777", "#8b5cf6", "#78849a", "#65932b", "#c2553c")
GREY = "#78849a"
ROLE_COLOURS = {
    table.TEACHER: GREY,
    table.STUDENT_LABELS: "#d97706",
    table.STUDENT_DISTILLED: "#3b82f6",
    table.STUDENT_SPARSE: "#65932b",
    table.STUDENT_QUANTIZED: "#0d9488",
}
"""The colour of each network, the same in all graphs that tell networks apart."""
_LONG = 18  # characters of a name on an axis
_GRID = "rgba(128,128,128,0.25)"


def figure(traces: list[Figure], *, x: str, y: str, whole_x: bool = False) -> Figure:
    """Returns a figure with titles on its axes; `whole_x` is for an axis of whole numbers, such as epochs."""

    def axis(title: str) -> Figure:
        return {
            "title": {"text": title, "standoff": 8, "font": {"size": 13}},
            "gridcolor": _GRID,
            "zeroline": False,
            "automargin": True,
            "linecolor": _GRID,
        }

    x_axis = {**axis(x), "showgrid": False, "rangemode": "normal" if whole_x else "tozero"}
    if whole_x:
        last = max(max(trace["x"]) for trace in traces)
        x_axis |= {"tickformat": "d", "dtick": max(1, -(-last // 8)), "tick0": 0}
    return {
        "data": traces,
        "layout": {
            **layout(),
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": x_axis,
            "yaxis": axis(y),
            # Above the graph: below it would lie the title of the axis.
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
            "hovermode": "x unified" if whole_x else "closest",
            "dragmode": False,
        },
    }


def layout() -> Figure:
    """Returns what graphs with axes and without have in common: edges, ground, letters and what is said of a mark."""
    return {
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "hoverlabel": {"bgcolor": "#1d2733", "bordercolor": "#1d2733", "font": {"color": "#ffffff", "size": 12}},
    }


def error_bars(interval: Interval | None, around: float, factor: float, colour: str) -> Figure:
    """Returns the bars of an interval around a value, both times a factor; none are seen without an interval."""
    if interval is None:
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": [factor * max(interval.high - around, 0.0)],
        "arrayminus": [factor * max(around - interval.low, 0.0)],
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }


def dots(
    names: list[str],
    intervals: list[Interval],
    colours: list[str],
    *,
    x: str,
    factor: float = 100.0,
    told: list[str],
    zero: bool = False,
) -> Figure:
    """Returns estimates as dots with their intervals, one below the other.

    Args:
      names: of the rows, each once, as Plotly may take them for markup.
      intervals: what each row shows.
      colours: of the dots.
      x: title of the axis.
      factor: what values are multiplied by.
      told: what a row says when it is pointed at.
      zero: whether to draw a line at 0.
    """
    values = [factor * each.value for each in intervals]
    names = [in_two_lines(name) for name in names]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": names,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [factor * max(each.high - each.value, 0.0) for each in intervals],
            "arrayminus": [factor * max(each.value - each.low, 0.0) for each in intervals],
            "color": GREY,
            "thickness": 1.6,
            "width": 5,
        },
        "marker": {"color": colours, "size": 11},
        "text": [text(each) for each in told],
        "hovertemplate": "%{text}<extra>%{y}</extra>",
        "showlegend": False,
    }
    drawn = figure([trace], x=x, y="")
    drawn["layout"]["xaxis"] |= {"rangemode": "normal", "showgrid": True}
    # One row more than there are, so that the first and the last have room.
    drawn["layout"]["yaxis"] |= {"autorange": False, "range": [len(names) - 0.4, -0.6], "type": "category"}
    drawn["layout"]["yaxis"]["showgrid"] = False
    drawn["layout"]["height"] = 80 + 36 * len(names)
    if zero:
        line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": 0, "x1": 0}
        drawn["layout"]["shapes"] = [{**line, "line": {"color": GREY, "dash": "dash", "width": 1.2}}]
    return drawn


def in_two_lines(name: str) -> str:
    """Returns a long name of a file broken after its first part, so that a phone has room beside it."""
    first, dash, rest = name.partition("-")
    return f"{first}-<br>{rest}" if dash and len(name) > _LONG and "<br>" not in name else name


def text(name: str) -> str:
    """Returns a name as Plotly may take it for markup."""
    return html.escape(name, quote=False)
