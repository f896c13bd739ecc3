"""How good files are against what it costs: their latency, size and memory, with the front of the best ones."""

import dataclasses
from collections.abc import Callable, Sequence

from edgekd.records import Artifact, Interval, ModelRecord
from edgekd.report import figure as figures
from edgekd.report import formatting, table
from edgekd.report import merit as merits
from edgekd.report.differences import measured_alike
from edgekd.report.figure import COLOURS, GREY, Figure
from edgekd.report.front import front
from edgekd.report.merit import Merit
from edgekd.report.runs import ReportedRun

BY_ESTIMATES = "by the estimates; files whose intervals overlap may be as good"
"""What is to be said of a front, which knows nothing of intervals."""

_SYMBOLS = {"tflite": "circle", "onnx": "diamond"}
# What is drawn on points where colours begin anew, as Plotly and as a reader calls it.
_SIGNS = {"": "nothing", "-cross": "a cross", "-x": "an x", "-dot": "a dot"}
_INK = "#0f172a"  # on points of middle tones, light and dark alike
# Of networks that files are held to: how a line and how a point of each is drawn.
_BASELINES = {
    table.TEACHER: ("dash", "star-open"),
    table.STUDENT_LABELS: ("dot", "triangle-up-open"),
    table.STUDENT_DISTILLED: ("longdash", "square-open"),
}
_LONG_NAME = 32  # letters, of which a legend has one column
_LINE = 20  # of a legend, in pixels
_BYTES_OF_A_PARAMETER = 4  # in float32


@dataclasses.dataclass(frozen=True)
class Cost:
    """One thing that being good costs.

    Attributes:
      key: names it in ids and documents.
      name: in words.
      axis: title of the axis.
      unit: of the numbers there.
      of_file: what a file costs, with its interval where there is one; None where that is not known.
      of_network: the same of a Keras network; None where nothing can be said.
      measured: whether it depends on what a file ran on, and when, so that only files of one run can be ranked.
      ranked: whether files are ranked by it at all.
    """

    key: str
    name: str
    axis: str
    unit: str
    of_file: Callable[[ReportedRun, Artifact], tuple[float, Interval | None] | None]
    of_network: Callable[[ModelRecord], float | None]
    measured: bool = False
    ranked: bool = True

    def title(self, merit: Merit) -> str:
        """Returns that of its graph."""
        return f"{merit.title} against {self.name}"


def _latency(run: ReportedRun, artifact: Artifact) -> tuple[float, Interval | None] | None:
    found = table.latency_of(artifact.name, run.summary.measurements)
    return None if found is None else (found.latency_ms.p50, found.latency_ms.interval)


def _size(run: ReportedRun, artifact: Artifact) -> tuple[float, Interval | None]:
    del run
    return artifact.size_bytes / 1024, None


def _memory(run: ReportedRun, artifact: Artifact) -> tuple[float, Interval | None] | None:
    del run
    live = [cost.live_bytes for cost in artifact.operators]
    known = [each for each in live if each is not None]
    return (max(known) / 1024, None) if known and len(known) == len(live) else None


def _peak_memory(run: ReportedRun, artifact: Artifact) -> tuple[float, Interval | None] | None:
    found = table.latency_of(artifact.name, run.summary.measurements)
    return None if found is None or found.peak_memory_bytes is None else (found.peak_memory_bytes / 1024**2, None)


def _weights(model: ModelRecord) -> float | None:
    return None if model.parameters is None else _BYTES_OF_A_PARAMETER * model.parameters / 1024


def _unknown(model: ModelRecord) -> None:
    del model


COSTS = (
    Cost("latency", "latency", "p50 latency, ms", "ms", _latency, _unknown, measured=True),
    Cost("size", "size", "file size, KiB", "KiB", _size, _weights),
    Cost("memory", "memory of activations", "activations at once, KiB", "KiB", _memory, _unknown),
    # Nearly all of it is the interpreter's own, and it has no interval: a rank would be of noise.
    Cost(
        "peak_memory",
        "measured memory",
        "peak memory of the process, MiB",
        "MiB",
        _peak_memory,
        _unknown,
        measured=True,
        ranked=False,
    ),
)


