import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgekd import data
from edgekd.data.sources import npz
from edgekd.errors import DataError, RecipeError

IMAGES = np.arange(4 * 3 * 2, dtype=np.uint8).reshape(4, 3, 2)
LABELS = np.array([0, 1, 2, 1])


@pytest.fixture
def archive(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return str(tmp_path / "data.npz")

    return write


def test_every_split_in_the_file_is_read(archive):
    path = archive(x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2], x_val=IMAGES[2:], y_val=[2, 0])
    loaded = npz.load(path)
    np.testing.assert_array_equal(loaded.train.images, IMAGES[..., np.newaxis])
    assert loaded.train.labels.tolist() == LABELS.tolist()
    assert loaded.test.labels.tolist() == [0, 1]
    assert loaded.validation.labels.tolist() == [2, 0]
    assert loaded.class_names == ("0", "1", "2")
    assert loaded.name == "npz:data.npz"


def test_x_and_y_alone_are_training_samples(archive):
    loaded = npz.load(archive(x=IMAGES, y=LABELS.reshape(4, 1).astype(np.uint8)))
    assert len(loaded.train) == 4
    assert loaded.train.labels.tolist() == LABELS.tolist()
    assert loaded.test is None
    assert loaded.validation is None


@pytest.mark.parametrize(("x", "y"), [("images", "labels"), ("x", "labels"), ("images", "y")])
def test_the_names_that_verify_also_takes_are_taken_here_too(archive, x, y):
    loaded = npz.load(archive(**{x: IMAGES, y: LABELS}))
    np.testing.assert_array_equal(loaded.train.images, IMAGES[..., np.newaxis])
    assert loaded.train.labels.tolist() == LABELS.tolist()
    both = npz.load(archive(**{"x": IMAGES, "y": LABELS, "labels": LABELS[::-1], "images": IMAGES[::-1]}))
    assert both.train.labels.tolist() == LABELS.tolist()
    assert len(npz.load(archive(**{x: IMAGES}), labelled=False).train) == 4


def test_x_and_y_leave_the_other_splits_to_be_read(archive):
    loaded = npz.load(archive(x=IMAGES, y=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2], ids=np.arange(4)))
    assert (len(loaded.train), len(loaded.test), loaded.validation) == (4, 2, None)


@pytest.mark.parametrize("name", ["x_validation", "Y_test", "x", "y_extra"])
def test_a_split_that_would_be_left_out_silently_is_refused(archive, name):
    with pytest.raises(DataError, match=rf"'{name}' would not be read: expected x_train and y_train"):
        npz.load(archive(x_train=IMAGES, y_train=LABELS, **{name: LABELS}))


def test_numbers_beyond_float32_are_refused_as_infinities(archive):
    with pytest.raises(DataError, match="train sample 0 holds NaN or infinity"):
        data.load(f"npz:{archive(x=np.full((40, 3), 1e300), y=np.arange(40) % 2)}")


@pytest.mark.parametrize("name", ["x", "x_train"])
def test_samples_without_labels_are_read_when_asked(archive, name):
    loaded = npz.load(archive(**{name: IMAGES}), labelled=False)
    np.testing.assert_array_equal(loaded.train.images, IMAGES[..., np.newaxis])
    assert loaded.train.labels.tolist() == [-1] * 4
    assert (loaded.test, loaded.validation, loaded.class_names) == (None, None, ())


def test_labels_that_are_not_wanted_are_not_looked_at(archive):
    path = archive(x_train=IMAGES, y_train=np.eye(4), x_test=IMAGES[:2], class_names=np.arange(3))
    assert npz.load(path, labelled=False).train.labels.tolist() == [-1] * 4


def test_without_labels_the_samples_are_still_looked_for_and_checked(archive):
    with pytest.raises(
        DataError, match=r"no array 'x_train'; it has pictures\. Expected x_train or x, as samples without"
    ):
        npz.load(archive(pictures=IMAGES), labelled=False)
    with pytest.raises(DataError, match=r"x_train: samples of dtype int64"):
        npz.load(archive(x_train=IMAGES.astype(np.int64)), labelled=False)
    with pytest.raises(DataError, match=r"samples of dtype uint8 and shape \[\]"):
        npz.load(archive(x_train=np.uint8(3)), labelled=False)


def test_class_names_come_from_the_option_else_from_the_file(archive):
    path = archive(x=IMAGES, y=LABELS, class_names=np.array(["a", "b", "c"]))
    assert npz.load(path).class_names == ("a", "b", "c")
    assert npz.load(path, class_names=["x", "y", "z"]).class_names == ("x", "y", "z")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_any_width_are_read_as_float32_with_their_values_and_shape(archive, dtype):
    windows = np.linspace(-2, 2, 24).reshape(4, 3, 2).astype(dtype)
    loaded = npz.load(archive(x=windows, y=LABELS))
    assert loaded.train.images.dtype == np.float32
    np.testing.assert_array_equal(loaded.train.images, windows.astype(np.float32))


