"""What a run keeps for its report: predictions, what each stage lost, and errors operator by operator."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest

from edgekd import api
from edgekd.data.dataset import Split
from edgekd.pipeline import RunResult, predicting
from edgekd.predictions import Predictions
from edgekd.records import Artifact, Summary


@pytest.fixture(scope="module")
def kept(finished: RunResult) -> Predictions:
    assert finished.summary.predictions_path is not None
    return Predictions.read(finished.folder / finished.summary.predictions_path)


def test_predictions_are_those_of_the_saved_models(
    finished: RunResult, kept: Predictions, tiny_recipe: dict[str, Any]
) -> None:
    data = api.load_data(**tiny_recipe["data"])
    images, labels = data.test.read(np.arange(len(data.test)))
    np.testing.assert_array_equal(kept.labels, labels)
    summary = finished.summary
    assert list(kept.classes) == [*summary.models, *(artifact.name for artifact in summary.artifacts)]
    student = keras.models.load_model(finished.folder / "student_distilled" / "model.keras")
    expected = student.predict(images, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(kept.classes["student_distilled"], expected)
    session = onnxruntime.InferenceSession(finished.folder / "export" / "student-float32.onnx")
    (name,) = [each.name for each in session.get_inputs()]
    one_by_one = [int(session.run(None, {name: image[np.newaxis]})[0].argmax()) for image in images]
    assert kept.classes["student-float32.onnx"].tolist() == one_by_one
    for artifact in summary.artifacts:
        assert np.mean(kept.classes[artifact.name] == labels) == pytest.approx(artifact.accuracy)


def test_what_is_shown_are_samples_on_which_they_disagree(
    finished: RunResult, kept: Predictions, tiny_recipe: dict[str, Any]
) -> None:
    assert kept.compared == ("teacher", "student_distilled", "student-int8.tflite")
    said = np.stack([kept.classes[name] for name in kept.compared])
    differ = np.flatnonzero((said != said[0]).any(axis=0))
    assert set(kept.shown.tolist()) <= set(differ.tolist())
    assert len(kept.shown) == min(len(differ), 24) > 0
    assert kept.images is not None
    test = api.load_data(**tiny_recipe["data"]).test
    np.testing.assert_array_equal(kept.images, np.asarray(test.images)[kept.shown])


def test_each_stage_is_beside_the_one_that_it_came_from(finished: RunResult) -> None:
    rows = {row.name: row for row in finished.summary.stages}
    assert {name: row.before for name, row in rows.items()} == {
        "teacher": None,
        "student_labels": "teacher",
        "student_distilled": "teacher",
        "student-float32.tflite": "student_distilled",
        "student-int8.tflite": "student_distilled",
        "student-float32.onnx": "student_distilled",
    }
    for row in rows.values():
        if row.before is not None:
            assert row.accuracy_drop is not None
            lost = rows[row.before].accuracy.value - row.accuracy.value
            assert row.accuracy_drop.value == pytest.approx(lost, abs=1e-12)
    assert rows["student-float32.tflite"].runtime == "litert"
    exact, rounded = rows["student-float32.onnx"].sqnr_db, rows["student-int8.tflite"].sqnr_db
    assert exact is None or exact > 100
    assert rounded is not None
    assert rounded < 60


def test_what_teaching_gained_is_paired_over_the_samples(finished: RunResult, kept: Predictions) -> None:
    (role,) = finished.summary.gains
    gain = finished.summary.gains[role]
    right = {name: kept.classes[name] == kept.labels for name in (role, "student_labels")}
    gained = int(np.sum(right[role] & ~right["student_labels"]))
    lost = int(np.sum(~right[role] & right["student_labels"]))
    assert role == "student_distilled"
    assert gain.value == pytest.approx((gained - lost) / len(kept.labels))
    assert gain.low < gain.value < gain.high


def test_files_are_compared_operator_by_operator_where_the_recipe_asks(finished: RunResult) -> None:
    found = {each.candidate: each for each in finished.summary.layers}
    assert set(found) == {artifact.name for artifact in finished.summary.artifacts}
    for name, each in found.items():
        assert (each.reference, each.samples, each.reason) == ("student_distilled", 4, None), name
        assert len(each.rows) > 5
    least = {name: min(row.sqnr_db for row in each.rows if row.sqnr_db is not None) for name, each in found.items()}
    assert least["student-float32.tflite"] > 80
    assert least["student-int8.tflite"] < 60
    assert all(row.passed is not False for row in found["student-float32.onnx"].rows)


def _artifact(finished: RunResult) -> list[Artifact]:
    return list(finished.summary.artifacts)


def test_large_images_are_shrunk_to_the_mean_of_their_pixels(finished: RunResult) -> None:
    images = np.zeros((2, 256, 128, 3), np.uint8)
    images[1, 0:2, 0, 0] = 200  # half of the four rows by four columns that become the first pixel: an eighth of it
    split = Split(images, np.array([0, 1]))
    classes = {"student_distilled": np.array([0, 0]), "student-int8.tflite": np.array([0, 1])}
    found = predicting.predictions(split, classes, _artifact(finished))
    assert found.compared == ("student_distilled", "student-int8.tflite")
    assert found.shown.tolist() == [1]
    assert found.images is not None
    assert found.images.shape == (1, 64, 32, 3)
    assert found.images[0, 0, 0].tolist() == [200 * 2 // 16, 0, 0]


@pytest.mark.parametrize("images", [np.zeros((2, 4, 4, 1), np.float32), np.zeros((2, 4, 4, 2), np.uint8)], ids=str)
def test_what_is_no_image_is_not_kept(finished: RunResult, images: np.ndarray) -> None:
    classes = {"student_distilled": np.array([0, 0]), "student-int8.tflite": np.array([0, 1])}
    found = predicting.predictions(Split(images, np.array([0, 1])), classes, _artifact(finished))
    assert found.images is None
    assert found.shown.tolist() == [1]


def test_a_summary_of_an_earlier_version_is_read(finished: RunResult, tmp_path: Path) -> None:
    document = json.loads((finished.folder / "summary.json").read_text())
    for key in ("gains", "stages", "layers", "predictions_path", "training_warnings"):
        del document[key]
    (tmp_path / "summary.json").write_text(json.dumps(document))
    assert Summary.read(tmp_path / "summary.json").stages == ()
