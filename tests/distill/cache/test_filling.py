"""Filling computes what is missing, in the teacher's batches, and stores nothing that cannot be taught from."""

import errno
import shutil

import numpy as np
import pytest

from edgekd import storage
from edgekd.distill.cache import TeacherCache
from edgekd.distill.cache.layout import layout_of
from edgekd.distill.cache.writing import writing
from edgekd.errors import ModelError, NonFiniteError, ShapeError, StorageError


def files_of(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("rows-*.npy")}


def test_rows_are_bit_for_bit_what_the_teacher_gave(cache, teacher, make_identity):
    identity = make_identity()
    cache.fill([identity], teacher)
    ids = np.random.default_rng(0).permutation(identity.samples)
    rows = cache.rows(identity, ids)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, teacher.expected(ids, 0)["logits"])


def test_float16_rows_are_the_teachers_rounded(cache, teacher, make_identity):
    identity = make_identity(dtype="float16")
    cache.fill([identity], teacher)
    ids = np.arange(identity.samples)
    expected = teacher.expected(ids, 0)["logits"]
    rows = cache.rows(identity, ids)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, expected.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(rows, expected, rtol=2**-11, atol=2**-25)


def test_every_view_and_output_has_its_own_rows_and_one_pass_gives_all_outputs_of_a_view(cache, teacher, make_identity):
    logits, maps = make_identity(), make_identity(output="stage2", shape=(2, 2, 3))
    filled = cache.fill([each.at_view(view) for each in (logits, maps) for view in range(3)], teacher)
    assert filled.computed_samples == 3 * logits.samples
    assert len(teacher.asked) == 3 * 282  # ceil(9000 / 32) batches per view
    assert filled.written_bytes == 3 * 9000 * (10 + 12) * 4
    ids = np.array([8999, 0, 4096, 4096, 17])
    for view in range(3):
        expected = teacher.expected(ids, view)
        np.testing.assert_array_equal(cache.rows(logits.at_view(view), ids), expected["logits"])
        np.testing.assert_array_equal(cache.rows(maps.at_view(view), ids), expected["stage2"])


def test_the_teacher_always_gets_whole_batches(cache, teacher, make_identity):
    cache.fill([make_identity(samples=100)], teacher)
    assert [len(ids) for ids, _ in teacher.asked] == [32] * 4
    np.testing.assert_array_equal(teacher.asked[-1][0], [*range(96, 100), *range(28)])
    teacher.asked.clear()
    cache.fill([make_identity(samples=5)], teacher)
    assert [ids.tolist() for ids, _ in teacher.asked] == [[0, 1, 2, 3, 4]]


def test_a_second_run_and_a_second_output_pay_only_for_what_is_new(cache, teacher, make_identity):
    logits, maps = make_identity(), make_identity(output="stage2", shape=(2, 2, 3))
    cache.fill([logits], teacher)
    teacher.asked.clear()
    again = TeacherCache(cache.root)
    assert again.fill([logits], teacher).computed_samples == 0
    assert not teacher.asked
    filled = again.fill([logits, maps], teacher)
    assert filled.written_bytes == 9000 * 12 * 4


def test_trainings_of_other_seeds_share_what_is_not_random(cache, teacher, make_identity):
    cache.fill([make_identity(augmentation={}, seed=1)], teacher)
    assert cache.fill([make_identity(augmentation={}, seed=2).at_view(4)], teacher).computed_samples == 0


def test_only_the_missing_shard_is_computed(cache, teacher, make_identity):
    identity = make_identity()
    cache.fill([identity], teacher)
    before = files_of(cache.root)
    entry = cache.entry(identity)
    assert entry.layout.shards == 3
    entry.shards()[1].unlink()
    teacher.asked.clear()
    assert TeacherCache(cache.root).fill([identity], teacher).computed_samples == 4096
    asked = np.concatenate([ids for ids, _ in teacher.asked])
    np.testing.assert_array_equal(asked, np.arange(4096, 8192))
    assert files_of(cache.root) == before


