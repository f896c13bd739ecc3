"""Listing, checking and pruning touch entries only, and nothing that somebody uses."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from edgekd.distill.cache import TeacherCache, catalogue, default_root
from edgekd.errors import StorageError

DAY = 86_400.0
NOW = 1_000 * DAY


@pytest.fixture
def three(cache, teacher, make_identity):
    """Three entries of 360,000 bytes of rows each, last used 30, 20 and 10 days ago, which nobody uses."""
    identities = [make_identity(seed=seed) for seed in range(3)]
    for days, identity in zip((30, 20, 10), identities, strict=True):
        cache.fill([identity], teacher)
        os.utime(cache.entry(identity).folder / "identity.json", (NOW - days * DAY,) * 2)
    cache.close()
    return identities


def left(cache, identities):
    return [cache.entry(identity) is not None for identity in identities]


def test_entries_are_listed_with_what_was_used_last_first(cache, three):
    found = catalogue.entries_of(cache.root)
    assert [record.key for record in found] == [identity.key for identity in reversed(three)]
    assert [record.filled for record in found] == [1.0, 1.0, 1.0]
    assert all(360_000 < record.size_bytes < 362_000 for record in found)
    assert (NOW - found[0].last_used.timestamp()) / DAY == pytest.approx(10)
    cache.entry(three[0]).shards()[0].unlink()
    assert catalogue.entries_of(cache.root)[-1].filled == pytest.approx((9000 - 4096) / 9000)


def test_reading_and_filling_count_as_use(cache, teacher, three):
    reader = TeacherCache(cache.root)
    reader.rows(three[0], np.arange(2))
    assert cache.entry(three[0]).last_used() > NOW
    TeacherCache(cache.root).fill([three[1]], teacher)
    assert cache.entry(three[1]).last_used() > NOW
    assert cache.entry(three[2]).last_used() < NOW


def test_verify_names_the_damaged_shard_and_takes_unfilled_entries_for_sound(cache, three):
    calls = []
    assert catalogue.verify(cache.root).damaged == ()
    cache.entry(three[0]).shards()[1].unlink()
    path = cache.entry(three[2]).shards()[0]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    found = catalogue.verify(cache.root, on_progress=lambda *call: calls.append(call))
    assert (found.entries, found.shards) == (3, 8)
    assert [damage.path for damage in found.damaged] == [str(path)]
    assert "SHA-256" in found.damaged[0].problem
    assert calls[-1] == (8, 8, "shards")


def test_what_was_not_used_for_long_is_pruned(cache, three):
    pruned = catalogue.prune(cache.root, now=NOW, older_than_days=15)
    assert left(cache, three) == [False, False, True]
    assert [removal.reason for removal in pruned.removed] == ["not used for 30.0 days", "not used for 20.0 days"]
    assert 720_000 < pruned.freed_bytes < 724_000
    assert pruned.kept_bytes == catalogue.entries_of(cache.root)[0].size_bytes


def test_what_was_used_longest_ago_goes_first_when_the_cache_is_too_large(cache, three):
    pruned = catalogue.prune(cache.root, now=NOW, max_bytes=800_000)
    assert left(cache, three) == [False, True, True]
    assert pruned.kept_bytes <= 800_000


def test_a_dry_run_says_the_same_and_removes_nothing(cache, three):
    planned = catalogue.prune(cache.root, now=NOW, everything=True, dry_run=True)
    assert left(cache, three) == [True, True, True]
    done = catalogue.prune(cache.root, now=NOW, everything=True)
    assert left(cache, three) == [False, False, False]
    assert planned.removed == done.removed
    assert (planned.dry_run, done.dry_run) == (True, False)
    assert done.kept_bytes == 0
    assert not [path for path in cache.root.rglob("*") if path.is_file()]


def test_what_is_in_use_stays(cache, three):
    user = TeacherCache(cache.root)
    user.rows(three[0], np.arange(2))
    pruned = catalogue.prune(cache.root, now=NOW, everything=True)
    assert left(cache, three) == [True, False, False]
    assert pruned.in_use == (three[0].key,)
    user.close()
    assert catalogue.prune(cache.root, now=NOW, everything=True).in_use == ()
    assert left(cache, three) == [False, False, False]


def test_every_view_and_output_of_a_training_that_runs_stays(cache, teacher, make_identity):
    wanted = [make_identity().at_view(view) for view in range(3)]
    script = """
        import sys
        from pathlib import Path
        import numpy as np
        from edgekd.distill.cache import OutputIdentity, TeacherCache
        cache = TeacherCache(Path(sys.argv[1]))
        cache.rows(OutputIdentity.model_validate_json(sys.argv[2]), np.arange(2))
        print("reading", flush=True)
        sys.stdin.readline()
    """
    cache.fill(wanted, teacher)
    cache.close()
    command = [sys.executable, "-c", textwrap.dedent(script), cache.root, wanted[1].model_dump_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "reading\n"
        assert catalogue.prune(cache.root, now=NOW, everything=True).removed == ()
        process.kill()
    assert len(catalogue.prune(cache.root, now=NOW, everything=True).removed) == 3


def test_damaged_shards_are_pruned_and_only_they_are_computed_again(cache, teacher, three):
    path = cache.entry(three[1]).shards()[0]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    pruned = catalogue.prune(cache.root, now=NOW, damaged=True)
    assert [removal.path for removal in pruned.removed] == [str(path)]
    assert left(cache, three) == [True, True, True]
    assert catalogue.verify(cache.root).damaged == ()
    assert TeacherCache(cache.root).fill([three[1]], teacher).computed_samples == 4096


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format_version": 1}', '{"format_version": 9}'])
def test_a_folder_without_a_readable_identity_is_damaged(cache, teacher, three, content):
    folder = cache.entry(three[0]).folder
    (folder / "identity.json").write_text(content)
    listed = next(record for record in catalogue.entries_of(cache.root) if record.key == folder.name)
    assert listed.identity is None
    assert str(folder) in listed.problem
    assert [damage.path for damage in catalogue.verify(cache.root).damaged] == [str(folder)]
    with pytest.raises(StorageError):
        cache.rows(three[0], np.arange(2), remake=teacher)
    with pytest.raises(StorageError, match="Nearest"):
        cache.require(three[0].model_copy(update={"view": 5}))
    catalogue.prune(cache.root, now=NOW, damaged=True)
    assert not folder.exists()
    assert left(cache, three) == [False, True, True]
    cache.fill([three[0]], teacher)


def test_what_is_no_entry_is_never_touched(cache, three, tmp_path):
    root = cache.root
    others = [
        root / "notes.txt",
        root / "ab" / "notes.txt",
        root / "ab" / "abc" / "identity.json",
        root / "zz" / ("z" * 64) / "identity.json",
        root / "cd" / ("ab" * 32) / "rows-00000.npy",  # the name of another folder
        cache.entry(three[0]).folder / "notes.txt",
    ]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    cache.entry(three[1]).folder.rename(elsewhere)
    cache.root.joinpath(three[1].key[:2]).mkdir(exist_ok=True)
    cache.root.joinpath(three[1].key[:2], three[1].key).symlink_to(elsewhere)
    catalogue.prune(root, now=NOW, everything=True, damaged=True)
    assert [path.read_text() for path in others] == ["mine"] * len(others)
    assert len(list(elsewhere.glob("rows-*.npy"))) == 3
    assert not list(root.rglob("rows-00000-*.npy"))


def test_a_cache_that_does_not_exist_is_empty(tmp_path):
    root = tmp_path / "none"
    assert catalogue.entries_of(root) == ()
    assert catalogue.verify(root).entries == 0
    assert catalogue.prune(root, now=NOW, everything=True).removed == ()
    assert not root.exists()
    assert default_root() != root