@dataclasses.dataclass(frozen=True)
class Point:
    """One file of one run, with what it costs.

    Attributes:
      run: position of its run.
      artifact: the file.
      worth: how good it is on the test split: its top-1 accuracy, or AUC.
      cost: in the unit of the axis.
      interval: of the cost.
      drop: interval of what it loses of that against the distilled student of its run.
    """

    run: int
    artifact: Artifact
    worth: float
    cost: float
    interval: Interval | None
    drop: Interval | None


def points(runs: Sequence[ReportedRun], cost: Cost) -> list[Point]:
    """Returns the files of all runs whose worth and cost are known."""
    found = []
    for number, run in enumerate(runs):
        merit = merits.of(run.summary)
        for artifact in run.summary.artifacts:
            known, worth = cost.of_file(run, artifact), merit.of_file(artifact)
            if known is None or worth is None:
                continue
            comparison = table.comparison_of(artifact.name, run.summary.comparisons)
            drop = merit.drop(comparison) if comparison else None
            found.append(Point(number, artifact, worth, *known, drop))
    return found


@dataclasses.dataclass(frozen=True)
class Front:
    """The best ones of files that can be ranked: of one run, or of the runs that have the same data.

    Attributes:
      group: number of the run, or of the data among those of the runs.
      name: what that is called; empty where there is one only.
      fingerprint: of the data.
      points: the files that no other one of the group beats, the cheapest first.
    """

    group: int
    name: str
    fingerprint: str
    points: tuple[Point, ...]


def fronts(runs: Sequence[ReportedRun], cost: Cost) -> list[Front]:
    """Returns the Pareto fronts of a cost that files are ranked by, in the order of the runs.

    There is one for each data, for accuracies or AUCs on other data are no match for each other. Of a measured cost
    there is one for each run whose files were measured alike: they took turns, and those of another run had another
    time.
    """
    if not cost.ranked:
        return []
    groups = _groups(runs, cost)
    names = _group_names(runs, cost)
    known = [point for point in points(runs, cost) if not cost.measured or measured_alike(runs[point.run])]
    found = []
    for number in dict.fromkeys(groups):
        alike = [point for point in known if groups[point.run] == number]
        best = tuple(alike[at] for at in front([(point.cost, point.worth) for point in alike]))
        fingerprint = runs[groups.index(number)].summary.data.fingerprint
        found += [Front(number, names[number], fingerprint, best)] if best else []
    return found


def others(runs: Sequence[ReportedRun]) -> str:
    """Returns what the files of a front are held to: `other file`, and of several runs which ones."""
    if len(runs) == 1:
        return "other file"
    shared = " with the same data" if len(set(_data_numbers(runs))) > 1 else ""
    return f"other file{shared}, and for latency no other one of the same run,"


def _groups(runs: Sequence[ReportedRun], cost: Cost) -> list[int]:
    """Returns the number of the group in which the files of each run are ranked."""
    return list(range(len(runs))) if cost.measured else _data_numbers(runs)


def _group_names(runs: Sequence[ReportedRun], cost: Cost) -> list[str]:
    if cost.measured:
        return [run.label if len(runs) > 1 else "" for run in runs]
    return _data_names(runs, _data_numbers(runs))


def _data_numbers(runs: Sequence[ReportedRun]) -> list[int]:
    """Returns the number of each run's data, in the order in which they first come."""
    order = list(dict.fromkeys(run.summary.data.fingerprint for run in runs))
    return [order.index(run.summary.data.fingerprint) for run in runs]


def _data_names(runs: Sequence[ReportedRun], numbers: Sequence[int]) -> list[str]:
    """Returns what each data is called: by its name, and where another has that too, by its runs."""
    count = max(numbers) + 1
    if count == 1:
        return [""]
    names = [runs[numbers.index(number)].summary.data.name for number in range(count)]
    labels = [[run.label for run, own in zip(runs, numbers, strict=True) if own == number] for number in range(count)]
    return [
        name if names.count(name) == 1 else f"{name} of {formatting.listed(own)}"
        for name, own in zip(names, labels, strict=True)
    ]


def in_words(runs: Sequence[ReportedRun], kept: Sequence[Point]) -> str:
    """Returns the names of files, with their runs where there are several."""
    return "; ".join(
        f"{runs[point.run].label}: {point.artifact.name}" if len(runs) > 1 else point.artifact.name for point in kept
    )


