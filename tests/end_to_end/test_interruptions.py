"""Killed, stopped, out of space: the same command goes on and ends as if nothing had happened."""

import csv
import io
import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import ruamel.yaml

from edgekd.pipeline import RunResult

pytestmark = pytest.mark.slow

# What depends on the clock or on how fast the machine was; everything else must be the same.
VOLATILE = {"seconds", "training_seconds", "images_per_second", "measurements", "recipe_sha256"}
PATIENCE_SECONDS = 600  # on a machine that does much else


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty teacher cache for the test's own processes."""
    monkeypatch.setenv("EDGEKD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def command(tiny_recipe: dict[str, Any], tmp_path: Path, cache: Path) -> list[str]:
    with (tmp_path / "tiny.yaml").open("w") as file:
        ruamel.yaml.YAML(typ="safe", pure=True).dump(tiny_recipe, file)
    return [sys.executable, "-c", "from edgekd.cli import main; main()", "run", str(tmp_path / "tiny.yaml")]


def contents(folder: Path) -> dict[str, Any]:
    """Returns what a run's folder says, without what depends on the clock."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith(("bench/", "report.")) or "tensorboard" in name or path.name == ".lock":
            continue
        if path.suffix == ".json":
            found[name] = without_volatile(json.loads(path.read_text()))
            if path.name == "stage.json":  # its hashes are those of files that are compared themselves
                found[name]["files"] = sorted(found[name]["files"])
        elif path.suffix == ".csv":
            rows = csv.DictReader(io.StringIO(path.read_text()))
            found[name] = [without_volatile(row) for row in rows]
        else:
            found[name] = path.read_bytes()
    return found


def without_volatile(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: without_volatile(value) for key, value in document.items() if key not in VOLATILE}
    if isinstance(document, list):
        return [without_volatile(item) for item in document]
    return document


def assert_same_run(folder: Path, expected: Path) -> None:
    received, wanted = contents(folder), contents(expected)
    assert set(received) == set(wanted)
    different = [name for name in wanted if received[name] != wanted[name]]
    assert not different


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, "the run ended before the moment came"
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.01)


def written_since(begun: float, folder: Path, pattern: str) -> bool:
    return any(path.stat().st_mtime >= begun for path in folder.glob(pattern))


def started(command: list[str], folder: Path, pattern: str, **options: Any) -> subprocess.Popen[bytes]:
    """Starts the command, and returns when it has written a file of that pattern."""
    begun = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    wait_for(lambda: written_since(begun, folder, pattern), process)
    return process


def stop_while_the_teacher_learns(command: list[str], out: Path) -> None:
    process = started(command, out, "teacher/checkpoint.npz", stderr=subprocess.PIPE)
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM, err.decode()
    assert b"stopped by SIGTERM" in err
    assert b"Traceback" not in err


def run_out_of_space(command: list[str], out: Path, limit: int) -> None:
    """A limit on the size of files stands for the full disk: the system refuses the write in the same place."""

    def no_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=no_space)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("edgekd: cannot write ")
    assert "Traceback" not in done.stderr
    assert not list(out.rglob(".partial-*"))


def test_a_run_that_is_stopped_killed_and_out_of_space_ends_with_the_bytes_of_one_that_was_not(
    command: list[str], tmp_path: Path, cache: Path, finished: RunResult
) -> None:
    """One run, interrupted in its teacher, in the filling of the cache, in its student and in the export."""
    out = tmp_path / "run"
    command = [*command, "--out", str(out)]
    seed = int(time.time())
    print(f"random moments of seed {seed}")  # noqa: T201 - shown when the test fails
    moments = random.Random(seed)  # noqa: S311
    stop_while_the_teacher_learns(command, out)
    run_out_of_space(command, out, limit=30_000)
    assert not (out / "student_distilled" / "stage.json").exists()
    for folder, pattern in (
        (cache, "**/rows-*.npy"),
        (out, "student_distilled/checkpoint.npz"),
        (out, "export/*.tflite"),
    ):
        process = started(command, folder, pattern, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "summary.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_run(out, finished.folder)


def test_a_stopped_measurement_leaves_no_process_behind(finished: RunResult) -> None:
    model = finished.folder / "export" / "student-int8.tflite"
    command = [sys.executable, "-c", "from edgekd.cli import main; main()", "bench", str(model), "--processes", "50"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    parent = psutil.Process(process.pid)
    wait_for(lambda: bool(parent.children()), process)
    workers = parent.children(recursive=True)
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    assert err.decode().strip().splitlines()[-1] == "edgekd: stopped by SIGTERM."
    assert b"Traceback" not in err
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
