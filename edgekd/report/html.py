"""The report as one self-contained HTML page: no network, light and dark, wide and narrow, and it prints."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from edgekd.records import Summary, TensorSpec
from edgekd.report import (
    anatomy,
    caveats,
    confusion,
    disagreements,
    estimates,
    exactness,
    formatting,
    headline,
    latency,
    layers,
    methods,
    parities,
    plots,
    profiles,
    provenance,
    requirements,
    seeds,
    soundness,
    sparsity,
    stages,
    table,
    tensors,
    tradeoff,
    training,
)
from edgekd.report import merit as merits
from edgekd.report.differences import differences
from edgekd.report.figure import Figure
from edgekd.report.merit import Merit
from edgekd.report.runs import ReportedRun
from edgekd.report.terms import terms

MOST_DETAILED = 6
"""Of how many runs the details are shown."""

MOST_BYTES = 6_000_000
"""How large a page may become: beyond it, confusion matrices but the first are left out, then details of runs."""

_MOST_IMAGES = 36  # of all runs together, but four of each
_FOLDER = Path(__file__).parent
_DROP = "Vertical bars of files are the 95 % interval of the difference to the distilled student."
_CAPTIONS = {
    "latency": f"Upper left is better: faster and {{better}}. {_DROP} Horizontal ones are that of p50. Lines are "
    "networks in Keras, whose latency was not measured.",
    "size": f"Upper left is better: smaller and {{better}}. {_DROP} Hollow points are networks in Keras, with "
    "intervals of their own, at four bytes for each parameter.",
    "memory": f"Upper left is better. {_DROP} The largest amount of activations that live at once, as reckoned from "
    "the file. Lines are networks in Keras.",
    "peak_memory": f"Upper left is better. {_DROP} The most resident memory that the measuring process had, its "
    "runtime and its Python interpreter included. Lines are networks in Keras, which were not measured.",
}
_OF_SEVERAL = "Of these only teachers are shown, in the colour of their run. Circles are TFLite files, diamonds ONNX."
_FORMATS = {"keras": "Keras networks", **table.FORMATS}


@dataclasses.dataclass(frozen=True, eq=False)
class _View:
    """One run as the template shows it in detail; `prefix` begins the ids of its elements."""

    run: ReportedRun
    prefix: str
    figures: dict[str, Figure]
    disagreements: disagreements.Disagreements | None

    @property
    def summary(self) -> Summary:
        return self.run.summary

    @property
    def label(self) -> str:
        return self.run.label

    @property
    def matrices(self) -> dict[str, confusion.Array]:
        """Returns the confusion matrices that are drawn, by the network or file that each is of."""
        drawn = self.figures.get(f"{self.prefix}plot-confusion", {"data": ()})
        return dict(itertools.islice(confusion.matrices(self.run).items(), len(drawn["data"])))

    @property
    def tabled(self) -> dict[str, confusion.Array]:
        """Returns those of the matrices of which there are tables, too: of many classes only the first."""
        many = len(self.summary.data.class_names) > confusion.MOST_TABLED
        return dict(itertools.islice(self.matrices.items(), 1 if many else None))

    @property
    def loss_roles(self) -> list[str]:
        return [role for role, curve in self.summary.curves.items() if curve]

    @property
    def longest_seconds(self) -> float:
        return max(self.summary.seconds.values(), default=0.0)

    @property
    def total_seconds(self) -> float:
        return sum(self.summary.seconds.values())


def render(runs: Sequence[ReportedRun]) -> str:
    """Returns the page of one run, or of several side by side; the same runs give the same bytes."""
    if len(runs) > MOST_DETAILED:
        return _rendered(runs, details=False)
    page = _rendered(runs, details=True)
    if _too_large(page):
        page = _rendered(runs, details=True, matrices=1)
    if _too_large(page) and len(runs) > 1:
        page = _rendered(runs, details=False)
    return page


def _too_large(page: str) -> bool:
    return len(page.encode()) > MOST_BYTES


def _rendered(runs: Sequence[ReportedRun], *, details: bool, matrices: int | None = None) -> str:
    several = len(runs) > 1
    detailed = [
        _view(run, f"run-{number}-" if several else "", len(runs), matrices)
        for number, run in enumerate(runs if details else (), start=1)
    ]
    summaries = [run.summary for run in runs]
    merit = merits.of(summaries[0])
    found = methods.methods(runs)
    shared = _shared_figures(runs, found)
    figures = shared | {key: figure for view in detailed for key, figure in view.figures.items()}
    return _template().render(
        title=f"{len(runs)} runs side by side" if several else runs[0].summary.name,
        several=several,
        runs=runs,
        detailed=detailed,
        merit=merit,
        summaries=summaries,
        told_apart=headline.told_apart(summaries[0]),
        result_headers=table.headers(*summaries),
        result_legend=table.legend(*summaries),
        verdict=headline.verdict(*summaries),
        warnings=_warnings(runs),
        warning_count=sum(len(soundness.training_warnings(run)) for run in runs),
        notes=differences(runs),
        sections=_sections(runs[0].summary),
        choices=_choices(runs),
        costs=tradeoff.COSTS,
        captions=_captions(runs, merit),
        fronts=_fronts(runs),
        others=tradeoff.others(runs),
        absent=_absent(shared, summaries),
        method_rows=methods.rows(found),
        seed_rows=seeds.rows(seeds.over_seeds(runs), merit),
        seed_notes=seeds.notes(runs),
        figures=figures,
        terms=terms(*summaries),
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        script=(_FOLDER / "page.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )


def _view(run: ReportedRun, prefix: str, number_of_runs: int, matrices: int | None) -> _View:
    most = max(4, _MOST_IMAGES // number_of_runs)
    return _View(run, prefix, _figures(run, prefix, matrices), disagreements.disagreements(run, most=most))


def _shared_figures(runs: Sequence[ReportedRun], found: Sequence[methods.Method]) -> dict[str, Figure]:
    """Returns the figures in which all runs are, by the id of the element that each is drawn into."""
    graphs = {f"plot-{cost.key}": tradeoff.graph(runs, cost) for cost in tradeoff.COSTS}
    return _known({**graphs, "plot-methods": methods.graph(found)})


def _figures(run: ReportedRun, prefix: str, matrices: int | None) -> dict[str, Figure]:
    """Returns the figures of one run's details by the id of the element that each is drawn into."""
    summary = run.summary
    classes = merits.of(summary).names_classes
    found = {
        "plot-confusion": confusion.graph(run, most=matrices),
        "plot-stages": stages.graph(summary),
        "plot-layers": layers.graph(summary),
        "plot-size-by-operator": plots.size_by_operator(summary),
        "plot-memory-by-operator": plots.memory_by_operator(summary),
        "plot-accuracy": plots.accuracy_by_epoch(summary) if classes else None,
        "plot-error": None if classes else plots.error_by_epoch(summary),
        **{f"plot-profile-{number}": profiles.figure(each) for number, each in enumerate(summary.profiles)},
        **{
            f"plot-loss-{role}": plots.loss_by_epoch(curve, errors=not classes)
            for role, curve in summary.curves.items()
        },
    }
    return _known({f"{prefix}{key}": figure for key, figure in found.items()})


