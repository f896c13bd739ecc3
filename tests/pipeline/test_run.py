"""The whole road on a tiny recipe: what it leaves, what it does again and what it does not."""

import hashlib
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

from edgekd import api, recipe, storage
from edgekd.distill.stopping import StopRequest
from edgekd.errors import DataError, EdgekdError, ModelError, ShapeError, StoppedError, StorageError
from edgekd.inspect import inspect_model
from edgekd.pipeline import Progress, RunResult, run
from edgekd.pipeline.folder import RunFolder
from edgekd.recipe import Recipe
from edgekd.records import Summary


def made(document: dict[str, Any], *overrides: str) -> Recipe:
    return recipe.from_document(document, overrides=overrides)


SUBCLASSED = """
import keras


class Own(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.layer = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(classes)])

    def call(self, images):
        return self.layer(images)


def subclassed(input_shape, num_classes):
    return Own(num_classes)
"""
FUNCTIONAL = """
from keras import layers, Model, Input


def small(input_shape, num_classes):
    images = Input(input_shape)
    return Model(images, layers.Dense(num_classes)(layers.Flatten()(images)))
"""


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Stages(Progress):
    """Remembers which stages worked, which were kept and which were done again."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.kept: list[str] = []
        self.redone: list[str] = []

    def stage_started(self, stage: str) -> None:
        self.started.append(stage)

    def stage_kept(self, stage: str) -> None:
        self.kept.append(stage)

    def stage_redone(self, stage: str, reason: str) -> None:  # noqa: ARG002
        self.redone.append(stage)


def test_summary_holds_models_artifacts_measurements_and_gates(finished: RunResult) -> None:
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert summary["schema_version"] == 1
    assert set(summary["models"]) == {"teacher", "student_labels", "student_distilled"}
    for model in summary["models"].values():
        assert 0 <= model["accuracy"] <= 1
        assert model["parameters"] > 0
        assert model["macs"] > 0
    assert [(a["format"], a["scheme"]) for a in summary["artifacts"]] == [
        ("tflite", "float32"),
        ("tflite", "int8"),
        ("onnx", "float32"),
    ]
    for artifact in summary["artifacts"]:
        content = (finished.folder / artifact["path"]).read_bytes()
        assert artifact["size_bytes"] == len(content)
        assert artifact["sha256"] == hashlib.sha256(content).hexdigest()
        student = summary["models"]["student_distilled"]["accuracy"]
        assert artifact["accuracy_drop"] == pytest.approx(student - artifact["accuracy"], abs=1e-12)
        assert 0.5 <= artifact["agreement"] <= 1
    for measurement in summary["measurements"]:
        assert measurement["target"] == "local"
        assert (finished.folder / measurement["samples_path"]).is_file()
        latency = measurement["latency_ms"]
        assert 0 < latency["minimum"] <= latency["p50"] <= latency["p90"]
        assert latency["p99"] is None or latency["p90"] <= latency["p99"]
    assert [m["artifact"] for m in summary["measurements"]] == [a["name"] for a in summary["artifacts"]]
    assert {gate["name"] for gate in summary["gates"]} == {"accuracy_drop", "agreement"}
    assert all(gate["passed"] for gate in summary["gates"])
    assert (finished.folder / "report.html").stat().st_size > 10_000
    assert (finished.folder / "report.md").is_file()


def test_the_operators_and_constants_of_every_file_are_in_the_summary(finished: RunResult) -> None:
    for artifact in finished.summary.artifacts:
        path = finished.folder / artifact.path
        found = inspect_model(path, check=False)
        assert sum(cost.weights_bytes for cost in artifact.operators) == found.weights_bytes > 0
        assert [cost.operator for cost in artifact.operators] == [node.operator for node in found.nodes]
        assert found.memory is not None
        assert max(cost.live_bytes or 0 for cost in artifact.operators) == found.memory.peak_bytes
    stored = onnx.load(path).graph.initializer  # of the last one, which is an ONNX file
    numbers = {each.name: onnx.numpy_helper.to_array(each) for each in stored}
    assert sum(each.nbytes for each in numbers.values()) == found.weights_bytes
    noted = {each.tensor: (each.shape, each.dtype, each.size_bytes) for each in artifact.tensors}
    assert noted == {name: (each.shape, each.dtype.name, each.nbytes) for name, each in numbers.items()}
    sizes = [each.size_bytes for each in artifact.tensors]
    assert sizes == sorted(sizes, reverse=True)
    page = (finished.folder / "report.html").read_text()
    assert 'id="plot-size-by-operator"' in page
    assert f"{len(sizes)} tensors" in page


def test_accuracies_are_those_of_the_saved_models_on_the_test_split(
    finished: RunResult, tiny_recipe: dict[str, Any]
) -> None:
    data = api.load_data(**tiny_recipe["data"])
    images, labels = data.test.read(np.arange(len(data.test)))
    for role, model in finished.summary.models.items():
        loaded = keras.models.load_model(finished.folder / model.path)
        predicted = loaded.predict(images, verbose=0).argmax(axis=1)
        assert model.accuracy == pytest.approx((predicted == labels).mean(), abs=1e-9), role


def test_each_network_keeps_its_best_epoch_by_validation(finished: RunResult) -> None:
    for role, curve in finished.summary.curves.items():
        best = finished.summary.models[role].best_epoch
        assert best is not None
        accuracies = [row.validation_accuracy for row in curve]
        assert best == 1 + int(np.argmax(accuracies))
        assert finished.summary.models[role].validation_accuracy == pytest.approx(max(accuracies), abs=1e-9)


def test_the_distilled_student_was_taught(finished: RunResult) -> None:
    terms = finished.summary.curves["student_distilled"][0].terms
    assert set(terms) == {"labels", "soft_logits", "attention_transfer", "fitnet_hint"}
    assert all(value > 0 for value in terms.values())
    assert set(finished.summary.curves["student_labels"][0].terms) == {"labels"}


def test_running_again_does_nothing(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in finished_copy.rglob("*") if path.is_file()}
    again = run(made(tiny_recipe), out=finished_copy)
    assert again.worked == ()
    assert before == {path: path.read_bytes() for path in finished_copy.rglob("*") if path.is_file()}


def test_only_what_changed_is_done_again(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    stages = Stages()
    limits = ("min_agreement=0.9999", "max_accuracy_drop=0", "min_accuracy=0.9", "max_training_warnings=0")
    result = run(made(tiny_recipe, *(f"verify.{limit}" for limit in limits)), out=finished_copy, progress=stages)
    assert stages.started == ["verify"]
    gates = {(gate.subject, gate.name): gate for gate in result.summary.gates}
    samples = result.summary.data.test
    # No image may be lost where none may; but of so few images 0.01 % is less than one.
    assert {name: gate.limit for (_, name), gate in gates.items()} == {
        "accuracy_drop": 0.0,
        "agreement": (samples - 1) / samples,
        "accuracy": 0.9,
        "training_warnings": 0,
    }
    for artifact in result.summary.artifacts:
        gate = gates[artifact.name, "accuracy"]
        assert (gate.observed, gate.passed) == (artifact.accuracy, artifact.accuracy >= 0.9)
        assert gates[artifact.name, "agreement"].passed == (artifact.agreement >= 1 - 1 / samples)
    assert gates["run", "training_warnings"].observed == len(result.summary.training_warnings)
    assert gates["run", "training_warnings"].passed == (not result.summary.training_warnings)


def test_a_damaged_artifact_is_noticed_and_made_again(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    artifact = finished_copy / "export" / "student-int8.tflite"
    original = artifact.read_bytes()
    artifact.write_bytes(original[:-1])
    stages = Stages()
    run(made(tiny_recipe), out=finished_copy, progress=stages)
    assert stages.redone == ["export"]
    assert stages.started == ["export"]
    assert artifact.read_bytes() == original


def test_a_report_or_summary_that_is_not_there_or_damaged_is_written_again(
    finished_copy: Path, tiny_recipe: dict[str, Any]
) -> None:
    before = files_of(finished_copy)
    (finished_copy / "report.html").unlink()  # as when the run was killed before it wrote it
    assert run(made(tiny_recipe), out=finished_copy).worked == ()
    assert files_of(finished_copy) == before
    (finished_copy / "summary.json").write_text("{")
    assert run(made(tiny_recipe), out=finished_copy).worked == ()
    assert files_of(finished_copy) == before


def test_asking_for_one_stage_takes_nothing_out_of_the_summary(
    finished_copy: Path, tiny_recipe: dict[str, Any]
) -> None:
    before = files_of(finished_copy)
    result = run(made(tiny_recipe), out=finished_copy, until=("teacher",))
    assert len(result.summary.artifacts) == 3
    assert files_of(finished_copy) == before


def test_what_other_settings_wrote_does_not_stay_among_the_new_files(
    finished_copy: Path, tiny_recipe: dict[str, Any]
) -> None:
    run(made(tiny_recipe, "export=[{format: tflite}]", "bench.targets=[]"), out=finished_copy)
    assert {path.name for path in (finished_copy / "export").iterdir()} == {
        "student-float32.tflite",
        "record.json",
        "stage.json",
    }
    assert not list((finished_copy / "bench" / "samples").iterdir())


def test_a_run_reckons_for_chips_that_are_not_at_hand(
    finished_copy: Path, tiny_recipe: dict[str, Any], edgekd_command: Callable[..., Any]
) -> None:
    tiny_recipe["bench"] = {"targets": ["cortex-m"], "core": "cortex-m7"}
    recipe_file = finished_copy.parent / "tiny.yaml"
    recipe_file.write_text(json.dumps(tiny_recipe))  # which is YAML, too
    printed = edgekd_command("run", recipe_file, "--out", finished_copy)
    assert printed.status == 0, printed.err
    summary = Summary.read(finished_copy / "summary.json")
    assert summary.measurements == ()
    kinds = {each.artifact: each.figures and each.figures.configuration["core"] for each in summary.estimates}
    assert kinds == {"student-float32.tflite": None, "student-int8.tflite": "cortex-m7"}
    (refused,) = [each.refusal for each in summary.estimates if each.refusal]
    assert "Export the scheme int8" in refused
    for name in ("report.md", "report.html"):
        text = (finished_copy / name).read_text()
        assert "nothing in this table was measured" in text
        assert "cannot run there" in text
    assert "Estimated time, ms (band)" in printed.out
    assert "nothing in this table was measured" in printed.out


def test_a_run_says_where_the_time_goes(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    overrides = ("export=[{format: tflite}]", "bench.profile=true", "bench.processes=1")
    summary = run(made(tiny_recipe, *overrides), out=finished_copy).summary
    (profile,) = summary.profiles
    assert profile.model == "student-float32.tflite"
    assert profile.sha256 == summary.artifacts[0].sha256
    assert sum(each.time_us.value for each in profile.operators) > 0
    assert "plot-profile-0" in (finished_copy / "report.html").read_text()
    assert "## Time by operator" in (finished_copy / "report.md").read_text()


def test_a_record_from_elsewhere_removes_no_file_outside_its_stage(
    finished_copy: Path, tiny_recipe: dict[str, Any]
) -> None:
    outside = finished_copy.parent / "thesis.txt"
    outside.write_text("years of work")
    marker = finished_copy / "verify" / "stage.json"
    record = json.loads(marker.read_text())
    record["files"]["../../thesis.txt"] = "0" * 64
    marker.write_text(json.dumps(record))
    run(made(tiny_recipe), out=finished_copy)
    assert outside.read_text() == "years of work"


def test_a_training_is_not_lost_before_its_stage_is_marked_as_done(
    tmp_path: Path, tiny_recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Resumed(Progress):
        done_epochs = 0

        def training_started(self, epochs: int, steps_per_epoch: int, *, done_epochs: int, done_steps: int) -> None:  # noqa: ARG002
            self.done_epochs = done_epochs

    def killed(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    finish = RunFolder.finish
    monkeypatch.setattr(RunFolder, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        run(made(tiny_recipe, "teacher.epochs=2"), out=tmp_path / "run", until=("teacher",))
    monkeypatch.setattr(RunFolder, "finish", finish)
    progress = Resumed()
    run(made(tiny_recipe, "teacher.epochs=2"), out=tmp_path / "run", until=("teacher",), progress=progress)
    assert progress.done_epochs == 2
    checkpoint = tmp_path / "run" / "teacher" / "checkpoint.npz"
    assert not checkpoint.exists()
    checkpoint.write_bytes(b"killed between marking the stage as done and removing this")
    run(made(tiny_recipe, "teacher.epochs=2"), out=tmp_path / "run", until=("teacher",))
    assert not checkpoint.exists()


def test_a_new_training_leaves_no_curve_of_the_old_one_to_tensorboard(
    tmp_path: Path, tiny_recipe: dict[str, Any]
) -> None:
    for seed in (1, 2):
        run(made(tiny_recipe, "teacher.epochs=1", f"seed={seed}"), out=tmp_path / "run", until=("teacher",))
    assert len(list((tmp_path / "run" / "teacher" / "tensorboard").iterdir())) == 1


def test_a_signal_that_a_library_swallowed_leaves_the_stage_undone(
    finished_copy: Path, tiny_recipe: dict[str, Any]
) -> None:
    stop = StopRequest()

    class Swallowed(Progress):
        def item(self, done: int, total: int, what: str) -> None:  # noqa: ARG002
            stop.received = signal.SIGTERM

    with pytest.raises(StoppedError, match="SIGTERM before the stage was done"):
        run(made(tiny_recipe, "export=[{format: tflite}]"), out=finished_copy, progress=Swallowed(), stop=stop)
    assert run(made(tiny_recipe, "export=[{format: tflite}]"), out=finished_copy).worked == (
        "export",
        "verify",
        "bench",
    )


def test_a_changed_network_of_ones_own_is_trained_again(
    tmp_path: Path, tiny_recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = tmp_path / "changed_network.py"
    code.write_text(FUNCTIONAL)
    tiny_recipe["teacher"] = {"architecture": "changed_network:small", "epochs": 1}
    for expected in (("teacher",), ()):
        assert run(made(tiny_recipe), out=tmp_path / "run", until=("teacher",)).worked == expected
    code.write_text(FUNCTIONAL.replace("Flatten()", "GlobalMaxPooling2D()"))
    assert run(made(tiny_recipe), out=tmp_path / "run", until=("teacher",)).worked == ("teacher",)


def test_until_needs_no_network_that_is_not_asked_for(tmp_path: Path, tiny_recipe: dict[str, Any]) -> None:
    tiny_recipe["student"] = {"architecture": "absent_package:build"}
    result = run(made(tiny_recipe, "teacher.epochs=1"), out=tmp_path / "run", until=("teacher",))
    assert set(result.summary.models) == {"teacher"}


def test_until_runs_a_stage_and_what_it_reads(tmp_path: Path, tiny_recipe: dict[str, Any]) -> None:
    stages = Stages()
    result = run(made(tiny_recipe, "teacher.epochs=1"), out=tmp_path / "run", until=("teacher",), progress=stages)
    assert stages.started == ["teacher"]
    assert result.summary.models["teacher"].accuracy is None  # the test split is read by verify alone
    assert result.summary.artifacts == ()


def test_a_saved_model_can_teach(finished: RunResult, tmp_path: Path, tiny_recipe: dict[str, Any]) -> None:
    saved = finished.folder / "teacher" / "model.keras"
    tiny_recipe["teacher"] = {"model": str(saved)}
    tiny_recipe["student"]["epochs"] = 1
    tiny_recipe["distill"]["losses"] = [{"loss": "soft_logits"}]  # the second teacher has no such layers
    until = ("student_distilled",)
    first = run(made(tiny_recipe), out=tmp_path / "run", until=until)
    weights = finished.summary.models["teacher"].weights_sha256
    assert first.summary.models["teacher"].weights_sha256 == weights
    assert first.summary.curves["teacher"] == ()
    other = tmp_path / "teacher.keras"
    shutil.copy(finished.folder / "student_labels" / "model.keras", other)
    tiny_recipe["teacher"] = {"model": str(other)}
    again = run(made(tiny_recipe), out=tmp_path / "run", until=until)
    assert again.worked == ("teacher", "student_distilled")


def test_a_saved_student_is_trained_on_from_its_weights(
    finished: RunResult, tmp_path: Path, tiny_recipe: dict[str, Any]
) -> None:
    saved = finished.folder / "student_labels" / "model.keras"
    tiny_recipe["student"] = {"model": str(saved), "epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    result = run(made(tiny_recipe), out=tmp_path / "run", until=("student_labels",))
    before, after = (keras.models.load_model(path) for path in (saved, tmp_path / "run/student_labels/model.keras"))
    for old, new in zip(before.trainable_variables, after.trainable_variables, strict=True):
        np.testing.assert_allclose(old.numpy(), new.numpy(), atol=1e-6)
    assert result.summary.models["student_labels"].architecture == "saved model model.keras"


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            ["distill.losses.1.taps=[[block1, rely2]]"],
            ModelError,
            r"losses\.1\.taps \(the teacher's\): .*'rely2'.*'relu2'",
        ),
        (
            ["distill.losses.2.taps=[[nowhere, relu2]]"],
            ModelError,
            r"^distill\.losses\.2\.taps \(the student's\): unknown tap 'nowhere'",
        ),
        (
            ["teacher=null", "distill={way: self, exits: [nowhere]}"],
            ModelError,
            "^distill.exits: unknown tap 'nowhere' of model",
        ),
        (["distill.losses.1.taps=[[block1, logits]]"], ShapeError, "feature map"),
        (["data.dataset=npz:absent.npz", "data.samples=null"], EdgekdError, "samples"),
        (["teacher={model: absent.keras}"], StorageError, "absent.keras"),
        (["student={architecture: 'absent_package:build'}"], EdgekdError, "absent_package"),
        (["data.shape=[40]", "data.augment.shift=1"], DataError, "augment"),
        (["teacher={architecture: 'networks_of_mine:subclassed'}"], ModelError, "teacher is a subclassed network"),
    ],
)
def test_what_does_not_fit_is_found_before_anything_is_written(
    tmp_path: Path,
    tiny_recipe: dict[str, Any],
    overrides: list[str],
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "networks_of_mine.py").write_text(SUBCLASSED)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        run(made(tiny_recipe, *overrides), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_is_refused(
    finished: RunResult, tmp_path: Path, tiny_recipe: dict[str, Any]
) -> None:
    tiny_recipe["teacher"] = {"model": str(finished.folder / "teacher" / "model.keras")}
    tiny_recipe["data"]["classes"] = 4
    with pytest.raises(ShapeError, match=r"teacher's output has shape \(3,\).*4 classes"):
        run(made(tiny_recipe), out=tmp_path / "run")


def test_the_folder_of_another_recipe_is_refused_and_kept(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    before = {path: path.read_bytes() for path in finished_copy.rglob("*") if path.is_file()}
    with pytest.raises(StorageError, match=r"holds a run of recipe 'tiny' on 'synthetic', not of 'another' on"):
        run(made(tiny_recipe, "name=another"), out=finished_copy)
    assert before == {path: path.read_bytes() for path in finished_copy.rglob("*") if path.is_file()}


def test_a_run_on_other_data_does_not_replace_this_one(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    tiny_recipe["data"] = {"dataset": "embedded"}
    with pytest.raises(StorageError, match=r"on 'synthetic', not of 'tiny' on 'embedded': choose another --out"):
        run(made(tiny_recipe), out=finished_copy)


def test_a_folder_with_other_things_is_refused_and_kept(tmp_path: Path, tiny_recipe: dict[str, Any]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="not empty"):
        run(made(tiny_recipe), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_whose_first_claim_was_killed_is_claimed(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".partial-abc.json").write_bytes(b'{"recipe": "ti')
    with RunFolder(tmp_path, recipe_name="tiny", dataset="synthetic"):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "run.json"]


def test_a_folder_whose_owner_cannot_be_read_is_refused(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    (finished_copy / "run.json").write_text("{")
    with pytest.raises(StorageError, match=r"run.json' is damaged.*choose another --out"):
        run(made(tiny_recipe), out=finished_copy)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, tiny_recipe: dict[str, Any]) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StorageError, match="is a file"):
        run(made(tiny_recipe), out=tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(
    tiny_recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgekd.pipeline.execution.load_data", None)
    with pytest.raises(StorageError, match=r"cannot write '/proc/edgekd.*choose another"):
        run(made(tiny_recipe), out=Path("/proc/edgekd/run"))


def test_a_folder_in_use_is_refused(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    with (
        RunFolder(finished_copy, recipe_name="tiny", dataset="synthetic"),
        pytest.raises(StorageError, match="in use by another edgekd process"),
    ):
        run(made(tiny_recipe), out=finished_copy)


def test_leftovers_of_killed_writes_are_removed(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    leftover = finished_copy / "export" / ".partial-abc.tflite"
    leftover.write_bytes(b"half")
    run(made(tiny_recipe), out=finished_copy)
    assert not leftover.exists()


def test_a_damaged_record_is_named(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    (finished_copy / "export" / "stage.json").write_text('{"stage": "export"')
    with pytest.raises(StorageError, match=r"stage.json.*not a valid.*delete it"):
        run(made(tiny_recipe), out=finished_copy)


def test_provenance_is_recorded(finished: RunResult, tiny_recipe: dict[str, Any]) -> None:
    summary = finished.summary
    assert summary.recipe_sha256 == made(tiny_recipe).sha256
    assert summary.experiment_sha256 == made(tiny_recipe).experiment_sha256
    assert summary.seed == 3
    assert summary.environment.packages["tensorflow"] == __import__("tensorflow").__version__
    assert summary.data.fingerprint == api.load_data(**tiny_recipe["data"]).fingerprint
    assert set(summary.seconds) == {"teacher", "student_labels", "student_distilled", "export", "verify", "bench"}
    assert storage.sha256_file(finished.folder / summary.artifacts[0].path) == summary.artifacts[0].sha256


def test_a_stage_that_was_done_with_other_versions_says_so(finished_copy: Path, tiny_recipe: dict[str, Any]) -> None:
    marker = finished_copy / "teacher" / "stage.json"
    version = __import__("tensorflow").__version__
    marker.write_text(marker.read_text().replace(f'"tensorflow": "{version}"', '"tensorflow": "2.0.0"'))
    summary = run(made(tiny_recipe), out=finished_copy).summary
    assert set(summary.earlier_environments) == {"teacher"}
    assert summary.earlier_environments["teacher"].packages["tensorflow"] == "2.0.0"
    assert summary.environment.packages["tensorflow"] == version
    assert "tensorflow 2.0.0" in (finished_copy / "report.md").read_text()