def test_shards_of_different_sizes_are_filled_in_one_pass(cache, make_identity):
    wide = {"output": "wide", "shape": (4, 4, 64), "samples": 5000}

    def compute(ids, view):
        column = np.asarray(ids, np.float32)[:, np.newaxis]
        return {"logits": np.repeat(column, 10, 1), "wide": np.repeat(column, 1024, 1).reshape(-1, 4, 4, 64)}

    logits, maps = make_identity(samples=5000), make_identity(**wide)
    assert layout_of(maps).shard_rows == 1024
    assert layout_of(logits).shard_rows == 4096
    assert cache.fill([logits, maps], compute).computed_samples == 5000
    cache.entry(maps).shards()[2].unlink()
    assert TeacherCache(cache.root).fill([logits, maps], compute).computed_samples == 1024
    ids = np.arange(0, 5000, 7)
    np.testing.assert_array_equal(cache.rows(maps, ids)[:, 3, 3, 63], ids)


def test_workers_begin_with_blocks_of_their_own(tmp_path, make_teacher, make_identity):
    first = {}
    for worker in range(3):
        teacher = make_teacher()
        cache = TeacherCache(tmp_path / str(worker))
        cache.fill([make_identity(samples=20_000)], teacher, worker=(worker, 3))
        first[worker] = int(teacher.asked[0][0][0])
    assert first == {0: 0, 1: 4096, 2: 8192}
    with pytest.raises(StorageError, match=r"worker 3 of 3 .* expected a number in 0\.\.2"):
        cache.fill([make_identity()], teacher, worker=(3, 3))


def test_progress_counts_the_batches_that_are_to_be_computed(cache, teacher, make_identity):
    calls = []
    wanted = [make_identity().at_view(view) for view in range(2)]
    cache.fill(wanted, teacher, progress=lambda *call: calls.append(call))
    assert calls[0] == (1, 564, "teacher's outputs of 9,000 samples, view 0")
    assert calls[-1] == (564, 564, "teacher's outputs of 9,000 samples, view 1")
    assert [done for done, *_ in calls] == list(range(1, 565))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_refused_with_their_samples(cache, teacher, make_identity, bad):
    def compute(ids, view):
        outputs = teacher(ids, view)
        outputs["logits"][np.isin(ids, [40, 45])] = bad
        return outputs

    with pytest.raises(NonFiniteError, match=r"'logits' is NaN or infinite for samples 40, 45 \(view 0\)"):
        cache.fill([make_identity()], compute)
    with pytest.raises(StorageError, match="lacks 3 of 3 shards"):
        cache.rows(make_identity(), np.arange(3))


def test_what_float16_cannot_hold_is_refused_and_float32_holds_it(cache, make_teacher, make_identity):
    teacher = make_teacher(scale=65_600.0)
    message = r"as large as 65\d\d\d(\.\d)? for samples? \d+.* float16 ends at 65504: store it with dtype: float32"
    with pytest.raises(NonFiniteError, match=message):
        cache.fill([make_identity(dtype="float16")], teacher)
    cache.fill([make_identity(dtype="float32")], teacher)


def test_a_bad_value_in_rows_that_only_fill_up_the_batch_is_found_where_it_belongs(cache, teacher, make_identity):
    def compute(ids, view):
        outputs = teacher(ids, view)
        outputs["logits"][ids == 3] = np.nan
        return outputs

    identity = make_identity(samples=4100)
    cache.fill([identity], teacher)
    cache.entry(identity).shards()[1].unlink()
    cache.fill([identity], compute)  # sample 3 only fills up the last batch


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.zeros((32, 9), np.float32), ShapeError, r"float32 \[32, 9\] for 32 samples: expected float32 \[32, 10\]"),
        (np.zeros((31, 10), np.float32), ShapeError, r"float32 \[31, 10\] for 32 samples"),
        (np.zeros((32, 10), np.float64), ShapeError, r"float64 \[32, 10\]"),
    ],
)
def test_outputs_of_another_shape_or_dtype_are_refused(cache, make_identity, rows, error, message):
    with pytest.raises(error, match=message):
        cache.fill([make_identity()], lambda *_: {"logits": rows})


