"""Profiles as one self-contained HTML page: bars within bars, as wide as their time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd import plot_page
from edgekd.bench.profiling.records import Profile


def write_plot(profiles: Sequence[Profile], path: Path) -> None:
    """Writes a page with one graph for each profile; it needs no network, and the same profiles give the same bytes."""
    plot_page.write("edgekd bench --profile", [(_title(each), figure(each)) for each in profiles], path)


def figure(profile: Profile) -> dict[str, Any]:
    """Returns a Plotly figure, a plain dictionary: the inference, kinds of operators, operators."""
    kinds = list(dict.fromkeys(each.operator for each in profile.operators))
    totals = {kind: sum(each.time_us.value for each in profile.operators if each.operator == kind) for kind in kinds}
    operators = [
        (f"operator {each.number}", f"{each.number} {each.place}", each.operator, each.time_us.value)
        for each in profile.operators
    ]
    icicle = {
        "type": "icicle",
        "ids": ["all", *kinds, *(each[0] for each in operators)],
        "labels": ["operators", *kinds, *(each[1] for each in operators)],
        "parents": ["", *["all"] * len(kinds), *(each[2] for each in operators)],
        "values": [sum(totals.values()), *totals.values(), *(each[3] for each in operators)],
        "branchvalues": "total",
        "tiling": {"orientation": "v"},
        "hovertemplate": "%{label}<br>%{value:.1f} µs, %{percentRoot:.1%}<extra></extra>",
    }
    return {"data": [icicle], "layout": {"height": 420, "margin": {"t": 20, "l": 10, "r": 10, "b": 10}}}


def _title(profile: Profile) -> str:
    return f"{profile.model}, {profile.runtime}: {profile.whole_us.value:.0f} µs"