def graph(runs: Sequence[ReportedRun], cost: Cost) -> Figure | None:
    """Returns how good files are against a cost, or None where no file has both.

    Files are points, with the interval of the difference to the distilled student as vertical bars. Networks in Keras
    are hollow points where their cost can be told, with intervals of their own, and lines elsewhere.
    """
    found = points(runs, cost)
    if not found:
        return None
    several = len(runs) > 1
    merit = merits.of(runs[0].summary)
    networks = _networks(runs, cost, max(point.interval.high if point.interval else point.cost for point in found))
    groups = _groups(runs, cost)
    files = [_file(runs, point, cost, group=groups[point.run], several=several) for point in found]
    lines = [_front(each.group, each.points, merit) for each in fronts(runs, cost)]
    if len(lines) > 1:  # one entry in the legend stands for all, which filters may empty
        entry = _front(None, (), merit) | {"name": f"Pareto front of each {'run' if cost.measured else 'data'}"}
        lines = [entry, *(line | {"showlegend": False} for line in lines)]
    entries = [_entry(runs, run) for run in dict.fromkeys(point.run for point in found)] if several else []
    drawn = figures.figure([*networks, *lines, *entries, *files], x=_axis(runs, cost), y=merit.axis)
    drawn["layout"]["height"] = 440
    # An entry of the legend stands for a whole run: the page's filter hides that, a click could not.
    drawn["layout"]["legend"] |= {"itemclick": False, "itemdoubleclick": False} if several else {}
    shown = [trace["name"] for trace in drawn["data"] if trace.get("showlegend", True)]
    columns = 1 if max(map(len, shown)) > _LONG_NAME else 2
    drawn["layout"]["legend"] |= {"entrywidth": 1 / columns, "entrywidthmode": "fraction"}
    if columns == 1:
        drawn["layout"]["height"] += _LINE * len(shown) // 2
    costs = [point.cost for point in found] + [each["x"][0] for each in networks if each["mode"] == "markers"]
    if min(costs) > 0 and max(costs) > 10 * min(costs):
        drawn["layout"]["xaxis"] |= {"type": "log", "dtick": "D2", "tickformat": ",~g", "rangemode": "normal"}
    return drawn


def repeats(runs: Sequence[ReportedRun]) -> str:
    """Returns what tells points of one colour apart, of runs or of one run's files; empty where none is repeated."""
    number = len(runs) if len(runs) > 1 else len(runs[0].summary.artifacts)
    if number <= len(COLOURS):
        return ""
    signs = formatting.listed(list(_SIGNS.values())[1:])
    return f"Colours repeat after {len(COLOURS)}; points are then marked with {signs}, in this order."


def _axis(runs: Sequence[ReportedRun], cost: Cost) -> str:
    """Returns the title of the axis, with the targets where it is of measurements."""
    targets = {table.shown_target(run.summary.measurements) for run in runs} - {None}
    if not cost.measured or not targets:
        return cost.axis
    return f"{cost.axis}, on {' and '.join(figures.text(str(each)) for each in sorted(map(str, targets)))}"


def _file(runs: Sequence[ReportedRun], point: Point, cost: Cost, *, group: int, several: bool) -> Figure:
    artifact, run = point.artifact, runs[point.run]
    merit = merits.of(run.summary)
    place = point.run if several else run.summary.artifacts.index(artifact)
    colour = _colour(place)
    name = figures.text(f"{run.label}: {artifact.name}" if several else artifact.name)
    kinds = [table.kind_of_file(each) for each in run.summary.artifacts]
    kind = table.kind_of_file(artifact)
    short = run.label if several else kind if kinds.count(kind) == 1 else artifact.name
    gain = None
    if point.drop is not None:  # a file is the worse the larger the drop
        value = point.drop.value
        gain = Interval(value=-value, low=-point.drop.high, high=-point.drop.low)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": figures.text(short),
        "x": [point.cost],
        "y": [merit.factor * point.worth],
        "error_x": figures.error_bars(point.interval, point.cost, 1.0, colour),
        "error_y": figures.error_bars(gain, gain.value if gain else 0.0, merit.factor, colour),
        "marker": _marker(place, _SYMBOLS.get(artifact.format, "square")),
        "meta": _meta(str(point.run), artifact.format, artifact.scheme)
        | {"file": in_words(runs, [point]), "group": group},
        "hovertemplate": f"<b>{name}</b><br>%{{x:.4g}} {cost.unit}, {merit.pointed_at}<extra></extra>",
        "showlegend": not several,
    }