def test_an_output_that_the_teacher_does_not_give_is_named(cache, teacher, make_identity):
    with pytest.raises(ModelError, match="the teacher gave 'logits', 'stage2': expected 'stage3'"):
        cache.fill([make_identity(output="stage3")], teacher)


def test_outputs_of_two_trainings_cannot_be_filled_by_one_teacher(cache, teacher, make_identity):
    with pytest.raises(StorageError, match="'logits' to be cached differ in teacher, seed"):
        cache.fill([make_identity(), make_identity(teacher_sha256="b" * 64, seed=6)], teacher)
    assert not teacher.asked


def test_what_does_not_fit_on_the_disk_is_refused_before_anything_is_computed(cache, teacher, make_identity):
    free = shutil.disk_usage(cache.root.parent).free
    samples = 2 * free // (1000 * 1000 * 4)
    wanted = make_identity(samples=samples, shape=(1000, 1000))
    needed = samples * 1000 * 1000 * 4
    for refused in (
        lambda: cache.fill([wanted, wanted.at_view(1)], teacher),
        lambda: cache.check_space([wanted, wanted.at_view(1)]),
    ):
        with pytest.raises(StorageError, match=r"has \d+\.\d GiB free") as caught:
            refused()
        message = str(caught.value)
        assert f"would take {2 * needed / 2**30:.1f} GiB more" in message
        assert "2 views" in message
        for advice in (
            "edgekd cache prune",
            "distill.cache.folder",
            "EDGEKD_CACHE_DIR",
            "dtype: float16",
            "fewer views",
        ):
            assert advice in message
    with pytest.raises(StorageError) as caught:
        cache.check_space([make_identity(samples=2 * samples, shape=(1000, 1000), dtype="float16")])
    assert "float16," not in str(caught.value)
    assert "fewer views" not in str(caught.value)
    assert not teacher.asked
    assert not list(cache.root.rglob("identity.json"))


def test_the_estimate_is_what_is_written(cache, teacher, make_identity):
    wanted = [make_identity(), make_identity(output="stage2", shape=(2, 2, 3), dtype="float16")]
    estimate = cache.check_space(wanted)
    cache.fill(wanted, teacher)
    assert estimate == sum(len(content) for content in files_of(cache.root).values())
    assert cache.check_space(wanted) == 0


def test_a_cache_where_a_file_stands_is_refused(tmp_path, teacher, make_identity):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"is not a folder\. Choose another .*distill\.cache\.folder or EDGEKD_CACHE_DIR"
    ):
        TeacherCache(tmp_path / "file" / "cache").fill([make_identity()], teacher)


@pytest.mark.parametrize("place", ["identity", "shard", "lock"])
def test_a_place_that_cannot_be_written_names_the_settings_of_the_cache(cache, teacher, make_identity, place):
    identity = make_identity(samples=100)
    folder = cache.root / identity.key[:2] / identity.key
    # The superuser may write everywhere: a file where a folder must be made, and a folder where a file must be.
    if place == "identity":
        cache.root.mkdir()
        folder.parent.write_text("")
    elif place == "shard":
        folder.mkdir(parents=True)
    else:
        cache.root.mkdir()
        (cache.root / "locks").write_text("")

    def compute(ids, view):
        if place == "shard" and folder.is_dir():
            shutil.rmtree(folder)
            folder.write_text("")
        return teacher(ids, view)

    with pytest.raises(StorageError, match=r"distill\.cache\.folder or EDGEKD_CACHE_DIR") as caught:
        cache.fill([identity], compute)
    assert "--out" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM, errno.EIO])
def test_every_refusal_of_the_system_names_the_settings_of_the_cache(tmp_path, number):
    with (
        pytest.raises(StorageError, match=r"distill\.cache\.folder or EDGEKD_CACHE_DIR") as caught,
        writing(tmp_path),
        storage.storage_errors(tmp_path / "file"),
    ):
        raise OSError(number, "refused", str(tmp_path / "file"))
    assert "--out" not in str(caught.value)
