"""Every script in tools/ says what it does before it does anything."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
# Started by other scripts, with what they hand over.
WORKERS = {"cache_scaling", "training_torch", "training_variants"}


def scripts():
    return sorted(path for path in TOOLS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def test_there_are_scripts_and_the_known_workers():
    assert len(scripts()) > 15
    assert {path.stem for path in scripts()} >= WORKERS


@pytest.mark.parametrize("path", [path for path in scripts() if path.stem not in WORKERS], ids=lambda path: path.stem)
def test_help_tells_what_a_script_is_for_and_does_nothing(path, monkeypatch, capsys):
    before = {each: each.stat().st_mtime_ns for each in (TOOLS.parent / "docs").rglob("*.md")}
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.syspath_prepend(str(TOOLS))  # as when it is run: some import their neighbours
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(path), run_name="__main__")
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    summary = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).split("\n")[0]
    assert printed.startswith("usage: ")
    assert summary.split()[0] in printed
    assert {each: each.stat().st_mtime_ns for each in before} == before
