import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from edgekd.data import buffers
from edgekd.errors import DataError

UINT8 = np.dtype(np.uint8)


@pytest.fixture
def temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def chunks(array, size=3):
    return (array[start : start + size] for start in range(0, len(array), size))


def unlinked_files(folder):
    """The status of this process's open files that were in `folder` and have no name."""
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - closes its handle
    return [link.stat() for link in links if link.is_symlink() and str(link.readlink()).startswith(str(folder))]


def test_small_arrays_stay_in_memory():
    array = np.arange(70, dtype=np.uint8).reshape(10, 7)
    collected = buffers.collect(chunks(array), (10, 7), UINT8, what="x")
    assert type(collected) is np.ndarray
    np.testing.assert_array_equal(collected, array)


def test_large_arrays_go_to_a_file_that_has_no_name(temporary_files, monkeypatch):
    monkeypatch.setattr(buffers, "IN_MEMORY_BYTES", 60)
    array = np.arange(70, dtype=np.uint8).reshape(10, 7)
    collected = buffers.collect(chunks(array), (10, 7), UINT8, what="x")
    assert isinstance(collected, np.memmap)
    np.testing.assert_array_equal(collected, array)
    assert list(temporary_files.iterdir()) == []
    assert not collected.flags.writeable


def test_the_file_holds_its_disk_space_from_the_start(temporary_files, monkeypatch):
    monkeypatch.setattr(buffers, "IN_MEMORY_BYTES", 0)
    allocated = []

    def watching():
        allocated.extend(status.st_blocks * 512 for status in unlinked_files(temporary_files))
        yield np.zeros((1 << 20,), np.uint8)

    buffers.collect(watching(), (1 << 20,), UINT8, what="x")
    assert len(allocated) == 1
    assert allocated[0] >= 1 << 20


def test_more_than_the_disk_has_is_refused_before_anything_is_decoded(temporary_files):
    def untouched():
        raise AssertionError("decoding began")
        yield

    with pytest.raises(DataError, match=r"the photographs needs 1000000\.0 GB of temporary space .* set TMPDIR"):
        buffers.collect(untouched(), (10**15,), UINT8, what="the photographs")


@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("rows", [9, 11])
def test_another_number_of_rows_than_announced_is_refused(temporary_files, monkeypatch, limit, rows):
    monkeypatch.setattr(buffers, "IN_MEMORY_BYTES", limit)
    with pytest.raises(ValueError):  # noqa: PT011 - numpy words one of the cases
        buffers.collect(chunks(np.zeros((rows, 2), np.uint8), size=rows), (10, 2), UINT8, what="x")


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_take_equals_indexing_in_memory_and_on_disk(temporary_files, monkeypatch, limit):
    monkeypatch.setattr(buffers, "IN_MEMORY_BYTES", limit)
    array = np.arange(3000, dtype=np.float32).reshape(1000, 3)
    positions = np.array([999, 0, 5, 5, 500])
    np.testing.assert_array_equal(buffers.take(array, positions, what="x"), array[positions])


def test_take_of_everything_copies_nothing():
    array = np.zeros((10, 2), np.uint8)
    assert buffers.take(array, np.arange(10), what="x") is array


def test_memory_that_is_not_there_is_refused():
    buffers.require_memory(1, what="x")
    with pytest.raises(DataError, match=r"x needs 1000000\.0 GB of memory"):
        buffers.require_memory(10**15, what="x")