def _known(figures: dict[str, Figure | None]) -> dict[str, Figure]:
    return {key: figure for key, figure in figures.items() if figure is not None}


def _captions(runs: Sequence[ReportedRun], merit: Merit) -> dict[str, str]:
    """Returns what stands below the graph of each cost."""
    further = [_OF_SEVERAL if len(runs) > 1 else "", tradeoff.repeats(runs)]
    captions = {key: caption.format(better=merit.better) for key, caption in _CAPTIONS.items()}
    return {key: " ".join(filter(None, [caption, *further])) for key, caption in captions.items()}


def _absent(figures: dict[str, Figure], summaries: Sequence[Summary]) -> str:
    """Returns a sentence on the graphs that are missing for want of data; empty where none is."""
    merit = merits.of(summaries[0])
    missing = [cost.name for cost in tradeoff.COSTS if f"plot-{cost.key}" not in figures]
    if not missing:
        return ""
    verified = any(artifact.reconstruction for summary in summaries for artifact in summary.artifacts)
    if verified and not merit.known(*summaries):
        return (
            f"No graph of {merit.name} against what it costs: there is no {merit.name} without anomalies, which are "
            "test samples of a class that neither the training nor the validation split has."
        )
    return f"No graph of {merit.name} against {' or '.join(missing)}: that was not measured."


