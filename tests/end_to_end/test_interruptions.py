"""Killed, stopped, out of space: the same command goes on and ends as if nothing had happened."""

import csv
import io
import json
import os
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
PATIENCE_SECONDS = 240


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


def assert_same_training(folder: Path, expected: Path) -> None:
    for role in ("teacher", "student_labels", "student_distilled"):
        assert (folder / role / "model.keras").read_bytes() == (expected / role / "model.keras").read_bytes(), role


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process.poll() is None, "the run ended before the moment came"
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.01)


def test_the_same_weights_after_kill_9_at_random_moments(
    command: list[str], tmp_path: Path, cache: Path, finished: RunResult
) -> None:
    """Filling of the cache, student with its adapter and schedule, export; another test stops the teacher."""
    out = tmp_path / "run"
    seed = int(time.time())
    print(f"random moments of seed {seed}")  # noqa: T201 - shown when the test fails
    moments = random.Random(seed)  # noqa: S311
    for place, begun in (
        (cache, "**/rows-*.npy"),
        (out, "student_distilled/checkpoint.npz"),
        (out, "export/*.tflite"),
    ):
        process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda place=place, begun=begun: any(place.glob(begun)), process)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "summary.json").exists()
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_run(out, finished.folder)


def test_a_stopped_run_goes_on_and_has_the_bytes_of_a_run_in_another_process(
    command: list[str], tmp_path: Path, finished: RunResult
) -> None:
    out = tmp_path / "run"
    until_teacher = [*command, "--out", str(out)]
    process = subprocess.Popen(until_teacher, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    wait_for((out / "teacher" / "checkpoint.npz").exists, process)
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM, err.decode()
    assert b"stopped by SIGTERM" in err
    assert b"Traceback" not in err
    done = subprocess.run(until_teacher, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_run(out, finished.folder)


def test_a_full_disk_is_one_clear_line_and_the_run_goes_on_when_there_is_space(
    command: list[str], tmp_path: Path, finished: RunResult
) -> None:
    # A limit on the size of files stands for the full disk: the system refuses the write in the same place.
    out = tmp_path / "run"
    limited = [*command, "--out", str(out), "--set", "export=[]", "--set", "bench.targets=[]"]
    limit = 30_000

    def no_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        limited,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=no_space,
        env=os.environ,
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("edgekd: cannot write ")
    assert "Traceback" not in done.stderr
    assert not list(out.rglob(".partial-*"))
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_training(out, finished.folder)


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
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
