"""The int8 student of a run: made, taught, written, judged."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgekd import architectures, recipe
from edgekd.errors import ModelError, RecipeError
from edgekd.pipeline import RunResult, retraining, run
from edgekd.pipeline.stage import MODEL_FILE, STUDENT_DISTILLED, STUDENT_QUANTIZED
from edgekd.quantize.aware.layers import QuantizedKernel
from edgekd.quantize.aware.rounding import FakeQuantize
from edgekd.records import Summary


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    training = {"epochs": 1, "optimizer": "adam", "learning_rate": 0.01}
    return {
        "name": "int8",
        "seed": 5,
        "data": {"dataset": "synthetic", "samples": 300, "classes": 3, "shape": [12, 12, 1], "batch_size": 32},
        "teacher": {**training, "architecture": "lab_cnn", "filters": [6, 8]},
        "student": {**training, "epochs": 2, "architecture": "lab_cnn", "filters": [4, 6]},
        "distill": {
            "losses": [
                {"loss": "soft_logits", "weight": {"schedule": "linear", "from": 0.0, "to": 0.8, "end_epoch": 1}},
                {"loss": "attention_transfer", "weight": 1.0, "taps": [["relu1", "relu1"]]},
            ],
        },
        "quantize": {"aware": {"epochs": 2, "optimizer": "adam", "learning_rate": 0.001, "freeze_after": 0.5}},
        "export": [
            {"format": "tflite", "scheme": "float32"},
            {"format": "tflite", "scheme": "wi8_ai8"},
            {"format": "onnx", "scheme": "int8"},
        ],
        "calibration": {"samples": 60},
        "verify": {"max_accuracy_drop": 1.0, "min_agreement": 0.0},
        "bench": {"targets": []},
    }


@pytest.fixture(scope="module")
def taught(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(recipe.from_document(document), out=tmp_path_factory.mktemp("int8") / "run")


def test_the_summary_has_the_accuracy_of_the_float_the_int8_student_and_the_file(taught: RunResult) -> None:
    summary = Summary.read(taught.folder / "summary.json")
    assert summary.models["student_distilled"].accuracy is not None
    assert summary.models["student_quantized"].accuracy is not None
    files = {artifact.scheme: artifact for artifact in summary.artifacts if artifact.format == "tflite"}
    assert files["int8"].source == "student_quantized"
    assert files["float32"].source == "student_distilled"
    assert files["int8"].accuracy == pytest.approx(summary.models["student_quantized"].accuracy, abs=0.011)
    terms = summary.curves["student_quantized"][-1].terms
    assert set(terms) == {"labels", "soft_logits", "attention_transfer"}


def test_an_int8_file_is_judged_against_both_students(taught: RunResult) -> None:
    gates = {(gate.subject, gate.name) for gate in taught.summary.gates}
    float_file, int8_file, onnx_file = (artifact.name for artifact in taught.summary.artifacts)
    assert gates == {
        (float_file, "accuracy_drop"),
        (float_file, "agreement"),
        (int8_file, "accuracy_drop"),
        (int8_file, "beyond_one_lsb"),
        (int8_file, "agreement_with_int8_student"),
        (onnx_file, "accuracy_drop"),
        (onnx_file, "beyond_one_lsb"),
        (onnx_file, "agreement_with_int8_student"),
    }
    assert all(gate.passed for gate in taught.summary.gates)
    images = taught.summary.data.test
    limits = {gate.name: gate.limit for gate in taught.summary.gates}
    outputs = images * len(taught.summary.data.class_names)
    assert limits["beyond_one_lsb"] == pytest.approx(max(0.001, 1 / outputs))
    assert limits["agreement_with_int8_student"] == pytest.approx(min(0.995, (images - 1) / images))
    against = {(each.candidate, each.reference) for each in taught.summary.comparisons}
    assert {(int8_file, STUDENT_DISTILLED), (int8_file, STUDENT_QUANTIZED)} <= against


def test_the_int8_student_costs_what_the_float_student_costs(taught: RunResult) -> None:
    models = taught.summary.models
    assert models["student_quantized"].parameters == models["student_distilled"].parameters
    assert models["student_quantized"].macs == models["student_distilled"].macs


def test_statistics_are_frozen_for_the_last_part_of_the_training(taught: RunResult) -> None:
    model = architectures.load_model(taught.folder / STUDENT_QUANTIZED / MODEL_FILE)
    steps = 2 * (taught.summary.data.train // 32)
    quantizers = [layer for layer in model._flatten_layers() if isinstance(layer, FakeQuantize)]
    assert {layer.freeze_after for layer in quantizers} == {steps // 2}
    assert {int(layer.steps) for layer in quantizers if layer.fixed is None} <= {steps // 2, steps}
    assert [layer.name for layer in quantizers if layer.fixed is not None] == ["input_range"]  # it is shown bytes


def test_a_finished_run_has_nothing_to_do_and_other_epochs_repeat_what_follows(
    taught: RunResult, document: dict[str, Any]
) -> None:
    assert run(recipe.from_document(document), out=taught.folder).worked == ()
    later = json.loads(json.dumps(document))
    later["quantize"]["aware"]["epochs"] = 1
    assert run(recipe.from_document(later), out=taught.folder).worked == (
        "student_quantized",
        "export",
        "verify",
        "bench",
    )


def test_without_training_the_int8_student_is_calibrated_as_asked_and_may_leave_layers_out(
    document: dict[str, Any], tmp_path: Path
) -> None:
    section = {"calibration": "percentile", "percentile": 99.0, "exclude": ["conv1"]}
    files = [{"format": "tflite", "scheme": "int8"}]
    ended = run(recipe.from_document({**document, "quantize": section, "export": files}), out=tmp_path / "run")
    model = architectures.load_model(tmp_path / "run" / STUDENT_QUANTIZED / MODEL_FILE)
    kernels = {layer.name for layer in model._flatten_layers() if isinstance(layer, QuantizedKernel)}
    assert kernels
    assert "conv1" not in kernels
    assert not ended.summary.curves["student_quantized"]
    assert {gate.name for gate in ended.summary.gates} >= {"agreement", "agreement_with_int8_student"}
    assert all(gate.passed for gate in ended.summary.gates)


def test_schedules_stay_at_their_last_values_for_the_int8_student(document: dict[str, Any]) -> None:
    section = retraining.objective_section(recipe.from_document(document), flat=True)
    assert [loss.weight for loss in section.losses] == [0.8, 1.0]


def test_where_nobody_taught_from_outside_the_float_student_teaches(document: dict[str, Any]) -> None:
    alone = {**document, "teacher": None, "distill": {"way": "self", "exits": ["relu1"]}}
    section = retraining.objective_section(recipe.from_document(alone), flat=True)
    assert [loss.loss for loss in section.losses] == ["soft_logits"]


def test_layers_that_integers_cannot_compute_are_named_before_any_training(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_int8_network.py").write_text(
        "import keras\n"
        "def build(input_shape, num_classes):\n"
        "    inputs = keras.Input(input_shape)\n"
        "    x = keras.layers.LayerNormalization(name='norm')(keras.layers.Conv2D(4, 3, name='conv')(inputs))\n"
        "    x = keras.layers.Dense(num_classes)(keras.layers.Flatten()(x))\n"
        "    return keras.Model(inputs, x)\n"
    )
    monkeypatch.chdir(tmp_path)
    student = {"architecture": "own_int8_network:build", "epochs": 2}
    with pytest.raises(ModelError, match=r"norm \(LayerNormalization\).*exclude: \[norm\]"):
        run(recipe.from_document({**document, "student": student, "distill": {}}), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantize": {"scheme": "int4"}}, "quantize.scheme"),
        ({"quantize": {"aware": {"epochs": 1, "precision": "mixed_bfloat16"}}}, "must be computed in float32"),
        ({"quantize": {"calibration": "percentil"}}, "percentile"),
        ({"quantize": {"percentile": 99.0}}, "percentile"),
        ({"quantize": {"exclude": ["a", "a"]}}, "give each layer once"),
        ({"export": [{"format": "tflite", "scheme": "float32"}]}, "no file of that scheme is exported"),
    ],
)
def test_a_section_that_cannot_work_is_refused(document: dict[str, Any], change: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe.from_document({**document, **change})
