"""Real processes, killed or side by side: what is stored is right, and nothing is computed without need."""

import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from edgekd import storage
from edgekd.distill.cache import TeacherCache

# Arguments: cache folder, log of what was computed, batches after which it kills itself (0: never), seconds per batch.
FILL = """
    import os, signal, sys, time
    from pathlib import Path
    import numpy as np
    from edgekd.distill.cache import OutputIdentity, TeacherCache

    root, log, kill_after, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    batches = 0

    def compute(ids, view):
        global batches
        batches += 1
        if batches == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        with open(log, "a") as file:
            file.write(f"{view} {ids[0]}\\n")
        angles = 0.37 * ids[:, None] + 11.0 * view
        return {"logits": np.sin(angles + np.arange(10)).astype(np.float32),
                "stage2": np.cos(angles + np.arange(12)).reshape(-1, 2, 2, 3).astype(np.float32)}

    about = dict(teacher_sha256="a" * 64, preprocessing="pixel / 255", dataset_fingerprint="d" * 64, samples=21_000,
                 augmentation={"shift": 2, "flip": True}, seed=5, batch_size=1024, engine="formula 1.0")
    logits = OutputIdentity(**about, output="logits", shape=(10,), dtype="float32")
    maps = OutputIdentity(**about, output="stage2", shape=(2, 2, 3), dtype="float16")
    print("ready", flush=True)
    sys.stdin.readline()
    filled = TeacherCache(root).fill([each.at_view(view) for view in range(2) for each in (logits, maps)], compute)
    print(filled.computed_samples, flush=True)
"""
BATCHES = 2 * 21  # views, batches of 1024 in each; blocks of 4096 samples: 4 batches, 6 blocks per view


def start(root, log, *, kill_after=0, seconds=0.0):
    command = [sys.executable, "-c", textwrap.dedent(FILL), root, log, str(kill_after), str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def finish(process):
    out, _ = process.communicate()
    return int(out) if process.returncode == 0 else None


def batches_in(log):
    return log.read_text().splitlines() if log.exists() else []


def rows_of(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("rows-*.npy")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = start(folder / "cache", folder / "log")
    go(process)
    assert finish(process) == 2 * 21_000
    assert len(batches_in(folder / "log")) == BATCHES
    return rows_of(folder / "cache")


def test_a_filling_that_is_killed_goes_on_where_it_was(tmp_path, uninterrupted):
    root, log = tmp_path / "cache", tmp_path / "log"
    for kill_after in (7, 14, 1):
        there = rows_of(root)
        process = start(root, log, kill_after=kill_after)
        go(process)
        assert finish(process) is None
        assert process.returncode == -signal.SIGKILL
        assert there.items() <= rows_of(root).items() <= uninterrupted.items()
    whole = {path.name[:10] + path.parent.name for path in rows_of(root)}
    log.unlink()
    process = start(root, log)
    go(process)
    computed = finish(process)
    assert rows_of(root) == uninterrupted
    # 24 shards in all: two outputs, two views, six shards each; both outputs of a batch are computed together.
    assert 0 < len(whole) < 24
    blocks_left = {(path.name[:10], path.parent.name) for path in uninterrupted} - {
        (name[:10], name[10:]) for name in whole
    }
    assert len(batches_in(log)) <= 4 * len(blocks_left)
    assert computed < 2 * 21_000


def test_a_kill_at_any_moment_leaves_only_whole_shards(tmp_path, uninterrupted):
    root, log = tmp_path / "cache", tmp_path / "log"
    for moment in np.random.default_rng(0).uniform(0.02, 0.3, 4):
        process = start(root, log, seconds=0.01)
        go(process)
        time.sleep(moment)
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        assert rows_of(root).items() <= uninterrupted.items()
    process = start(root, log)
    go(process)
    finish(process)
    assert rows_of(root) == uninterrupted
    assert not [path for path in root.rglob("*") if storage.is_partial(path)]


def test_two_processes_that_fill_the_same_share_the_work(tmp_path, uninterrupted):
    root = tmp_path / "cache"
    logs = [tmp_path / "one", tmp_path / "two"]
    processes = [start(root, log, seconds=0.05) for log in logs]
    for process in processes:
        go(process)
    computed = [finish(process) for process in processes]
    assert rows_of(root) == uninterrupted
    assert sum(computed) == 2 * 21_000
    done = [batches_in(log) for log in logs]
    assert sorted(done[0] + done[1]) == sorted({*done[0], *done[1]})
    assert all(done)


def test_who_waits_for_a_process_that_is_killed_does_its_work(tmp_path, uninterrupted):
    root = tmp_path / "cache"
    slow = start(root, tmp_path / "slow", seconds=600.0)
    go(slow)
    deadline = time.monotonic() + 300
    while not list(root.glob("locks/*-00000.lock")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    other = start(root, tmp_path / "other")
    go(other)
    while len(batches_in(tmp_path / "other")) < BATCHES - 4:  # all but the block that is locked
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert other.poll() is None
    slow.kill()
    slow.communicate()
    assert finish(other) == 2 * 21_000
    assert rows_of(root) == uninterrupted


def test_half_written_files_are_neither_read_nor_kept(cache, teacher, make_identity):
    identity = make_identity()
    cache.fill([identity], teacher)
    entry = cache.entry(identity)
    cache.close()
    shard = entry.shards()[1]
    leftover = entry.folder / ".partial-abc.npy"
    leftover.write_bytes(shard.read_bytes()[:1000])
    shard.unlink()
    fresh = TeacherCache(cache.root)
    assert fresh.fill([identity], teacher).computed_samples == 4096
    assert not leftover.exists()
    np.testing.assert_array_equal(fresh.rows(identity, np.array([5000])), teacher.expected([5000], 0)["logits"])


def test_a_file_that_another_process_may_be_writing_is_left_alone(cache, teacher, make_identity):
    identity = make_identity()
    cache.fill([identity], teacher)  # and keeps using it
    leftover = cache.entry(identity).folder / ".partial-abc.npy"
    leftover.write_bytes(b"")
    TeacherCache(cache.root).fill([identity], teacher)
    assert leftover.exists()
