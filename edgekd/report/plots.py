"""The graphs of a report, as Plotly figures in plain dictionaries.

Colours are middle tones that stand out on white and on near-black; text and grid take the page's own colours from its
style sheet. Names are escaped, since Plotly reads some HTML in its texts.
"""

import html
import itertools
from collections.abc import Sequence
from typing import Any

from edgekd.records import Artifact, EpochRecord, Interval, OperatorCost, Summary
from edgekd.report import table

Figure = dict[str, Any]

_ROLE_COLOURS = {table.TEACHER: "#78849a", table.STUDENT_LABELS: "#d97706", table.STUDENT_DISTILLED: "#3b82f6"}
_COLOURS = ("#3b82f6", "#d97706", "#0d9488", "#db2777", "#8b5cf6", "#78849a", "#65932b", "#c2553c")
_TERM_COLOURS = ("#8b5cf6", "#0d9488", "#db2777", "#65932b", "#c2553c")
_SYMBOLS = {"tflite": "circle", "onnx": "diamond"}
_GRID = "rgba(128,128,128,0.25)"


def accuracy_by_epoch(summary: Summary) -> Figure | None:
    """Returns every model's training and validation accuracy by epoch, or None where nothing was trained."""
    traces = []
    for role, curve in _curves(summary):
        colour = _role_colour(role)
        name = _text(table.title(role))
        traces += [
            _line(curve, [100 * row.validation_accuracy for row in curve], f"{name}, validation", colour, unit=" %"),
            _line(curve, [100 * row.accuracy for row in curve], f"{name}, training", colour, unit=" %", dash="dot"),
        ]
    return _figure(traces, x="epoch", y="accuracy, %", whole_x=True) if traces else None


def loss_by_epoch(curve: Sequence[EpochRecord], role: str) -> Figure | None:
    """Returns one model's training loss, its weighted terms and its validation loss by epoch."""
    if not curve:
        return None
    colour = _role_colour(role)
    traces = [
        _line(curve, [row.loss for row in curve], "training", colour),
        _line(curve, [row.validation_loss for row in curve], "validation", colour, dash="dash"),
    ]
    names = sorted({term for row in curve for term in row.terms})
    if len(names) > 1:
        for term, shade in zip(names, itertools.cycle(_TERM_COLOURS)):
            values = [row.terms.get(term) for row in curve]
            traces.append(_line(curve, values, f"term {_text(term)}", shade, dash="dot", markers=False))
    return _figure(traces, x="epoch", y="loss", whole_x=True)


def accuracy_by_size(summary: Summary) -> Figure | None:
    """Returns each file's accuracy against its size, or None where no file has been verified.

    Vertical bars are the interval of the difference to the distilled student, which is drawn as a line.
    """
    traces = [
        _point(artifact, index, artifact.size_bytes / 1024, "%{x:.1f} KiB", summary)
        for index, artifact in enumerate(summary.artifacts)
        if artifact.accuracy is not None
    ]
    return _figure(_with_reference(traces, summary), x="file size, KiB", y="accuracy, %") if traces else None


def accuracy_by_latency(summary: Summary) -> Figure | None:
    """Returns each file's accuracy against its p50 latency, or None where none was measured.

    The latency is the one of the table, with the fewest threads; horizontal bars show its interval.
    """
    traces = []
    for index, artifact in enumerate(summary.artifacts):
        measurement = table.latency_of(artifact.name, summary.measurements)
        if measurement is None or artifact.accuracy is None:
            continue
        latency = measurement.latency_ms
        trace = _point(artifact, index, latency.p50, "%{x:.4g} ms", summary)
        trace["error_x"] = _error_bars(latency.interval, latency.p50, 1.0, trace["marker"]["color"])
        traces.append(trace)
    return _figure(_with_reference(traces, summary), x="p50 latency, ms", y="accuracy, %") if traces else None


def size_by_operator(summary: Summary) -> Figure | None:
    """Returns each file's bytes, piece by piece: the constants of each operator, and what is left for the structure.

    None where no file's operators are known.
    """
    files = [artifact for artifact in summary.artifacts if artifact.operators]
    traces = []
    # One trace for the first operator with constants of every file, one for the second, and so on.
    pieces = [[cost for cost in artifact.operators if cost.weights_bytes] for artifact in files]
    for place, costs in enumerate(itertools.zip_longest(*pieces)):
        traces.append(_bars(files, costs, _COLOURS[place % len(_COLOURS)]))
    if not files:
        return None
    rest = [max(each.size_bytes - sum(cost.weights_bytes for cost in each.operators), 0) / 1024 for each in files]
    traces.append(
        {
            **_bar([_text(each.name) for each in files], rest, "rgba(128,128,128,0.45)"),
            "hovertemplate": "%{x:.4g} KiB: structure and metadata<extra>%{y}</extra>",
        }
    )
    figure = _figure(traces, x="KiB, a piece for each operator; grey: structure and metadata", y="")
    figure["layout"] |= {"barmode": "stack", "showlegend": False, "bargap": 0.35}
    figure["layout"]["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    return figure


def memory_by_operator(summary: Summary) -> Figure | None:
    """Returns the activations that live while each operator of a file runs, or None where that is not known.

    Operators are spread over the same width for every file, since the same network is cut into more of them in one
    format than in another.
    """
    traces = []
    for index, artifact in enumerate(summary.artifacts):
        known = [(at, cost) for at, cost in enumerate(artifact.operators) if cost.live_bytes is not None]
        if known:
            name, colour, last = _text(artifact.name), _COLOURS[index % len(_COLOURS)], len(artifact.operators)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name,
                    "x": [100 * (at + 0.5) / last for at, _ in known],
                    "y": [(cost.live_bytes or 0) / 1024 for _, cost in known],
                    "text": [_operator(cost) for _, cost in known],
                    "line": {"color": colour, "shape": "hvh", "width": 2},
                    "hovertemplate": f"%{{y:.4g}} KiB: %{{text}}<extra>{name}</extra>",
                }
            )
    if not traces:
        return None
    figure = _figure(traces, x="operators that have run, %", y="activations, KiB")
    figure["layout"]["xaxis"]["range"] = [0, 100]
    figure["layout"]["yaxis"]["rangemode"] = "tozero"
    return figure