def _entry(runs: Sequence[ReportedRun], run: int) -> Figure:
    """Returns a run's entry in the legend, without a point: it stays as long as the run itself is not filtered out."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": figures.text(runs[run].label),
        "x": [None],
        "y": [None],
        "marker": _marker(run, "circle"),
        "meta": _meta(str(run), "", ""),
    }


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _marker(place: int, symbol: str) -> Figure:
    """Returns how the points of a file, or of a run, are drawn: by colour, and by a sign on it from the ninth on."""
    suffix = list(_SIGNS)[place // len(COLOURS) % len(_SIGNS)]
    sign = {"size": 13, "line": {"color": _INK, "width": 1.2}} if suffix else {"size": 11}
    return {"color": _colour(place), "symbol": f"{symbol}{suffix}", **sign}


def _meta(run: str, form: str, scheme: str) -> dict[str, str]:
    """Returns what the page's filter asks of a point; an empty text is what it does not ask of this one."""
    return {"run": run, "format": form, "scheme": scheme}


def _front(group: int | None, kept: Sequence[Point], merit: Merit) -> Figure:
    """Returns the front of a group; without one, what stands in the legend for those of several."""
    return {
        # The page finds a front anew among the files that are seen.
        **({} if group is None else {"meta": {"front": True, "group": group}}),
        "name": "Pareto front",
        "type": "scatter",
        "mode": "lines+markers",
        "x": [point.cost for point in kept] or [None],
        "y": [merit.factor * point.worth for point in kept] or [None],
        "line": {"color": "rgba(128,128,128,0.7)", "width": 1.5, "shape": "hv"},
        "marker": {"symbol": "circle-open", "size": 20, "color": "rgba(128,128,128,0.9)", "line": {"width": 1.5}},
        "hoverinfo": "skip",
    }


def _networks(runs: Sequence[ReportedRun], cost: Cost, most: float) -> list[Figure]:
    """Returns teachers and students in Keras; of several runs, the teachers alone, each once."""
    traces: list[Figure] = []
    seen: set[str] = set()
    for number, run in enumerate(runs):
        merit = merits.of(run.summary)
        for role, model in run.summary.models.items():
            key = model.weights_sha256 or f"{number} {role}"
            shown = role in _BASELINES if len(runs) == 1 else role == table.TEACHER
            if merit.of_model(model) is None or key in seen or not shown:
                continue
            seen.add(key)
            title = table.title(role, merit)
            name = figures.text(title if len(runs) == 1 else f"{title} of {run.label}")
            colour = GREY if len(runs) == 1 else _colour(number)
            trace = _network(model, name, cost.of_network(model), most, colour, merit)
            shared = sum(model.weights_sha256 in _weights_of(each) for each in runs) > 1
            meta = _meta("" if shared else str(number), "keras", "")
            traces.append(trace | {"showlegend": len(runs) == 1, "meta": meta})
    return traces


def _weights_of(run: ReportedRun) -> set[str]:
    return {model.weights_sha256 for model in run.summary.models.values() if model.weights_sha256 is not None}


def _network(model: ModelRecord, name: str, x: float | None, most: float, colour: str, merit: Merit) -> Figure:
    dash, symbol = _BASELINES[model.role]
    worth = merit.of_model(model) or 0.0
    trace = {"type": "scatter", "name": name, "hovertemplate": f"{merit.pointed_at}<extra>{name}</extra>"}
    if x is None:
        line = {"color": colour, "dash": dash, "width": 1.5}
        return {**trace, "mode": "lines", "x": [0.0, most * 1.1], "y": [merit.factor * worth] * 2, "line": line}
    size = formatting.size(round(1024 * x))
    return {
        **trace,
        "mode": "markers",
        "x": [x],
        "y": [merit.factor * worth],
        "error_y": figures.error_bars(merit.interval_of_model(model), worth, merit.factor, colour),
        "marker": {"color": colour, "size": 11, "symbol": symbol, "line": {"width": 1.6}},
        "hovertemplate": f"{size} of float32 parameters, {merit.pointed_at}<extra>{name}</extra>",
    }
