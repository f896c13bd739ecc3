"""Turns a run's summary into pages for people: one HTML file, and Markdown.

Rendering is pure: a summary in, text out. `write` is for the pipeline and the command line, which alone write to a
user's folders. Nothing is imported before it is needed, so that the table alone costs no graphs.
"""

from pathlib import Path

from edgekd import storage
from edgekd.records import Summary

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"


def write(summary: Summary, folder: Path) -> tuple[Path, Path]:
    """Writes the report into a folder, each file atomically, and returns the paths of the HTML and the Markdown."""
    from edgekd.report import html, markdown

    html_path, markdown_path = folder / HTML_FILE, folder / MARKDOWN_FILE
    storage.write_text(html_path, html.render(summary))
    storage.write_text(markdown_path, markdown.render(summary))
    return html_path, markdown_path
