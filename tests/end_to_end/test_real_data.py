"""The same road on real data: the official Fashion-MNIST through TFDS, folders of images, the shipped recipe."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from edgekd import recipe
from edgekd.pipeline import run

pytestmark = pytest.mark.slow


def test_quickstart_smokes_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from edgekd.cli import main; main()", "run", "quickstart", "--smoke", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    assert len(summary["artifacts"]) == 6
    assert len(summary["measurements"]) == 6
    assert summary["smoke"]
    assert "The numbers of a smoke run mean nothing" in (tmp_path / "runs/quickstart-smoke/report.html").read_text()


@pytest.mark.fashion_mnist
def test_the_road_on_fashion_mnist_through_tfds(
    prepared_fashion_mnist: Path, tmp_path: Path, tiny_recipe: dict[str, Any]
) -> None:
    tiny_recipe["data"] = {
        "dataset": "tfds:fashion_mnist",
        "data_dir": str(prepared_fashion_mnist),
        "train_split": "train[:4000]",  # decoding the others only to leave them out takes seconds
        "test_split": "test[:1000]",
    }
    limits = [f"data.{split}_limit=300" for split in ("train", "validation", "test")]
    for role in ("teacher", "student"):
        tiny_recipe[role] = {"architecture": "lab_cnn", "filters": [8, 8], "epochs": 1}
    tiny_recipe["distill"] = {"losses": [{"loss": "soft_logits"}]}
    overrides = [*limits, "bench.targets=[]", "export=[{format: tflite, scheme: int8}]"]
    result = run(recipe.from_document(tiny_recipe, overrides=overrides), out=tmp_path / "run")
    data = result.summary.data
    assert (data.name, data.train, data.validation, data.test) == ("tfds:fashion_mnist/3.0.1", 300, 300, 300)
    assert data.class_names[9] == "Ankle boot"
    assert result.summary.artifacts[0].agreement is not None


def test_the_road_on_folders_of_colour_photographs(tmp_path: Path, tiny_recipe: dict[str, Any]) -> None:
    # Red and blue squares of noise: the network must be able to tell them apart from the colour alone.
    random = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 20)):
        for name, channel in (("blue", 2), ("red", 0)):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 100, (16, 16, 3), np.uint8)
                pixels[..., channel] += 150
                PIL.Image.fromarray(pixels).save(folder / f"{number}.{'png' if number % 2 else 'jpg'}")
    tiny_recipe["data"] = {"dataset": f"image_folder:{tmp_path / 'photos'}", "batch_size": 16}
    tiny_recipe["bench"] = {"targets": []}
    tiny_recipe["distill"] = {"losses": [{"loss": "soft_logits"}]}
    tiny_recipe["export"] = [{"format": name, "scheme": "float32"} for name in ("tflite", "onnx")]
    result = run(recipe.from_document(tiny_recipe), out=tmp_path / "run")
    assert result.summary.data.class_names == ("blue", "red")
    assert result.summary.data.input_shape == (16, 16, 3)
    accuracy = result.summary.models["student_distilled"].accuracy
    assert accuracy is not None
    assert accuracy > 0.9
    assert [artifact.accuracy for artifact in result.summary.artifacts] == [accuracy] * 2
