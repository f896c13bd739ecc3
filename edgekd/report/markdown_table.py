"""Tables of GitHub-flavoured Markdown, of plain texts or of cells that are Markdown themselves."""

import re
from collections.abc import Iterable, Sequence

from edgekd.report.formatting import NOT_MEASURED

_ESCAPED = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "|": "\\|",
        "\\": "\\\\",
        "`": "\\`",
        "*": "\\*",
        "[": "\\[",
        "]": "\\]",
        "\n": " ",
        "\r": " ",
    }
)
_BAR = re.compile(r"(?<!\\)((?:\\\\)*)\|")  # behind no backslash, or behind pairs of them


def text(plain: str) -> str:
    """Returns a text so that Markdown shows it as it is, in one line; an empty one says that nothing was measured."""
    return plain.translate(_ESCAPED) or NOT_MEASURED


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table of plain texts, without a line break at the end."""
    return of_markdown(list(map(text, headers)), (list(map(text, row)) for row in rows))


def of_markdown(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table whose cells are Markdown, such as links; bars in them do not end a cell."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(_BAR.sub(r"\1\\|", cell) for cell in line) + " |" for line in lines)
