import gzip
import struct

import numpy as np
import pytest

from edgekd.data.idx_format import read_idx
from edgekd.data.sources import idx
from edgekd.errors import DataError, RecipeError

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([0, 1, 2, 1, 0], np.uint8)


def encoded(array, *, code=0x08, shape=None):
    shape = array.shape if shape is None else shape
    return struct.pack(">BBBB", 0, 0, code, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(encoded(IMAGES)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(encoded(LABELS)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(encoded(IMAGES[:2]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(encoded(LABELS[:2]))
    return tmp_path


def test_gzipped_and_plain_files_are_read(folder):
    loaded = idx.load(str(folder))
    np.testing.assert_array_equal(loaded.train.images, IMAGES[..., np.newaxis])
    assert loaded.train.labels.tolist() == LABELS.tolist()
    np.testing.assert_array_equal(loaded.test.images, IMAGES[:2, ..., np.newaxis])
    assert loaded.class_names == ("0", "1", "2")
    assert loaded.validation is None


def test_a_folder_without_test_files_has_no_test_split(folder):
    for path in folder.glob("t10k*"):
        path.unlink()
    assert idx.load(str(folder)).test is None


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_half_of_a_test_split_is_an_error_and_not_a_missing_split(folder, kind):
    (folder / f"t10k-{kind}-ubyte").unlink()
    with pytest.raises(DataError, match=rf"has no file t10k-{kind[:6]}-idx3-ubyte or the like"):
        idx.load(str(folder))


def test_prefixes_dotted_names_test_files_and_colour_are_read(tmp_path):
    colour = np.arange(2 * 4 * 3 * 3, dtype=np.uint8).reshape(2, 4, 3, 3)
    for part in ("train", "test"):
        (tmp_path / f"letters-{part}-images.idx4-ubyte").write_bytes(encoded(colour))
        (tmp_path / f"letters-{part}-labels.idx1-ubyte").write_bytes(encoded(LABELS[:2]))
    loaded = idx.load(str(tmp_path), prefix="letters-", class_names=["a", "b"])
    np.testing.assert_array_equal(loaded.test.images, colour)
    assert loaded.class_names == ("a", "b")
    with pytest.raises(DataError, match="has no file train-images-idx3-ubyte"):
        idx.load(str(tmp_path))


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, ">u1"), (0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_every_idx_type_is_read_in_the_machines_byte_order(tmp_path, code, dtype):
    values = np.array([[1, 2, 3], [4, 5, 100]], dtype)
    (tmp_path / "x").write_bytes(encoded(values, code=code))
    array = read_idx(tmp_path / "x")
    assert array.dtype == np.dtype(dtype).newbyteorder("=")
    assert array.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte.gz", b"PNG?" * 10, r"starts with bytes 50 4e 47 3f: expected an IDX file"),
        ("train-images-idx3-ubyte.gz", b"", "starts with bytes none"),
        ("train-images-idx3-ubyte.gz", encoded(IMAGES, code=0x07), "starts with bytes 00 00 07 03"),
        ("train-images-idx3-ubyte.gz", encoded(IMAGES)[:10], "ends within its header"),
        ("train-images-idx3-ubyte.gz", encoded(IMAGES)[:-1], r"\[5, 4, 3\], which is 60 bytes, and 59 follow"),
        ("train-images-idx3-ubyte.gz", encoded(IMAGES) + b"x", "which is 60 bytes, and more follow"),
        ("train-images-idx3-ubyte.gz", encoded(IMAGES, shape=(2**31, 2**31, 2**31)), "GB of memory"),
        ("train-images-idx3-ubyte.gz", gzip.compress(encoded(IMAGES), mtime=0)[:-12], "is truncated or damaged"),
        ("train-images-idx3-ubyte.gz", gzip.compress(encoded(IMAGES), mtime=0)[:20], "is truncated or damaged"),
        ("train-labels-idx1-ubyte.gz", encoded(LABELS[:4]), "train: 5 samples with 4 labels"),
        ("train-labels-idx1-ubyte.gz", encoded(LABELS.astype(">f4"), code=0x0D), "labels of dtype float32"),
        ("t10k-labels-idx1-ubyte", encoded(LABELS), "t10k: 2 samples with 5 labels"),
    ],
)
def test_files_that_are_damaged_or_do_not_match_are_refused(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        idx.load(str(folder))


def test_a_gzip_file_whose_contents_changed_is_refused(folder):
    content = bytearray(gzip.compress(encoded(IMAGES), compresslevel=0))
    content[40] ^= 1
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"is truncated or damaged \(CRC check failed"):
        idx.load(str(folder))


def test_missing_folders_and_files_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match="IDX folder 'nowhere' does not exist"):
        idx.load("nowhere")
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="has no file train-labels-idx3-ubyte or the like"):
        idx.load(str(folder))


def test_class_names_of_the_wrong_kind_are_refused(folder):
    with pytest.raises(RecipeError, match="class_names is 'abc': expected a list"):
        idx.load(str(folder), class_names="abc")
