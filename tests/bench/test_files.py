"""A model is its file and the files beside it."""

import hashlib
import shutil
from pathlib import Path

import pytest

from edgekd.bench import files
from edgekd.errors import ModelError, RecipeError


@pytest.fixture
def outside(tmp_path, outside_onnx):
    """A copy that a test may change."""
    return shutil.copytree(outside_onnx.parent, tmp_path / "copy") / outside_onnx.name


def test_hash_and_size_are_of_all_files(outside):
    beside = outside.parent / "parts" / "kernel.bin"
    found = files.content(outside, outside)
    assert beside.stat().st_size == 4 * 64 * 16
    assert found.size_bytes == outside.stat().st_size + 4 * 64 * 16
    hashes = [hashlib.sha256(each.read_bytes()).hexdigest() for each in (outside, beside)]
    assert found.sha256 == hashlib.sha256("".join(hashes).encode()).hexdigest()
    beside.write_bytes(bytes(4 * 64 * 16))
    assert files.content(outside, outside).sha256 != found.sha256


def test_a_file_alone_has_the_hash_of_its_bytes(dense_onnx, dense_tflite):
    for path in (dense_onnx, dense_tflite):
        found = files.content(path, path)
        assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert found.size_bytes == path.stat().st_size


def test_one_file_by_two_paths_is_one_model(dense_tflite, tmp_path, monkeypatch):
    monkeypatch.chdir(dense_tflite.parent)
    with pytest.raises(RecipeError, match="given more than once"):
        files.names([Path(dense_tflite.name), dense_tflite])
    shutil.copyfile(dense_tflite, tmp_path / "copy.tflite")
    assert files.names([dense_tflite, tmp_path / "copy.tflite"]) == ["dense.tflite", "copy.tflite"]


def test_file_names_of_samples_are_distinct():
    found = files.safe_names(["a b", "a-b", "a-b.0", "c"])
    assert len(set(found)) == 4
    assert found[2:] == ["a-b.0", "c"]


def test_a_missing_file_beside_and_a_damaged_one_are_named(outside, tmp_path):
    (outside.parent / "parts" / "kernel.bin").unlink()
    with pytest.raises(ModelError, match=r"keeps constants in 'parts/kernel\.bin', which is missing"):
        files.content(outside, outside)
    (tmp_path / "no.onnx").write_bytes(b"this is no model")
    with pytest.raises(ModelError, match=r"no\.onnx' is damaged or not an ONNX model"):
        files.content(tmp_path / "no.onnx", tmp_path / "no.onnx")
