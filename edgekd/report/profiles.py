"""Where the time of an inference goes, operator by operator: a table and a graph of bars within bars."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from edgekd import plot_page
from edgekd.records import OperatorTime, Profile
from edgekd.report import formatting
from edgekd.report.figure import COLOURS, GREY, Figure, layout, text

HEADERS = ("Operator", "Node", "Time, µs", "95 % interval", "Share")


def title(profile: Profile) -> str:
    """Returns the file, the runtime and the time of an inference, with and without profiling."""
    return (
        f"{profile.model}, {profile.runtime}, 1 thread: {profile.whole_us.value:.0f} µs a profiled inference "
        f"({profile.plain_us.value:.0f} µs without profiling), "
        f"{formatting.counted(profile.processes, 'process', 'processes')}"
    )


def rows(profile: Profile) -> list[tuple[str, ...]]:
    """Returns each operator's texts in the order of HEADERS, the longest first."""
    ordered = sorted(profile.operators, key=lambda each: -each.time_us.value)
    return [(each.operator, each.place, *_time_cells(each)) for each in ordered]


def total(profile: Profile) -> str:
    """Returns a sentence on whether the operators add up to the whole."""
    told = (
        f"the operators add up to {profile.share_of_operators:.1%} of the whole; rounding down to microseconds takes "
        f"away up to {profile.share_lost_to_rounding:.1%}"
    )
    if profile.adds_up is None:
        return f"{told}: too much to tell whether they add up"
    return told if profile.adds_up else f"{told}: the rest is the profiler's own time, so that the shares mislead"


def figure(profile: Profile) -> Figure:
    """Returns a Plotly figure, a plain dictionary: the inference, kinds of operators, operators, as wide as their time.

    Shares are those of the table, of the whole inference. Names are escaped, since Plotly reads some HTML in its texts.
    """
    kinds = list(dict.fromkeys(each.operator for each in profile.operators))
    totals = {kind: sum(each.time_us.value for each in profile.operators if each.operator == kind) for kind in kinds}
    shares = {kind: sum(each.share for each in profile.operators if each.operator == kind) for kind in kinds}
    colours = dict(zip(kinds, itertools.cycle(COLOURS), strict=False))
    icicle = {
        "type": "icicle",
        "ids": ["all", *(f"kind {kind}" for kind in kinds), *(f"operator {each.number}" for each in profile.operators)],
        "labels": [
            "operators",
            *(text(kind) for kind in kinds),
            *(str(each.number) for each in profile.operators),
        ],
        "text": [
            "operators",
            *(text(kind) for kind in kinds),
            *(text(_told(each)) for each in profile.operators),
        ],
        "textinfo": "label",
        "parents": ["", *["all"] * len(kinds), *(f"kind {each.operator}" for each in profile.operators)],
        "values": [sum(totals.values()), *totals.values(), *(each.time_us.value for each in profile.operators)],
        "customdata": [profile.share_of_operators, *shares.values(), *(each.share for each in profile.operators)],
        "branchvalues": "total",
        "tiling": {"orientation": "v"},
        "marker": {
            "colors": [GREY, *colours.values(), *(colours[each.operator] for each in profile.operators)],
            "line": {"color": "rgba(128,128,128,0.9)", "width": 0.5},
        },
        "leaf": {"opacity": 0.8},
        "textfont": {"color": "#0f172a"},
        "hovertemplate": "%{text}<br>%{value:.1f} µs, %{customdata:.1%} of the whole<extra></extra>",
    }
    return {
        "data": [icicle],
        # A name that would have to be smaller is left out; pointing at the bar says it.
        "layout": layout() | {"uniformtext": {"minsize": 10, "mode": "hide"}},
    }


def write_page(profiles: Sequence[Profile], path: Path) -> None:
    """Writes a page with one graph for each profile; it needs no network, and the same profiles give the same bytes.

    Below each graph stands whether the operators add up to the whole.
    """
    figures = [(title(each), figure(each)) for each in profiles]
    plot_page.write("edgekd bench --profile", figures, path, notes=[total(each) for each in profiles])


def _time_cells(timed: OperatorTime) -> tuple[str, str, str]:
    """Returns an operator's time, its interval and its share; what is less than a microsecond is not known."""
    time = timed.time_us
    if time.value < 1:
        return "< 1", "", f"< {1 / time.value * timed.share:.1%}" if time.value else ""
    interval = f"{time.low:.1f} to {time.high:.1f}" if time.confidence else formatting.NOT_MEASURED
    return f"{time.value:.1f}", interval, formatting.percent(timed.share)


def _told(timed: OperatorTime) -> str:
    """Returns an operator with its place in the order of execution, and with the node's name where it has one."""
    return f"{timed.number} {timed.operator}" + ("" if timed.place.isdecimal() else f", {timed.place}")