def test_the_channel_axis_can_be_asked_for_and_declined(archive):
    assert npz.load(archive(x=IMAGES, y=LABELS), channel_axis=False).train.images.shape == (4, 3, 2)
    floats = archive(x=IMAGES.astype(np.float32), y=LABELS)
    assert npz.load(floats, channel_axis=True).train.images.shape == (4, 3, 2, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": IMAGES}, "no array 'y_train'; it has x_train"),
        ({"images": IMAGES}, "no array 'y'; it has images"),
        ({"x_train": IMAGES, "y_train": LABELS, "y_test": LABELS}, "no array 'x_test'"),
        ({"x": IMAGES, "y": LABELS.astype(np.float32)}, "x, y: y: labels of dtype float32"),
        ({"x": IMAGES, "y": np.eye(4, dtype=int)}, r"shape \[4, 4\].*argmax"),
        ({"x": IMAGES, "y": LABELS[:3]}, "4 samples with 3 labels"),
        ({"x": IMAGES.astype(np.int64), "y": LABELS}, "samples of dtype int64"),
        ({"x": IMAGES, "y": LABELS, "class_names": np.arange(3)}, "class_names has dtype int64"),
    ],
)
def test_arrays_that_are_no_dataset_are_refused(archive, arrays, message):
    with pytest.raises(DataError, match=message):
        npz.load(archive(**arrays))


def test_python_objects_are_refused_and_never_unpickled(archive):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    with pytest.raises(DataError, match="array 'y' holds Python objects, which are pickled and could run code"):
        npz.load(archive(x=IMAGES, y=np.array([Trap()], dtype=object)))


def test_a_file_that_is_not_an_archive_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("label,pixels\n")
    np.save(tmp_path / "single.npy", IMAGES)
    for name in ("text.npz", "single.npy"):
        with pytest.raises(DataError, match=rf"{name}' is not a readable \.npz archive"):
            npz.load(str(tmp_path / name))


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_truncated_archive_is_refused(archive, tmp_path, keep):
    content = Path(archive(x=IMAGES.repeat(100, axis=0), y=LABELS.repeat(100))).read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DataError, match=r"cut\.npz' is not a readable \.npz archive"):
        npz.load(str(tmp_path / "cut.npz"))


def test_a_damaged_archive_is_refused(archive, tmp_path):
    content = bytearray(Path(archive(x=IMAGES.repeat(100, axis=0), y=LABELS.repeat(100))).read_bytes())
    content[600] ^= 0xFF
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.npz' is not a readable"):
        npz.load(str(tmp_path / "damaged.npz"))


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (((",
        b"{'descr': ',u1', 'fortran_order': False, 'shape': (6, 4), }",
        b"\xff",
    ],
    ids=["unclosed", "no dtype", "no text"],
)
def test_an_array_header_that_cannot_be_parsed_is_refused(tmp_path, header):
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as file:
        file.writestr("x.npy", member)
    with pytest.raises(DataError, match=r"odd\.npz' is not a readable"):
        npz.load(str(tmp_path / "odd.npz"))


def test_an_encrypted_archive_is_refused(archive, tmp_path):
    content = bytearray(Path(archive(x=IMAGES, y=LABELS)).read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    (tmp_path / "locked.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"locked\.npz' is not a readable .* encrypted"):
        npz.load(str(tmp_path / "locked.npz"))


def test_a_damaged_archive_of_another_compression_is_refused(tmp_path):
    member = io.BytesIO()
    np.save(member, IMAGES)
    with zipfile.ZipFile(tmp_path / "packed.npz", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("x.npy", member.getvalue())
    content = bytearray((tmp_path / "packed.npz").read_bytes())
    content[60] ^= 0xFF
    (tmp_path / "packed.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"packed\.npz' is not a readable"):
        npz.load(str(tmp_path / "packed.npz"))


def test_a_header_that_claims_more_than_the_archive_holds_is_refused_before_allocation(tmp_path):
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(tmp_path / "liar.npz", "w") as file:
        file.writestr("x.npy", member.getvalue() + b"\0" * 100)
    with pytest.raises(DataError, match="array 'x' claims 1000000000000000 bytes and the archive holds 100"):
        npz.load(str(tmp_path / "liar.npz"))


def test_a_foreign_member_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "foreign.npz", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"holds 'readme\.txt': expected only arrays"):
        npz.load(str(tmp_path / "foreign.npz"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz' does not exist"):
        npz.load(str(tmp_path / "absent.npz"))
    with pytest.raises(DataError, match="is a folder, not a file"):
        npz.load(str(tmp_path))


@pytest.mark.parametrize(
    "options", [{"class_names": "abc"}, {"class_names": [1, 2]}, {"channel_axis": 3}], ids=["text", "numbers", "axis"]
)
def test_options_of_the_wrong_kind_are_refused(archive, options):
    with pytest.raises(RecipeError, match=next(iter(options))):
        npz.load(archive(x=IMAGES, y=LABELS), **options)