def _bars(files: Sequence[Artifact], costs: Sequence[OperatorCost | None], colour: str) -> Figure:
    """Returns one piece of every file's bar; a file that has no such operator has none."""
    kept = [(artifact, cost) for artifact, cost in zip(files, costs, strict=True) if cost is not None]
    return {
        **_bar([_text(artifact.name) for artifact, _ in kept], [cost.weights_bytes / 1024 for _, cost in kept], colour),
        "text": [_operator(cost) for _, cost in kept],
        "textposition": "none",
        "hovertemplate": "%{x:.4g} KiB: %{text}<extra>%{y}</extra>",
    }


def _bar(names: Sequence[str], sizes: Sequence[float], colour: str) -> Figure:
    # A thin line of the ground between pieces.
    marker = {"color": colour, "line": {"color": "rgba(128,128,128,0.9)", "width": 0.5}}
    return {"type": "bar", "orientation": "h", "y": list(names), "x": list(sizes), "marker": marker}


def _operator(cost: OperatorCost) -> str:
    name = (cost.name or "").split(";")[0]
    return _text(f"{cost.operator} {name}" if name else cost.operator)


def _curves(summary: Summary) -> list[tuple[str, tuple[EpochRecord, ...]]]:
    known = [role for role in table.TITLES if summary.curves.get(role)]
    others = [role for role, curve in summary.curves.items() if role not in table.TITLES and curve]
    return [(role, summary.curves[role]) for role in (*known, *others)]


def _role_colour(role: str) -> str:
    return _ROLE_COLOURS.get(role, "#0d9488")


def _line(
    curve: Sequence[EpochRecord],
    values: Sequence[float | None],
    name: str,
    colour: str,
    *,
    unit: str = "",
    dash: str = "solid",
    markers: bool = True,
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers" if markers or len(curve) == 1 else "lines",
        "name": name,
        "x": [row.epoch for row in curve],
        "y": list(values),
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour, "size": 5},
        "hovertemplate": f"%{{y:.4g}}{unit}<extra>{name}</extra>",
    }


def _point(artifact: Artifact, index: int, x: float, x_format: str, summary: Summary) -> Figure:
    name, colour = _text(artifact.name), _COLOURS[index % len(_COLOURS)]
    comparison = table.comparison_of(artifact.name, summary.comparisons)
    drop = comparison.accuracy_drop if comparison else None
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [x],
        "y": [100 * (artifact.accuracy or 0.0)],
        "error_y": _error_bars(_negated(drop), -drop.value if drop else 0.0, 100.0, colour),
        "marker": {"color": colour, "size": 11, "symbol": _SYMBOLS.get(artifact.format, "square")},
        "hovertemplate": f"{x_format}, %{{y:.2f}} %<extra>{name}</extra>",
    }


def _with_reference(traces: list[Figure], summary: Summary) -> list[Figure]:
    """Adds the distilled student's own accuracy as a line to what its files are compared with."""
    reference = summary.models.get(table.STUDENT_DISTILLED)
    if reference is None or reference.accuracy is None or not traces:
        return traces
    ends = [0.0, max(trace["x"][0] for trace in traces) * 1.1]
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "distilled student (Keras)",
        "x": ends,
        "y": [100 * reference.accuracy] * 2,
        "line": {"color": "#78849a", "dash": "dash", "width": 1.5},
        "hovertemplate": "%{y:.2f} %<extra>distilled student (Keras)</extra>",
    }
    return [line, *traces]


def _error_bars(interval: Interval | None, around: float, factor: float, colour: str) -> Figure:
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


def _negated(drop: Interval | None) -> Interval | None:
    """Returns a drop's interval as one of accuracy, which falls where the drop grows."""
    return None if drop is None else Interval(value=-drop.value, low=-drop.high, high=-drop.low)


def _figure(traces: list[Figure], *, x: str, y: str, whole_x: bool = False) -> Figure:
    def axis(title: str) -> Figure:
        return {
            "title": {"text": title, "standoff": 8},
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
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13},
            "xaxis": x_axis,
            "yaxis": axis(y),
            "legend": {"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "font": {"size": 12}},
            "hovermode": "x unified" if whole_x else "closest",
            "hoverlabel": {"bgcolor": "#1d2733", "bordercolor": "#1d2733", "font": {"color": "#ffffff", "size": 12}},
            "dragmode": False,
        },
    }


def _text(name: str) -> str:
    return html.escape(name, quote=False)
