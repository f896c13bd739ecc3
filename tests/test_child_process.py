"""Trying files in child processes."""

import subprocess
import sys

import pytest

from edgekd import child_process
from edgekd.errors import ModelError

TRIAL = """
import os, signal, sys
from pathlib import Path
from edgekd import child_process
from edgekd.errors import DataError

def attempt(path):
    what = path.read_text()
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "refuse":
        raise DataError("this file is refused")
    if what == "memory":
        raise MemoryError
    if what == "fail":
        raise RuntimeError("something else")
    print("what a library prints")

child_process.answer(attempt, Path(sys.argv[1]))
"""


@pytest.fixture
def trial(tmp_path, monkeypatch):
    (tmp_path / "edgekd_test_trial.py").write_text(TRIAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def run(content: str) -> None:
        path = tmp_path / "file"
        path.write_text(content)
        child_process.require_passes(path, module="edgekd_test_trial")

    return run


def test_a_file_that_opens_passes_whatever_its_parser_prints(trial):
    trial("good")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("crash", "crashed its parser with SIGSEGV"),
        ("refuse", "^this file is refused$"),
        ("memory", "needs more than 16 GiB of memory"),
        ("fail", "could not be tried in a child process: RuntimeError: something else"),
    ],
)
def test_what_goes_wrong_in_the_child_is_an_error_here(trial, content, words):
    with pytest.raises(ModelError, match=words):
        trial(content)


def test_memory_is_limited_for_the_process_that_asks():
    script = "from edgekd import child_process; child_process.limit_memory(); bytearray(64 << 30)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr
