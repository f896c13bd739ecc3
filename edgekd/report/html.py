"""The report as one self-contained HTML page: no network, light and dark, wide and narrow, and it prints."""

import functools
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from edgekd.records import Summary, TensorSpec
from edgekd.report import anatomy, estimates, exactness, formatting, headline, plots, provenance, sparsity, table
from edgekd.report.terms import TERMS

_FOLDER = Path(__file__).parent


def render(summary: Summary) -> str:
    """Returns the page; the same summary gives the same bytes."""
    return _template().render(
        summary=summary,
        verdict=headline.verdict(summary),
        facts=headline.facts(summary),
        rows=table.rows(summary),
        figures=_figures(summary),
        loss_roles=[role for role, curve in summary.curves.items() if curve],
        sparsity_headers=sparsity.HEADERS,
        sparsity_rows=sparsity.rows(summary),
        estimates=estimates,
        exactness_headers=exactness.HEADERS,
        exactness_rows=exactness.rows(summary),
        anatomy_headers=anatomy.HEADERS,
        anatomy_rows=anatomy.rows(summary),
        provenance=provenance.entries(summary),
        terms=TERMS,
        longest_seconds=max(summary.seconds.values(), default=0.0),
        total_seconds=sum(summary.seconds.values()),
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        script=(_FOLDER / "page.js").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
    )


def _figures(summary: Summary) -> dict[str, plots.Figure]:
    """Returns the figures by the id of the element that each is drawn into."""
    found = {
        "plot-size": plots.accuracy_by_size(summary),
        "plot-latency": plots.accuracy_by_latency(summary),
        "plot-size-by-operator": plots.size_by_operator(summary),
        "plot-memory": plots.memory_by_operator(summary),
        "plot-accuracy": plots.accuracy_by_epoch(summary),
        **{f"plot-loss-{role}": plots.loss_by_epoch(curve, role) for role, curve in summary.curves.items()},
    }
    return {key: figure for key, figure in found.items() if figure is not None}


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        name: getattr(formatting, name)
        for name in (
            "percent",
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
    environment.filters.update(filters, title_of=table.title, kind_of_file=table.kind_of_file, tensor=_tensor)
    environment.globals["NOT_MEASURED"] = formatting.NOT_MEASURED
    return environment.get_template("page.html.j2")


def _tensor(spec: TensorSpec) -> str:
    shape = " × ".join("any" if size is None else str(size) for size in spec.shape)
    return f"{spec.name}: {shape} {spec.dtype}"
