"""Listing, checking and pruning touch entries only, and nothing that somebody uses."""

import os
import shutil
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from edgekd.distill.cache import TeacherCache, catalogue, default_root, locks
from edgekd.distill.cache.entry import last_used
from edgekd.distill.cache.identity import FORMAT_VERSION
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
    assert last_used(cache.entry(three[0]).folder) > NOW
    TeacherCache(cache.root).fill([three[1]], teacher)
    assert last_used(cache.entry(three[1]).folder) > NOW
    assert last_used(cache.entry(three[2]).folder) < NOW


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


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", f'{{"format_version": {FORMAT_VERSION}}}', '{"format_version": "9"}']
)
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
    # Whose it is cannot be read, so that anybody who uses the cache may be using it.
    assert catalogue.prune(cache.root, now=NOW, damaged=True).in_use == (folder.name,)
    cache.close()
    catalogue.prune(cache.root, now=NOW, damaged=True)
    assert not folder.exists()
    assert left(cache, three) == [False, True, True]
    cache.fill([three[0]], teacher)


@pytest.mark.parametrize("meanwhile", ["made again", "gone", "pruned"])
def test_damage_that_is_mended_or_gone_before_it_is_removed_is_left(cache, teacher, three, meanwhile):
    entry = cache.entry(three[1])
    path = entry.shards()[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")

    def act(done, total, what):  # after everything was read, before anything is removed
        if done == total:
            path.unlink()
            if meanwhile == "made again":
                path.write_bytes(whole)
            if meanwhile == "pruned":
                shutil.rmtree(entry.folder)

    pruned = catalogue.prune(cache.root, now=NOW, damaged=True, on_progress=act)
    assert (pruned.removed, pruned.freed_bytes) == ((), 0)
    assert path.exists() == (meanwhile == "made again")


def test_an_identity_that_is_written_again_before_its_folder_is_removed_saves_it(cache, three):
    path = cache.entry(three[1]).folder / "identity.json"
    path.write_text("")

    def act(done, total, what):
        if done == total:
            three[1].write(path)

    assert catalogue.prune(cache.root, now=NOW, damaged=True, on_progress=act).removed == ()
    assert left(cache, three) == [True, True, True]


def test_what_is_used_between_the_look_and_the_lock_stays(cache, three, monkeypatch):
    acquire = locks.acquire

    def used_just_before(path, **how):
        if not how.get("shared"):
            with TeacherCache(cache.root) as reader:
                reader.rows(three[0], np.arange(2))
        return acquire(path, **how)

    monkeypatch.setattr(locks, "acquire", used_just_before)
    catalogue.prune(cache.root, now=NOW, older_than_days=15)
    assert left(cache, three) == [True, False, True]


def test_what_another_version_wrote_is_neither_damaged_nor_removed_while_the_cache_is_in_use(cache, three):
    folder = cache.entry(three[0]).folder
    (folder / "identity.json").write_text('{"format_version": 99, "owner": "another edgekd"}')
    listed = next(record for record in catalogue.entries_of(cache.root) if record.key == folder.name)
    assert (listed.identity, listed.problem, listed.other_version) == (None, None, 99)
    found = catalogue.verify(cache.root)
    assert (found.damaged, found.entries, found.other_versions) == ((), 2, 1)
    assert catalogue.prune(cache.root, now=NOW, damaged=True).removed == ()
    with TeacherCache(cache.root) as user:
        user.rows(three[1], np.arange(2))
        assert folder.name in catalogue.prune(cache.root, now=NOW, everything=True).in_use
    assert folder.exists()
    catalogue.prune(cache.root, now=NOW, everything=True)
    assert not folder.exists()


FILL_AND_PRUNE = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from edgekd.distill.cache import OutputIdentity, TeacherCache, catalogue
    root, identity = Path(sys.argv[1]), OutputIdentity.model_validate_json(sys.argv[2])
    def zeros(ids, view):
        return {"logits": np.zeros((len(ids), 10), np.float32)}
    print("ready", flush=True)
    while True:
        for seed in range(4):
            with TeacherCache(root) as cache:
                cache.fill([identity.model_copy(update={"seed": seed})], zeros)
        catalogue.prune(root, now=time.time(), everything=True)
"""


def test_a_cache_that_others_fill_and_prune_meanwhile_can_be_listed_checked_and_pruned(cache, make_identity):
    wanted = make_identity(samples=256, batch_size=1, shape=(10,))
    command = [sys.executable, "-c", textwrap.dedent(FILL_AND_PRUNE), cache.root, wanted.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            seen = set()
            deadline = time.monotonic() + 60
            looks = 0
            while looks < 300 or (len(seen) < 3 and time.monotonic() < deadline):
                looks += 1
                seen.add(len(catalogue.entries_of(cache.root)))
                catalogue.prune(cache.root, now=0.0, older_than_days=1, dry_run=True)
                assert catalogue.verify(cache.root).damaged == ()
            assert process.poll() is None
            assert len(seen) >= 3
        finally:
            process.kill()


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
