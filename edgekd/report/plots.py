"""The graphs of one run: how it learned, and what takes the bytes and the memory of its files."""

import itertools
from collections.abc import Sequence

from edgekd.records import Artifact, EpochRecord, OperatorCost, Summary
from edgekd.report import merit as merits
from edgekd.report import table
from edgekd.report.figure import COLOURS, ROLE_COLOURS, Figure, figure, in_two_lines, text

# Lines of a loss have nothing in common, so that they can be told apart without colours, too.
_LOSSES = (
    {"colour": "#3b82f6", "dash": "solid", "symbol": "circle"},
    {"colour": "#d97706", "dash": "dash", "symbol": "square"},
)
_TERMS = (
    {"colour": "#db2777", "dash": "dot", "symbol": "triangle-up"},
    {"colour": "#78849a", "dash": "longdash", "symbol": "diamond"},
    {"colour": "#b68655", "dash": "dashdot", "symbol": "x"},
    {"colour": "#9a67be", "dash": "longdashdot", "symbol": "cross"},
    {"colour": "#7245fa", "dash": "12px,3px,3px,3px,3px,3px", "symbol": "star"},
)
_MOST_MARKED = 25  # epochs: marks of more would hide the dashes


def accuracy_by_epoch(summary: Summary) -> Figure | None:
    """Returns every model's training and validation accuracy by epoch, or None where nothing was trained."""
    traces = []
    for role, curve in _curves(summary):
        colour = _role_colour(role)
        name = text(table.title(role, merits.ACCURACY))
        validation, training = (
            _line(curve, [_percent(value) for value in values], f"{name}, {split}", colour, unit=" %", dash=dash)
            for split, values, dash in (
                ("validation", [row.validation_accuracy for row in curve], "solid"),
                ("training", [row.accuracy for row in curve], "dot"),
            )
        )
        # One entry of the legend for both: which is which stands below the graph.
        traces += [
            validation | {"name": name, "legendgroup": name},
            training | {"name": name, "legendgroup": name, "showlegend": False},
        ]
    return figure(traces, x="epoch", y="accuracy, %", whole_x=True) if traces else None


def error_by_epoch(summary: Summary) -> Figure | None:
    """Returns the validation error of every model that reconstructs by epoch, or None where nothing was trained."""
    curves = _curves(summary)
    if not curves:
        return None
    traces = [
        _line(curve, [row.validation_loss for row in curve], text(table.title(role, merits.AUC)), _role_colour(role))
        for role, curve in curves
    ]
    return _with_room(figure(traces, x="epoch", y="mean squared error", whole_x=True))


def loss_by_epoch(curve: Sequence[EpochRecord], *, errors: bool = False) -> Figure | None:
    """Returns one model's training loss, its weighted terms and its validation loss by epoch.

    Args:
      curve: of the model.
      errors: whether these are squared errors, which may fall by orders of magnitude.
    """
    if not curve:
        return None
    training, validation = _LOSSES
    traces = [
        _line(curve, [row.loss for row in curve], "training", **training),
        _line(curve, [row.validation_loss for row in curve], "validation", **validation),
    ]
    names = sorted({term for row in curve for term in row.terms})
    if len(names) > 1:
        for term, style in zip(names, itertools.cycle(_TERMS)):
            traces.append(_line(curve, [row.terms.get(term) for row in curve], f"term {text(term)}", **style))
    drawn = figure(traces, x="epoch", y="loss", whole_x=True)
    return _with_room(drawn) if errors else drawn


