"""Turns summaries of runs into pages for people: one HTML file, and Markdown; and into one JSON document for programs.

Rendering is pure: runs in, text out. `write` is for the pipeline and the command line, which alone write to a
user's folders. Nothing is imported before it is needed, so that the table alone costs no graphs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd import storage

if TYPE_CHECKING:  # the table alone needs none of it
    from edgekd.report.runs import ReportedRun

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"
JSON_FILE = "report.json"

FORMATS = {"html": HTML_FILE, "markdown": MARKDOWN_FILE, "json": JSON_FILE}
"""The formats of a report, and the names of their files."""

PAGES = ("html", "markdown")
"""The formats that every run writes."""


def write(runs: "Sequence[ReportedRun]", folder: Path, *, formats: Sequence[str] = PAGES) -> tuple[Path, ...]:
    """Writes the report of some runs into a folder, each file atomically, and returns the paths of its files.

    Args:
      runs: one, or several to be shown side by side.
      folder: of the report.
      formats: what to write: keys of FORMATS.
    """
    paths = []
    for name in formats:
        path = folder / FORMATS[name]
        storage.write_text(path, _rendered(runs, name))
        paths.append(path)
    return tuple(paths)


def _rendered(runs: "Sequence[ReportedRun]", name: str) -> str:
    from edgekd.report import document, html, markdown

    if name == "html":
        return html.render(runs)
    if name == "markdown":
        return markdown.render(runs)
    return document.document(runs).model_dump_json(indent=2) + "\n"
