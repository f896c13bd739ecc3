import numpy as np
import pytest

from edgekd.data import buffers
from edgekd.data.joined import Joined
from edgekd.errors import DataError

PARTS = [np.arange(start, start + 3 * count, dtype=np.float32).reshape(count, 3) for start, count in
         ((0, 4), (100, 1), (200, 0), (300, 6))]  # fmt: skip
WHOLE = np.concatenate(PARTS)
JOINED = Joined(PARTS)


def test_it_has_the_form_of_the_whole():
    assert (JOINED.shape, JOINED.ndim, JOINED.dtype, len(JOINED)) == ((11, 3), 2, np.float32, 11)


@pytest.mark.parametrize("rows", [[0], [10, 0, 4, 4, 3, 5], range(11), range(10, -1, -1), []])
def test_rows_at_positions_are_those_of_the_whole(rows):
    rows = np.array(rows, np.int64)
    taken = JOINED[rows]
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, WHOLE[rows])


@pytest.mark.parametrize("rows", [slice(None), slice(2, 7), slice(0, 4), slice(5, 99), slice(-3, None), slice(7, 2),
                                  slice(None, None, 2), slice(None, None, -1)])  # fmt: skip
def test_slices_are_those_of_the_whole(rows):
    np.testing.assert_array_equal(JOINED[rows], WHOLE[rows])


def test_rows_that_were_taken_can_be_changed_without_changing_the_parts():
    JOINED[np.arange(11)][:] = -1
    np.testing.assert_array_equal(JOINED[:], WHOLE)


def test_nothing_is_copied_until_it_is_read():
    part = np.zeros((5, 2), np.uint8)
    joined = Joined([part, np.ones((5, 2), np.uint8)])
    part[3] = 7
    assert joined[np.array([3, 8])].tolist() == [[7, 7], [1, 1]]
    assert np.shares_memory(joined[1:4], part)


def test_chunks_and_choices_of_it_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(buffers, "_COPY_BYTES", 3 * buffers.row_bytes(JOINED))
    np.testing.assert_array_equal(np.concatenate(list(buffers.chunks_of(JOINED))), WHOLE)
    chosen = np.array([9, 1, 4, 2, 10])
    np.testing.assert_array_equal(buffers.take(JOINED, chosen, what="x"), WHOLE[chosen])


@pytest.mark.parametrize("rows", [[-1], [11], [0, 99]])
def test_positions_outside_are_refused(rows):
    with pytest.raises(IndexError, match=r"in an array of 11 rows"):
        JOINED[np.array(rows)]


@pytest.mark.parametrize("rows", [np.zeros(11, bool), np.zeros((2, 2), np.int64), np.array([0.0]), 3])
def test_anything_but_a_list_of_positions_is_refused(rows):
    with pytest.raises(IndexError, match=r"expected integers \[k\]"):
        JOINED[rows]


@pytest.mark.parametrize(
    "parts", [[], [PARTS[0], np.zeros((2, 4), np.float32)], [PARTS[0], np.zeros((2, 3), np.uint8)]]
)
def test_parts_that_do_not_fit_are_refused(parts):
    with pytest.raises(DataError, match="cannot be read as one array: expected one shape and one dtype"):
        Joined(parts)
