"""Plotly figures as one self-contained HTML page."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import storage


def write(
    title: str, figures: Sequence[tuple[str, Mapping[str, Any]]], path: Path, *, notes: Sequence[str] = ()
) -> None:
    """Writes a page with a heading and a graph for each figure.

    It needs no network, and the same figures give the same bytes.

    Args:
      title: of the page.
      figures: a heading and a Plotly figure, a plain dictionary, each.
      path: of the page.
      notes: a sentence below each graph; none by default.
    """
    import plotly.io  # half a second that a table does not need

    parts = [
        f"<h2>{html.escape(heading)}</h2>"
        + plotly.io.to_html(
            figure,
            full_html=False,
            include_plotlyjs=number == 0,
            validate=False,
            div_id=f"figure-{number}",
            config={"displaylogo": False},
        )
        + (f"<p>{html.escape(notes[number])}</p>" if notes else "")
        for number, (heading, figure) in enumerate(figures)
    ]
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title></head>'
    body = f'<body style="font-family:system-ui,sans-serif">{"".join(parts)}</body>'
    storage.write_text(path, f"{head}{body}</html>\n", option="--plot")
