import hashlib

import numpy as np
import pytest

from edgekd.data.tfds_import import import_dataset
from edgekd.errors import DataError, StorageError


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "prepared"


@pytest.fixture
def source(tmp_path, tiny_builders, tiny_files):
    """The published files in a folder and subfolder, under other names and among other files."""
    folder = tmp_path / "downloads"
    (folder / "deep" / "down").mkdir(parents=True)
    for number, content in enumerate(tiny_files.values()):
        (folder / "deep" / "down" / f"download ({number})").write_bytes(content)
    (folder / "holiday.jpg").write_bytes(b"x" * 600)
    return folder


def test_files_are_found_by_their_checksums_whatever_their_names(source, data_dir, no_network):
    prepared = import_dataset("tiny_shapes", source=source, data_dir=data_dir)
    assert prepared == data_dir / "tiny_shapes" / "1.0.0"
    assert (prepared / "dataset_info.json").is_file()


def test_nothing_but_the_prepared_dataset_is_left_and_the_source_is_untouched(source, data_dir, no_network):
    before = sorted(path for path in source.rglob("*"))
    import_dataset("tiny_shapes", source=source, data_dir=data_dir)
    assert [path.name for path in data_dir.iterdir()] == ["tiny_shapes"]
    assert sorted(path for path in source.rglob("*")) == before


def test_a_prepared_dataset_is_left_as_it_is(source, data_dir, tmp_path, no_network):
    prepared = import_dataset("tiny_shapes", source=source, data_dir=data_dir)
    stamps = {path: path.stat().st_mtime_ns for path in prepared.iterdir()}
    assert import_dataset("tiny_shapes", source=tmp_path / "nowhere", data_dir=data_dir) == prepared
    assert {path: path.stat().st_mtime_ns for path in prepared.iterdir()} == stamps


def test_every_missing_file_is_listed_with_size_and_checksum(tmp_path, tiny_builders, tiny_files, data_dir, no_network):
    with pytest.raises(DataError) as caught:
        import_dataset("tiny_shapes", source=tmp_path, data_dir=data_dir)
    message = str(caught.value)
    assert "lacks 2 of the files" in message
    assert "Nothing was downloaded" in message
    assert "\n" not in message
    for name, content in tiny_files.items():
        assert f"{name} ({len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()})" in message


def test_a_failed_import_leaves_nothing_behind(tmp_path, tiny_builders, data_dir, no_network):
    with pytest.raises(DataError):
        import_dataset("tiny_shapes", source=tmp_path, data_dir=data_dir)
    assert list(data_dir.iterdir()) == []


def test_a_changed_file_of_the_right_name_and_size_is_not_accepted(source, tiny_files, data_dir, no_network):
    content = bytearray(tiny_files["shapes-images.bin"])
    content[0] ^= 1
    (source / "deep" / "down" / "download (0)").unlink()
    (source / "shapes-images.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"lacks 1 of the files .*: shapes-images\.bin \(600 bytes"):
        import_dataset("tiny_shapes", source=source, data_dir=data_dir)


def test_a_file_without_a_registered_checksum_is_not_taken_on_trust(source, data_dir, no_network):
    (source / "unverified.bin").write_bytes(b"x")
    with pytest.raises(DataError, match=r"unverified\.bin \(TFDS registers no checksum, so it cannot be verified\)"):
        import_dataset("tiny_unverified", source=source, data_dir=data_dir)


def test_files_that_users_must_fetch_are_taken_from_the_folder(source, data_dir, no_network):
    with pytest.raises(DataError, match=r"TFDS's instructions: Fetch by-hand\.bin and accept its terms"):
        import_dataset("tiny_by_hand", source=source, data_dir=data_dir)
    (source / "by-hand.bin").write_bytes(np.zeros((3, 4, 5, 1), np.uint8).tobytes())
    assert (import_dataset("tiny_by_hand", source=source, data_dir=data_dir) / "features.json").is_file()


def test_an_import_does_not_change_how_others_download(source, data_dir, tmp_path, tiny_builders, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    import_dataset("tiny_shapes", source=source, data_dir=data_dir)
    other = tfds.builder("tiny_shapes", data_dir=tmp_path / "other")
    with pytest.raises(tfds.core.download.DownloadError):  # its server has no files
        other.download_and_prepare()


def test_standard_output_stays_free_for_results(source, data_dir, no_network, capsys):
    import_dataset("tiny_shapes", source=source, data_dir=data_dir)
    assert capsys.readouterr().out == ""


def test_a_missing_folder_and_an_unknown_dataset_are_refused(tmp_path, tiny_builders, data_dir, no_network):
    with pytest.raises(DataError, match=r"nowhere' does not exist: expected a folder with the files of 'tiny_shapes'"):
        import_dataset("tiny_shapes", source=tmp_path / "nowhere", data_dir=data_dir)
    with pytest.raises(DataError, match=r"Did you mean 'tiny_shapes'\?"):
        import_dataset("tiny_shape", source=tmp_path, data_dir=data_dir)


def test_a_data_folder_that_cannot_be_made_is_named(source, tmp_path, no_network):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot write .*a part of the path is a file"):
        import_dataset("tiny_shapes", source=source, data_dir=tmp_path / "file" / "prepared")


@pytest.mark.fashion_mnist
def test_the_official_files_are_recognised_although_a_distribution_stripped_their_headers(prepared_fashion_mnist):
    import tensorflow_datasets as tfds

    splits = tfds.builder("fashion_mnist", data_dir=prepared_fashion_mnist).info.splits
    assert {name: split.num_examples for name, split in splits.items()} == {"train": 60_000, "test": 10_000}