def size_by_operator(summary: Summary) -> Figure | None:
    """Returns each file's bytes, piece by piece: the constants of each operator, and what is left for the structure.

    None where no file's operators are known.
    """
    files = [artifact for artifact in summary.artifacts if artifact.operators]
    traces = []
    # One trace for the first operator with constants of every file, one for the second, and so on.
    pieces = [[cost for cost in artifact.operators if cost.weights_bytes] for artifact in files]
    for place, costs in enumerate(itertools.zip_longest(*pieces)):
        traces.append(_bars(files, costs, COLOURS[place % len(COLOURS)]))
    if not files:
        return None
    rest = [max(each.size_bytes - sum(cost.weights_bytes for cost in each.operators), 0) / 1024 for each in files]
    traces.append(
        {
            **_bar([_on_axis(each) for each in files], rest, "rgba(128,128,128,0.45)"),
            "hovertemplate": "%{x:.4g} KiB: structure and metadata<extra>%{y}</extra>",
        }
    )
    drawn = figure(traces, x="KiB", y="")
    drawn["layout"] |= {"barmode": "stack", "showlegend": False, "bargap": 0.35}
    drawn["layout"]["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    return drawn


def memory_by_operator(summary: Summary) -> Figure | None:
    """Returns the activations that live while each operator of a file runs, or None where that is not known.

    Operators are spread over the same width for every file, since the same network is cut into more of them in one
    format than in another.
    """
    traces = []
    for index, artifact in enumerate(summary.artifacts):
        known = [(at, cost) for at, cost in enumerate(artifact.operators) if cost.live_bytes is not None]
        if known:
            name, colour, last = text(artifact.name), COLOURS[index % len(COLOURS)], len(artifact.operators)
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
    drawn = figure(traces, x="operators that have run, %", y="activations, KiB")
    drawn["layout"]["xaxis"]["range"] = [0, 100]
    drawn["layout"]["yaxis"]["rangemode"] = "tozero"
    return drawn


def _bars(files: Sequence[Artifact], costs: Sequence[OperatorCost | None], colour: str) -> Figure:
    """Returns one piece of every file's bar; a file that has no such operator has none."""
    kept = [(artifact, cost) for artifact, cost in zip(files, costs, strict=True) if cost is not None]
    return {
        **_bar([_on_axis(artifact) for artifact, _ in kept], [cost.weights_bytes / 1024 for _, cost in kept], colour),
        "text": [_operator(cost) for _, cost in kept],
        "textposition": "none",
        "hovertemplate": "%{x:.4g} KiB: %{text}<extra>%{y}</extra>",
    }


def _bar(names: Sequence[str], sizes: Sequence[float], colour: str) -> Figure:
    # A thin line of the ground between pieces.
    marker = {"color": colour, "line": {"color": "rgba(128,128,128,0.9)", "width": 0.5}}
    return {"type": "bar", "orientation": "h", "y": list(names), "x": list(sizes), "marker": marker}


def _on_axis(artifact: Artifact) -> str:
    return in_two_lines(text(artifact.name))


def _operator(cost: OperatorCost) -> str:
    name = (cost.name or "").split(";")[0]
    return text(f"{cost.operator} {name}" if name else cost.operator)


def _curves(summary: Summary) -> list[tuple[str, tuple[EpochRecord, ...]]]:
    known = [role for role in table.TITLES if summary.curves.get(role)]
    others = [role for role, curve in summary.curves.items() if role not in table.TITLES and curve]
    return [(role, summary.curves[role]) for role in (*known, *others)]


def _with_room(drawn: Figure) -> Figure:
    """Returns a figure whose vertical axis is logarithmic where one value is more than ten times another."""
    values = [value for trace in drawn["data"] for value in trace["y"] if value is not None]
    if not 0 < min(values) < max(values) / 10:
        return drawn
    axis = {**drawn["layout"]["yaxis"], "type": "log", "dtick": "D2", "tickformat": ",~g"}
    return {**drawn, "layout": {**drawn["layout"], "yaxis": axis}}


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _role_colour(role: str) -> str:
    return ROLE_COLOURS.get(role, "#0d9488")


def _line(
    curve: Sequence[EpochRecord],
    values: Sequence[float | None],
    name: str,
    colour: str,
    *,
    unit: str = "",
    dash: str = "solid",
    symbol: str = "circle",
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(curve) <= _MOST_MARKED else "lines",
        "name": name,
        "x": [row.epoch for row in curve],
        "y": list(values),
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"color": colour, "size": 5 if symbol == "circle" else 7, "symbol": symbol},
        "hovertemplate": f"%{{y:.4g}}{unit}<extra>{name}</extra>",
    }
