"""Which classes are taken for which: a matrix for each model, and the most frequent confusions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekd.predictions import Predictions
from edgekd.report import figure as figures
from edgekd.report import table
from edgekd.report.figure import Figure
from edgekd.report.runs import ReportedRun

MOST_CLASSES = 100
"""Of which a matrix is drawn: more could not be told apart."""

CLASS_HEADERS = ("Is", "Named right", "Named otherwise, the most frequent first")
MOST_TABLED = 25
"""Up to how many classes there is a table of every matrix: of more, ten tables would take more room than the graphs."""

_MOST_ROWS = 10
_WRITTEN = 15  # classes whose counts have room in the cells
_SCALE = [[0.0, "rgba(59,130,246,0)"], [1.0, "rgba(59,130,246,0.75)"]]

Array = np.ndarray[Any, Any]


def matrix(labels: Array, classes: Array, count: int) -> Array:
    """Returns how many samples of each class (rows) were named each class (columns): [count, count] integers.

    Args:
      labels: [samples] integer classes.
      classes: [samples] integer classes, as a model names them.
      count: how many classes there are.
    """
    return np.bincount(labels * count + classes, minlength=count * count).reshape(count, count)


def matrices(run: ReportedRun) -> dict[str, Array]:
    """Returns the matrix of every network and file of a run, in the order of `names`; none without predictions."""
    found = run.predictions
    if found is None:
        return {}
    count = len(run.summary.data.class_names)
    return {name: matrix(found.labels, found.classes[name], count) for name in names(found)}


def names(found: Predictions) -> tuple[str, ...]:
    """Returns the models whose matrices are shown, the one that is shown first at the beginning: the last compared."""
    first = found.compared[-1:]
    return (*first, *(name for name in found.classes if name not in first))


def graph(run: ReportedRun, *, most: int | None = None) -> Figure | None:
    """Returns the first `most` matrices, or all, one of which is seen; None without predictions or of many classes."""
    count = len(run.summary.data.class_names)
    found = list(matrices(run).values()) if count <= MOST_CLASSES else []
    if not found:
        return None
    traces = [_trace(counts, visible=number == 0) for number, counts in enumerate(found[:most])]
    drawn = figures.figure(traces, x="named as", y="class")
    labels = _ticks(run.summary.data.class_names)
    drawn["layout"]["meta"] = {"classes": [figures.text(name) for name in run.summary.data.class_names]}
    drawn["layout"]["xaxis"] |= {**labels, "tickangle": -45, "rangemode": "normal", "constrain": "domain"}
    drawn["layout"]["yaxis"] |= {**labels, "autorange": "reversed", "showgrid": False}
    return drawn


def table_of(run: ReportedRun) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns headers and rows of the most frequent confusions of the last compared model, beside the others."""
    found = run.predictions
    if found is None or not found.compared:
        return (), []
    class_names = run.summary.data.class_names
    shown = tuple(reversed(found.compared))
    counts = {name: matrix(found.labels, found.classes[name], len(class_names)) for name in shown}
    pairs = _most_frequent(counts[shown[0]])
    rows = [
        (class_names[row], class_names[column], *(f"{int(counts[name][row, column]):,}" for name in shown))
        for row, column in pairs
    ]
    return ("Is", "Named", *(table.title_of(name, run.summary) for name in shown)), rows


def classes_of(run: ReportedRun, counts: Array) -> list[tuple[str, ...]]:
    """Returns one row of texts for each class of a matrix, in the order of CLASS_HEADERS: every cell that is not 0.

    Args:
      run: the run.
      counts: [classes, classes], one of its `matrices`.
    """
    class_names = run.summary.data.class_names
    found: list[tuple[str, ...]] = []
    for place, row in enumerate(counts):
        others = [int(at) for at in np.argsort(-row, kind="stable") if row[at] and at != place]
        told = ", ".join(f"{class_names[at]}: {row[at]:,}" for at in others)
        found.append((class_names[place], f"{row[place]:,} of {row.sum():,}", told or "–"))
    return found


def _most_frequent(counts: Array) -> list[tuple[int, int]]:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_ROWS]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [(int(row), int(column)) for row, column in places if wrong[row, column]]


def _trace(counts: Array, *, visible: bool) -> Figure:
    """Returns a matrix as its counts alone: page.js makes of them the colours, and what a cell says."""
    count = len(counts)
    written: Mapping[str, Any] = {"texttemplate": "%{text}"} if count <= _WRITTEN else {}
    return {
        "type": "heatmap",
        "visible": visible,
        "z": counts.tolist(),
        "x": list(range(count)),
        "y": list(range(count)),
        "zmin": 0,
        "zmax": 1,
        "colorscale": _SCALE,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        **written,
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _ticks(class_names: Sequence[str]) -> Figure:
    """Returns class names as ticks, shortened; every so many where there is no room for all."""
    step = -(-len(class_names) // 25)
    places = list(range(0, len(class_names), step))
    short = [name if len(name) <= 14 else f"{name[:13]}…" for name in class_names]
    return {"tickmode": "array", "tickvals": places, "ticktext": [figures.text(short[at]) for at in places]}
