"""The teacher's training on any backend of Keras: here a tiny one on TensorFlow's."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import edgekd
from edgekd import architectures
from edgekd.distill.evaluate import Predictor

NETWORK = ["--architecture", "light_cnn", "--arguments", "{}"]


@pytest.fixture(scope="module")
def tool():
    path = Path(__file__).parents[2] / "tools" / "train_teacher.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_data_go_out_and_a_trained_teacher_comes_back(tool, tmp_path, capsys):
    limits = [f"--set={split}_limit=200" for split in ("train", "validation")]
    assert tool.main(["data", "--dataset", "embedded", *limits, "--out", str(tmp_path / "data.npz")]) == 0
    data = edgekd.load_data("embedded", train_limit=200, validation_limit=200)
    with np.load(tmp_path / "data.npz") as written:
        assert set(written) == {
            "fingerprint",
            "classes",
            *(f"{s}_{k}" for s in ("train", "validation") for k in ("images", "labels")),
        }
        np.testing.assert_array_equal(written["train_images"], data.train.images)
        np.testing.assert_array_equal(written["validation_labels"], data.validation.labels)

    command = ["fit", str(tmp_path / "data.npz"), *NETWORK, "--epochs", "6", "--batch-size", "20", "--workers", "1"]
    assert tool.main([*command, "--learning-rate", "0.05", "--out", str(tmp_path / "teacher.weights.h5")]) == 0
    assert (tmp_path / "teacher.weights.h5").is_file()
    capsys.readouterr()

    kept = ["keep", str(tmp_path / "data.npz"), str(tmp_path / "teacher.weights.h5"), *NETWORK]
    assert tool.main([*kept, "--out", str(tmp_path / "teacher.keras")]) == 0
    model = architectures.load_model(tmp_path / "teacher.keras")
    _, accuracy = Predictor(model).loss_and_accuracy(data.validation)
    assert accuracy > 0.25  # ten classes: it has learned something
    assert f"validation accuracy {accuracy:.4f}" in capsys.readouterr().out


def test_a_mistake_is_one_line(tool, tmp_path, capsys):
    assert tool.main(["data", "--dataset", "imaginary", "--out", str(tmp_path / "data.npz")]) == 2
    assert capsys.readouterr().err.startswith("error: data: unknown dataset source 'imaginary'")


def test_the_shipped_teacher_is_of_the_size_and_strength_that_its_card_says():
    folder = Path(__file__).parents[2] / "models" / "fashion_mnist"
    model = architectures.load_model(folder / "teacher.keras")
    assert (folder / "teacher.keras").stat().st_size <= 2_000_000
    data = edgekd.load_data("embedded", train_limit=100, validation_limit=100)
    _, accuracy = Predictor(model).loss_and_accuracy(data.test)
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert f"{model.count_params():,} parameters" in card
    assert f"{100 * accuracy:.2f} % on the 2,000 test images of the embedded subset" in card