def _fronts(runs: Sequence[ReportedRun]) -> list[tuple[tradeoff.Cost, tradeoff.Front, str]]:
    """Returns each cost, each of its fronts, and the files on it in words."""
    found = [(cost, each) for cost in tradeoff.COSTS for each in tradeoff.fronts(runs, cost)]
    return [(cost, each, tradeoff.in_words(runs, each.points)) for cost, each in found]


def _warnings(runs: Sequence[ReportedRun]) -> list[tuple[str, tuple[tuple[tuple[str, ...], str], ...]]]:
    """Returns each run of which a training went wrong, with what was seen and what to do."""
    found = [(run.label, soundness.together(soundness.training_warnings(run))) for run in runs]
    return [(label, warnings) for label, warnings in found if warnings]


def _sections(summary: Summary) -> list[tuple[str, str]]:
    found = [
        ("sparsity", "Sparsity", bool(sparsity.rows(summary))),
        ("gates", "Gates", True),
        ("training", "Training", True),
        ("predictions", "Predictions", merits.of(summary).names_classes),
        ("stages", "Stages", bool(summary.stages)),
        ("latency", "Latency", True),
        ("profile", "Time by operator", bool(summary.profiles)),
        ("estimates", "Estimates", bool(summary.estimates)),
        ("parities", "Other processors", bool(summary.parities)),
        ("exactness", "Exactness", True),
        ("layers", "Layers", True),
        ("anatomy", "Size and memory", bool(anatomy.rows(summary))),
        ("provenance", "Provenance", True),
    ]
    return [(id_, name) for id_, name, shown in found if shown]


def _choices(runs: Sequence[ReportedRun]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Returns what the filter offers: a key, its title, and its values with their names; none of a single value."""
    artifacts = [artifact for run in runs for artifact in run.summary.artifacts]
    formats = dict.fromkeys(["keras", *(artifact.format for artifact in artifacts)])
    schemes = dict.fromkeys(artifact.scheme for artifact in artifacts)
    found = [
        ("run", "Run", [(str(number), run.label) for number, run in enumerate(runs)]),
        ("format", "Format", [(name, _FORMATS.get(name, name)) for name in formats]),
        ("scheme", "Scheme of files", [(name, name) for name in schemes]),
    ]
    return [each for each in found if len(each[2]) > 1]


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    filters: dict[str, Any] = {
        name: getattr(formatting, name)
        for name in (
            "percent",
            "share",
            "percent_interval",
            "points",
            "points_interval",
            "count",
            "short_count",
            "size",
            "milliseconds",
            "milliseconds_interval",
            "duration",
            "number",
            "counted",
        )
    }
    environment.filters.update(
        filters,
        title_in=table.title_of,
        kind_of_file=table.kind_of_file,
        tensor=_tensor,
    )
    environment.globals.update(
        BY_ESTIMATES=tradeoff.BY_ESTIMATES,
        MOST_MEGABYTES=MOST_BYTES // 1_000_000,
        ABSENT=(formatting.NOT_MEASURED, formatting.TOO_FEW_RUNS, formatting.TOO_FEW_PROCESSES, table.REFERENCE),
        NOT_MEASURED=formatting.NOT_MEASURED,
        anatomy=anatomy,
        caveats=caveats,
        confusion=confusion,
        estimates=estimates,
        exactness=exactness,
        headline=headline,
        latency=latency,
        layers=layers,
        methods=methods,
        parities=parities,
        profiles=profiles,
        provenance=provenance,
        requirements=requirements,
        seeds=seeds,
        sparsity=sparsity,
        stages=stages,
        table=table,
        tensors=tensors,
        training=training,
    )
    return environment.get_template("page.html.j2")


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name}: {formatting.shape(spec.shape)} {spec.dtype}"
