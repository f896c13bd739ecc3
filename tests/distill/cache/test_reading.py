"""Reading notices damage, refuses what belongs to something else, and takes no memory that grows with the data."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from edgekd.distill.cache import DamagedShardError, TeacherCache, catalogue, default_root
from edgekd.distill.cache.identity import FORMAT_VERSION
from edgekd.errors import DataError, StorageError


def flip_a_byte(path, position=-5):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def truncate(path):
    os.truncate(path, path.stat().st_size - 7)


def make_empty(path):
    path.write_bytes(b"")


def swap_header(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"<f4", b"<i4", 1))


# One that is held whole, and one of more than 32 MiB, whose rows are read one by one.
SMALL = {"samples": 9000, "shape": (10,)}
LARGE = {"samples": 9000, "shape": (32, 32)}


def count_up(ids, view):
    values = np.asarray(ids, np.float32) + np.float32(1e5 * view)
    return {
        "logits": np.repeat(values[:, np.newaxis], 10, 1),
        "map": np.repeat(values[:, np.newaxis], 1024, 1).reshape(-1, 32, 32),
    }


@pytest.fixture(params=["held whole", "row by row"])
def filled(request, cache, make_identity):
    about = SMALL | {"output": "logits"} if request.param == "held whole" else LARGE | {"output": "map"}
    identity = make_identity(**about)
    cache.fill([identity], count_up)
    return identity


def test_rows_come_in_the_order_that_is_asked_for(cache, filled):
    ids = np.random.default_rng(1).integers(0, 9000, 300)
    rows = cache.rows(filled, ids)
    assert rows.shape == (300, *filled.shape)
    np.testing.assert_array_equal(rows, count_up(ids, 0)[filled.output])
    assert cache.rows(filled, np.arange(0)).shape == (0, *filled.shape)


@pytest.mark.parametrize("ids", [[9000], [-1], [3, 2**40]])
def test_samples_outside_the_split_are_refused(cache, filled, ids):
    with pytest.raises(DataError, match=r"no teacher output of sample (9000|-1|1099511627776): expected 0\.\.8999"):
        cache.rows(filled, np.array(ids))


def test_ids_that_are_no_integers_are_refused(cache, filled):
    with pytest.raises(DataError, match="float64"):
        cache.rows(filled, np.array([0.0]))


@pytest.mark.parametrize("damage", [flip_a_byte, truncate, make_empty, swap_header])
def test_damage_is_refused_without_a_teacher_and_made_again_with_one(cache, filled, damage):
    entry = cache.entry(filled)
    original = entry.shards()[2].read_bytes()
    damage(entry.shards()[2])
    span = entry.layout.rows_of(2)
    ids = np.array([span.stop - 1, span.start, 1])
    messages, asked = [], []

    def teacher(ids, view):
        asked.append(ids)
        return count_up(ids, view)

    fresh = TeacherCache(cache.root, announce=messages.append)
    with pytest.raises(DamagedShardError, match=r"rows-00002-.*\.npy' of the teacher cache is damaged: it"):
        fresh.rows(filled, ids)
    assert not messages
    np.testing.assert_array_equal(fresh.rows(filled, ids, remake=teacher), count_up(ids, 0)[filled.output])
    assert len(messages) == 1
    assert "rows-00002-" in messages[0]
    assert "it is made again" in messages[0]
    np.testing.assert_array_equal(np.unique(np.concatenate(asked)[: len(span)]), span)
    assert entry.shards()[2].read_bytes() == original


def test_filling_mends_what_has_another_size(cache, filled):
    entry = cache.entry(filled)
    truncate(entry.shards()[0])
    messages = []
    done = TeacherCache(cache.root, announce=messages.append).fill([filled], count_up)
    assert [path.name[:10] for path in done.remade] == ["rows-00000"]
    assert done.computed_samples == len(entry.layout.rows_of(0))
    assert len(messages) == 1
    assert catalogue.verify(cache.root).damaged == ()


def test_filling_reads_nothing_and_leaves_changed_bytes_to_who_reads_them_first(cache, filled):
    entry = cache.entry(filled)
    for shard in (0, 2):
        flip_a_byte(entry.shards()[shard], position=300)
    messages = []
    fresh = TeacherCache(cache.root, announce=messages.append)
    assert fresh.fill([filled], count_up).computed_samples == 0
    assert not messages
    ids = np.array([0, entry.layout.rows_of(2).start])
    np.testing.assert_array_equal(fresh.rows(filled, ids, remake=count_up), count_up(ids, 0)[filled.output])
    assert len(messages) == 2
    assert catalogue.verify(cache.root).damaged == ()


def test_a_shard_that_vanished_while_it_was_in_use_is_made_again(cache, filled):
    cache.rows(filled, np.arange(3))
    cache.close()
    cache.entry(filled).shards()[1].unlink()
    messages = []
    fresh = TeacherCache(cache.root, announce=messages.append)
    with pytest.raises(StorageError, match="lacks 1 of"):
        fresh.rows(filled, np.array([8000]))
    np.testing.assert_array_equal(fresh.rows(filled, np.array([8000]), remake=count_up).ravel()[:1], [8000])
    assert "It is computed now." in messages[0]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"teacher_sha256": "b" * 64}, "teacher (stored aaaaaaaaaaaa…, wanted bbbbbbbbbbbb…)"),
        ({"dataset_fingerprint": "e" * 64}, "dataset (stored dddddddddddd…, wanted eeeeeeeeeeee…)"),
        ({"view": 1}, "view (stored 0, wanted 1)"),
        ({"seed": 6}, "seed (stored 5, wanted 6)"),
        ({"dtype": "float16"}, "dtype (stored 'float32', wanted 'float16')"),
        ({"engine": "formula 2.0"}, "engine (stored 'formula 1.0', wanted 'formula 2.0')"),
        ({"preprocessing": "none"}, "preprocessing (stored 'pixel / 255', wanted 'none')"),
        ({"samples": 9001}, "number of samples (stored 9000, wanted 9001)"),
        ({"shape": (5, 2)}, "shape (stored [10], wanted [5, 2])"),
        ({"augmentation": {"shift": 1}}, "augmentation (stored {'shift': 2, 'flip': True}, wanted {'shift': 1})"),
        ({"mixup": 0.5}, "mixup (stored 0.0, wanted 0.5)"),
        ({"format_version": 99}, f"format version (stored {FORMAT_VERSION}, wanted 99)"),
    ],
)
def test_outputs_of_something_else_are_refused_and_the_part_is_named(cache, teacher, make_identity, change, part):
    cache.fill([make_identity()], teacher)
    wanted = make_identity(**change)
    for refused in (lambda: cache.require(wanted), lambda: cache.rows(wanted, np.arange(2))):
        with pytest.raises(StorageError) as caught:
            refused()
        assert f"differs in {part}. Ask for" in str(caught.value)


def test_the_nearest_entries_are_named(cache, teacher, make_identity):
    cache.fill([make_identity().at_view(view) for view in range(2)], teacher)
    with pytest.raises(StorageError, match="it is empty"):
        TeacherCache(cache.root.parent / "other").require(make_identity())
    with pytest.raises(StorageError) as caught:
        cache.require(make_identity(view=1, seed=9))
    assert "seed (stored 5, wanted 9)" in str(caught.value)
    assert "view (" not in str(caught.value)


def test_an_entry_in_the_folder_of_another_is_refused(cache, teacher, make_identity):
    mine, other = make_identity(), make_identity(teacher_sha256="b" * 64)
    cache.fill([mine], teacher)
    cache.fill([other], teacher)
    stored = cache.entry(other).folder / "identity.json"
    (cache.entry(mine).folder / "identity.json").write_bytes(stored.read_bytes())
    fresh = TeacherCache(cache.root)
    for refused in (
        lambda: fresh.rows(mine, np.arange(2)),
        lambda: fresh.rows(mine, np.arange(2), remake=teacher),
        lambda: fresh.fill([mine], teacher),
    ):
        with pytest.raises(StorageError, match=rf"is the identity of {other.key[:12]}…, not of its folder"):
            refused()


def test_an_entry_of_another_version_is_refused(cache, teacher, make_identity):
    cache.fill([make_identity()], teacher)
    path = cache.entry(make_identity()).folder / "identity.json"
    path.write_text(path.read_text().replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 97'))
    with pytest.raises(
        StorageError, match="another version of edgekd: it has format version 97, and this edgekd reads"
    ):
        TeacherCache(cache.root).rows(make_identity(), np.arange(2))


def test_a_cache_of_two_dtypes_holds_both(cache, teacher, make_identity):
    cache.fill([make_identity()], teacher)
    cache.fill([make_identity(dtype="float16")], teacher)
    ids = np.arange(50)
    exact, rounded = cache.rows(make_identity(), ids), cache.rows(make_identity(dtype="float16"), ids)
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(exact, rounded, rtol=2**-11, atol=2**-25)


MEMORY = """
    import sys
    from pathlib import Path
    import numpy as np
    from edgekd.distill.cache import OutputIdentity, TeacherCache

    def resident():
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    def compute(ids, view):
        return {"map": np.repeat(np.asarray(ids, np.float32)[:, None] + view, width, 1)}

    width, samples, views = map(int, sys.argv[2:5])
    base = OutputIdentity(
        teacher_sha256="a" * 64, preprocessing="", dataset_fingerprint="d" * 64, samples=samples,
        augmentation={"shift": 1}, batch_size=128, output="map", shape=(width,), dtype="float32", engine="",
    )
    cache = TeacherCache(Path(sys.argv[1]))
    generator = np.random.default_rng(0)

    def read(identity):
        for _ in range(samples // 128):
            ids = generator.integers(0, samples, 128)
            rows = cache.rows(identity, ids)
            assert np.array_equal(rows[:, 3], ids + identity.view)

    before, most = resident(), 0.0
    for view in range(views):
        cache.fill([base.at_view(view)], compute)
        read(base.at_view(view))
        most = max(most, resident())
    assert not {"tensorflow", "keras"} & set(sys.modules)
    print(most - before)
"""


@pytest.mark.parametrize(
    ("width", "samples", "views"),
    [(1024, 51_200, 1), (256, 25_600, 8)],
    ids=["one entry of 200 MiB", "eight entries of 25 MiB"],
)
def test_memory_does_not_grow_with_what_is_read(tmp_path, width, samples, views):
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), tmp_path / "cache", str(width), str(samples), str(views)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert width * samples * 4 * views == 200 * 2**20
    assert float(done.stdout) < 100


def test_the_folder_is_chosen_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKD_CACHE_DIR", str(tmp_path / "own"))
    assert TeacherCache().root == default_root() == tmp_path / "own"
    monkeypatch.delenv("EDGEKD_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg" / "edgekd" / "teacher"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_root() == tmp_path / "home" / ".cache" / "edgekd" / "teacher"
