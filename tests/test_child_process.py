"""Foreign files in child processes: whatever happens there is an error here."""

import contextlib
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgekd import child_process
from edgekd.child_process import Child, Limits
from edgekd.errors import DataError, ModelError

TRIAL = """
import os, signal, sys, time
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
        bytearray(1 << 30)
    if what == "hang":
        child = os.fork()
        (path.parent / f"{'child' if child == 0 else 'parent'}.pid").write_text(str(os.getpid()))
        time.sleep(600)
    if what == "fail":
        raise RuntimeError("something else")
    print("what a library prints")

def handle(question, arrays):
    print("what a library prints")
    if isinstance(question, str):
        attempt(Path(question))
    return {"asked": question}, [array * 2 for array in arrays]

if len(sys.argv) > 1:
    child_process.answer(attempt, Path(sys.argv[1]))
else:
    child_process.serve(handle)
"""
MODULE = "edgekd_test_trial"
SMALL = Limits(seconds=60, memory_bytes=512 << 20)


@pytest.fixture(autouse=True)
def trial_module(tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text(TRIAL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture(params=["once", "asked"])
def trial(request, tmp_path):
    """Tries a file of that content, in a child for this one answer or in one that is asked."""

    def run(content: str, limits: Limits = SMALL) -> None:
        path = tmp_path / "file"
        path.write_text(content)
        if request.param == "once":
            child_process.require_passes(path, module=MODULE, limits=limits)
            return
        with contextlib.closing(Child(MODULE, limits=limits)) as child:
            child.ask(str(path), path=path, doing="opened")

    return run


def test_a_file_that_opens_passes_whatever_its_parser_prints(trial):
    trial("good")


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ("crash", ModelError, "file' crashed its parser with SIGSEGV when it was opened in a child process"),
        ("refuse", DataError, "^this file is refused$"),
        ("memory", ModelError, "file' needs more than 0.5 GiB of memory"),
        ("fail", ModelError, "file' could not be tried in a child process: RuntimeError: something else"),
    ],
)
def test_what_goes_wrong_in_the_child_is_an_error_here(trial, content, kind, words):
    with pytest.raises(kind, match=words):
        trial(content)


def test_a_child_that_hangs_is_ended_with_all_that_it_started(trial, tmp_path):
    start = time.monotonic()
    trial("good")
    seconds = 1 + 3 * (time.monotonic() - start)  # enough to begin to hang, on this machine at this moment
    with pytest.raises(ModelError, match=r"could not be opened within .* s in a child process"):
        trial("hang", Limits(seconds=seconds, memory_bytes=SMALL.memory_bytes))
    for name in ("parent", "child"):
        pid = int((tmp_path / f"{name}.pid").read_text())
        for _ in range(100):
            if not _runs(pid):
                break
            time.sleep(0.05)
        assert not _runs(pid), name


def test_a_child_answers_again_and_again_and_doubles_arrays(tmp_path):
    arrays = (np.arange(6, dtype=np.int8).reshape(2, 3), np.zeros((0, 2), np.float64), np.float32(1.5))
    large = np.ones(1 << 22, np.float32)  # more than a pipe holds
    with contextlib.closing(Child(MODULE, limits=SMALL)) as child:
        for question in ({"a": [1, None]}, 2):
            answer, received = child.ask(question, arrays, path=tmp_path, doing="run")
            assert answer == {"asked": question}
            for sent, array in zip(arrays, received, strict=True):
                np.testing.assert_array_equal(array, np.asarray(sent) * 2)
                assert array.dtype == np.asarray(sent).dtype
        (back,) = child.ask(None, [large], path=tmp_path, doing="run")[1]
        assert np.array_equal(back, large * 2)


def test_an_error_leaves_a_child_alive_and_a_crash_does_not(tmp_path):
    refused, crashing = tmp_path / "refused", tmp_path / "crashing"
    refused.write_text("refuse")
    crashing.write_text("crash")
    with contextlib.closing(Child(MODULE, limits=SMALL)) as child:
        with pytest.raises(DataError):
            child.ask(str(refused), path=refused, doing="run")
        assert child.ask(1, path=refused, doing="run")[0] == {"asked": 1}
        with pytest.raises(ModelError, match="crashing' crashed its parser with SIGSEGV when it was run"):
            child.ask(str(crashing), path=crashing, doing="run")
        with pytest.raises(ModelError, match="is gone: open the file again"):
            child.ask(1, path=refused, doing="run")


def test_a_child_that_nobody_closes_ends_with_its_owner(tmp_path):
    child = Child(MODULE, limits=SMALL)
    child.ask(1, path=tmp_path, doing="run")
    pid = child._process.pid
    del child
    gc.collect()
    assert not _runs(pid)


def test_the_environment_sets_the_limits(monkeypatch):
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    assert child_process.default_limits() == Limits(seconds=600, memory_bytes=min(half, 16 << 30))
    monkeypatch.setenv("EDGEKD_CHILD_SECONDS", "1.5")
    monkeypatch.setenv("EDGEKD_CHILD_MEMORY_GIB", "0.25")
    assert child_process.default_limits() == Limits(seconds=1.5, memory_bytes=1 << 28)
    for wrong in ("many", "0", "-1", "inf", "nan"):
        monkeypatch.setenv("EDGEKD_CHILD_MEMORY_GIB", wrong)
        with pytest.raises(ModelError, match=f"EDGEKD_CHILD_MEMORY_GIB is '{wrong}': expected a positive number"):
            child_process.default_limits()


def test_memory_is_limited_for_the_process_that_asks():
    script = "from edgekd import child_process; child_process.limit_memory(); bytearray(64 << 30)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
