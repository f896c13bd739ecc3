"""The comparison of schemes and quantisers: a tiny one for real, and what the page says of given numbers."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

import edgekd
from edgekd import architectures
from edgekd.errors import StorageError

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tool(script):
    return script("compare_quantisation")


@pytest.mark.slow
def test_a_tiny_comparison_goes_the_whole_road_and_does_nothing_twice(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(tool.STUDENTS, "resnet", {"architecture": "lab_cnn", "filters": [4]})
    kept = {tool.LABELS, tool.REFERENCE, "int8", "int8_aware_labels", tool.TAUGHT}
    quick = {"min_warmup_seconds": 0.0, "max_warmup_seconds": 0.1, "blocks": 1}
    monkeypatch.setattr(tool.bench, "measure", functools.partial(tool.bench.measure, **quick))
    monkeypatch.setattr(tool, "WAYS", tuple(way for way in tool.WAYS if way.name in kept))
    data = edgekd.load_data("embedded", train_limit=64, validation_limit=64, test_limit=64)
    architectures.save_model(edgekd.create_model("lab_cnn", data, filters=[6]), tmp_path / "teacher.keras")
    command = (
        f"--dataset embedded --architectures resnet --seeds 0 --epochs 1 --aware-epochs 1 --train-limit 64 "
        f"--processes 1 --teacher {tmp_path / 'teacher.keras'} --out {tmp_path / 'out'}"
    ).split()

    assert tool.main(command) == 0
    first = capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (family,) = results["families"]
    assert {row["name"] for row in family["rows"]} == kept
    assert [each["title"].split(",")[0] for each in family["tools"]] == [
        "edgekd",
        "edgekd",
        "TFLite converter",
        "ai-edge-quantizer",
        "float32 (ONNX)",
        "edgekd",
        "onnxruntime",
    ]
    folder = tmp_path / "out" / "resnet" / "seed_0" / "files"
    predictions = {path.name.split(".")[0]: np.load(path).argmax(-1) for path in folder.glob("*.tflite.*.npy")}
    rows = {row["name"]: row for row in family["rows"]}
    for name in kept:
        assert rows[name]["accuracies"] == [np.mean(predictions[name] == data.test.labels)]
        assert rows[name]["size_bytes"] == (folder / f"{name}.tflite").stat().st_size
    expected = np.mean(predictions[tool.REFERENCE] == data.test.labels) - rows["int8"]["accuracies"][0]
    assert rows["int8"]["drop"]["value"] == pytest.approx(expected)
    float_onnx = next(each for each in family["tools"] if each["title"] == "float32 (ONNX)")
    assert float_onnx["agreement"] == 1.0
    assert float_onnx["sqnr_db"] > 80

    with_other_students = [*command, "--epochs", "2"]
    assert tool.main(with_other_students) == 2
    assert "of students that other options made" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    other = {**family, "architecture": "other", "seeds": [0, 1]}
    (tmp_path / "out" / "results.json").write_text(json.dumps({**results, "families": [other, family]}))
    assert tool.main([*command, "--keep"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    again = capsys.readouterr().out
    assert again.splitlines()[:4] == first.splitlines()[:4]
    headings = [line for line in again.splitlines() if line.startswith("## ")]
    assert [heading.split(",")[0] for heading in headings] == ["## other", "## resnet", "## How it was made"]
    assert headings[0].endswith("2 seeds")
    assert headings[1].endswith("1 seed")


def test_a_mean_has_students_interval(tool):
    interval = tool.mean_interval([0.90, 0.92, 0.94])
    # t(0.975, 2) = 4.3027; sd 0.02; / sqrt 3
    assert (interval.value, interval.high - interval.value) == pytest.approx((0.92, 4.30265 * 0.02 / 3**0.5), rel=1e-4)
    assert tool.mean_interval([0.9]) is None


def test_drops_are_paired_by_seed_since_every_seed_sees_the_same_images(tool):
    labels = np.zeros(100, int)

    def right(count):
        return np.where(np.arange(100) < count, 0, 1)

    found = tool.drop_interval([right(90), right(92), right(94)], [right(89), right(91), right(90)], labels)
    # Drops of 1, 1 and 4 points: mean 2, sd sqrt(3); t(0.975, 2) = 4.30265
    assert (found.value, found.high - found.value) == pytest.approx((0.02, 4.30265 * 0.01), rel=1e-4)
    # One seed, by hand (Agresti and Min): 4 of 100 lost and none won; with half a pair in each of four cells
    alone = tool.drop_interval([right(94)], [right(90)], labels)
    assert alone.value == pytest.approx(0.04)
    assert alone.low < 0.04 < alone.high < 0.1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: [row for row in rows if row["name"] != "float32"], "resnet has no row 'float32'"),
        (lambda rows: [row for row in rows if row["name"] != "int8"], "resnet has no row 'int8' with a drop"),
        (lambda rows: [row | {"drop": None} for row in rows], "resnet has no row 'int8' with a drop"),
    ],
    ids=["no reference", "no int8", "no drop"],
)
def test_a_record_that_the_pages_cannot_be_made_of_is_told_by_file_and_row(script, tmp_path, change, told):
    record = json.loads((TOOLS.parent / "models" / "fashion_mnist" / "results" / "quantisation.json").read_text())
    family = next(each for each in record["families"] if each["architecture"] == "resnet")
    family["rows"] = change(family["rows"])
    path = tmp_path / "quantisation.json"
    path.write_text(json.dumps(record))
    with pytest.raises(StorageError, match=f"{path.name}' is not a valid Results record .*{told}"):
        script("quantisation_table").Results.read(path)
