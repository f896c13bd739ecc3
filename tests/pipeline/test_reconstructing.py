"""Runs whose networks give back their inputs: real images, of which one class is normal and others are anomalies."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from scipy import stats

import edgekd
from edgekd import architectures, recipe
from edgekd.errors import RecipeError, ShapeError
from edgekd.pipeline import Progress, RunResult, excluding, run, stage_table
from edgekd.records import Summary

TROUSER, DRESS = 1, 3
CLIP = 3  # windows of one recording, here images that are judged together
TRAINING = {"architecture": "autoencoder", "depth": 1, "bottleneck": 8, "optimizer": "adam", "learning_rate": 0.003}
HINT = {"loss": "feature_mse", "weight": 1.0, "taps": [["reconstruction", "reconstruction"]]}
INT8 = {"format": "tflite", "scheme": "int8", "input_dtype": "int8", "output_dtype": "int8"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fashion-MNIST's trousers to learn from; others of them and dresses to test on, in threes."""
    embedded = edgekd.load_data("embedded")
    images = {
        split.labels.dtype.type(label): split.read(np.flatnonzero(split.labels == label))[0].reshape(-1, 784)
        for split in (embedded.train,)
        for label in (TROUSER, DRESS)
    }
    test = np.concatenate([images[TROUSER][-90:], images[DRESS][:90]])
    clips = np.arange(len(test)) // CLIP
    order = np.random.default_rng(0).permutation(len(test))
    path = tmp_path_factory.mktemp("trousers") / "trousers.npz"
    train = images[TROUSER][:600]
    arrays = {"x_train": train, "y_train": np.zeros(len(train), int), "x_test": test[order]}
    np.savez(path, **arrays, y_test=np.repeat([0, 1], 90)[order], clip_test=clips[order])
    return path


@pytest.fixture(scope="module")
def document(samples: Path) -> dict[str, Any]:
    return {
        "name": "trousers",
        "task": "reconstruction",
        "seed": 3,
        "data": {"dataset": f"npz:{samples}", "class_names": ["trouser", "dress"], "batch_size": 32},
        "teacher": {**TRAINING, "width": 64, "epochs": 12},
        "student": {**TRAINING, "width": 32, "epochs": 8},
        "distill": {"labels_weight": 1.0, "losses": [HINT]},
        "quantize": {"aware": {"epochs": 1, "optimizer": "adam", "learning_rate": 0.0005}},
        "export": [{"format": "tflite", "scheme": "float32"}, INT8, {"format": "onnx", "scheme": "float32"}],
        "calibration": {"samples": 200},
        "verify": {"min_auc": 0.8, "max_auc_drop": 0.05},
        "bench": {"targets": []},
    }


@pytest.fixture(scope="module")
def ended(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(recipe.from_document(document), out=tmp_path_factory.mktemp("reconstruction") / "run")


def litert(path: Path, samples: np.ndarray) -> np.ndarray:
    """Returns what a file gives back as LiteRT itself computes it, one sample after the other."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        samples = np.clip(np.round(samples / scale) + zero, -128, 127).astype(np.int8)
    for sample in samples:
        interpreter.set_tensor(given["index"], sample[None])
        interpreter.invoke()
        output = interpreter.get_tensor(gives["index"])[0].astype(np.float64)
        scale, zero = gives["quantization"] if gives["dtype"] == np.int8 else (1, 0)
        outputs.append((output - zero) * scale)
    return np.array(outputs)


def judged(arrays: Any, outputs: np.ndarray) -> tuple[float, float]:
    """Returns the mean squared error of what is normal, and the area over clips, pair by pair."""
    errors = ((arrays["x_test"].astype(np.float64) - outputs) ** 2).mean(axis=1)
    clips = np.unique(arrays["clip_test"])
    scores = np.array([errors[arrays["clip_test"] == clip].mean() for clip in clips])
    labels = np.array([arrays["y_test"][arrays["clip_test"] == clip][0] for clip in clips])
    normal, anomalous = scores[labels == 0], scores[labels == 1]
    area = np.mean([(a > n) + (a == n) / 2 for a in anomalous for n in normal])
    return float(errors[arrays["y_test"] == 0].mean()), float(area)


def test_networks_and_files_have_the_error_and_the_area_that_keras_and_litert_give(
    ended: RunResult, samples: Path
) -> None:
    summary, arrays = ended.summary, np.load(samples)
    found = {}
    for role, model in summary.models.items():
        network = architectures.load_model(ended.folder / model.path)
        found[role] = (model.reconstruction, network.predict(arrays["x_test"], verbose=0))
    for artifact in summary.artifacts:
        if artifact.format == "tflite":
            found[artifact.name] = (artifact.reconstruction, litert(ended.folder / artifact.path, arrays["x_test"]))
    assert len(found) == 4 + 2
    for name, (quality, outputs) in found.items():
        mse, area = judged(arrays, outputs)
        assert quality.mse == pytest.approx(mse, rel=0.002), name
        assert quality.auc.value == pytest.approx(area, abs=0.005), name
        assert quality.auc.low < quality.auc.value < quality.auc.high or quality.auc.value == 1, name
        assert (quality.normal, quality.anomalous) == (30, 30)
        assert area > 0.8, name  # trousers are told from dresses


def test_nothing_is_called_an_accuracy(ended: RunResult) -> None:
    summary = Summary.read(ended.folder / "summary.json")
    assert summary.task == "reconstruction"
    assert summary.predictions_path is None
    assert summary.taught == "offline: 1.0 × inputs + 1.0 × feature_mse (reconstruction from reconstruction)"
    for model in summary.models.values():
        assert (model.accuracy, model.accuracy_interval, model.validation_accuracy) == (None, None, None)
        assert 0 < model.validation_loss < 0.1
    for artifact in summary.artifacts:
        assert (artifact.accuracy, artifact.accuracy_drop, artifact.agreement) == (None, None, None)
    for comparison in summary.comparisons:
        assert (comparison.agreement, comparison.candidate_accuracy) == (None, None)
    assert {row.accuracy for row in summary.stages} == {None}
    assert {row.validation_accuracy for curve in summary.curves.values() for row in curve} == {None}
    assert set(summary.curves["student_distilled"][0].terms) == {"inputs", "feature_mse"}
    assert set(summary.curves["student_labels"][0].terms) == {"inputs"}


def test_drops_are_differences_of_areas(ended: RunResult) -> None:
    models = {role: model.reconstruction.auc.value for role, model in ended.summary.models.items()}
    files = {artifact.name: artifact.reconstruction.auc.value for artifact in ended.summary.artifacts}
    areas = models | files
    for role, gain in ended.summary.gains.items():
        assert gain.value == pytest.approx(areas[role] - areas["student_labels"])
    assert set(ended.summary.gains) == {"student_distilled", "student_quantized"}
    for row in ended.summary.stages:
        if row.before:
            assert row.auc_drop.value == pytest.approx(areas[row.before] - areas[row.name])
    for comparison in ended.summary.comparisons:
        assert comparison.auc_drop.value == pytest.approx(areas[comparison.reference] - areas[comparison.candidate])


def test_gates_are_of_ratios_areas_and_integer_steps(ended: RunResult) -> None:
    found = {(gate.subject.partition(".")[0].removeprefix("student-"), gate.name) for gate in ended.summary.gates}
    int8 = "int8-int8_in_int8_out"
    assert found == {
        ("float32", "sqnr_db"),
        ("float32", "auc_drop"),
        ("float32", "auc"),
        (int8, "sqnr_db"),  # against the int8 student: that was trained further
        (int8, "auc_drop"),
        (int8, "auc"),
        (int8, "beyond_one_lsb"),
    }
    assert all(gate.passed for gate in ended.summary.gates)
    assert len(ended.summary.gates) == 10  # of three files


def test_a_file_that_is_judged_too_strictly_fails(ended: RunResult, document: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(ended.folder, tmp_path / "run")
    strict = {**document, "verify": {"min_sqnr_db": 200.0, "min_auc": 1.0, "max_auc_drop": None}}
    again = run(recipe.from_document(strict), out=tmp_path / "run")
    assert again.worked == ("verify",)
    passed = {gate.name: gate.passed for gate in again.summary.gates if "float32" in gate.subject}
    best = max(each.reconstruction.auc.value for each in again.summary.artifacts)
    assert passed == {"sqnr_db": False, "auc": best == 1.0}


def test_stages_can_be_told_in_other_runtimes(ended: RunResult) -> None:
    rows = {row.name: row for row in stage_table.stage_table(ended.folder, runtimes=("litert", "onnxruntime")).rows}
    for row in ended.summary.stages:
        told = rows.get(row.name) or next(each for name, each in rows.items() if name.startswith(row.name))
        assert told.reconstruction.auc.value == pytest.approx(row.reconstruction.auc.value, abs=1e-9)
        assert told.auc_drop == row.auc_drop or told.auc_drop.value == pytest.approx(row.auc_drop.value, abs=1e-9)


def test_a_keras_file_or_a_file_of_its_own_can_teach(
    ended: RunResult, document: dict[str, Any], tmp_path: Path
) -> None:
    """A teacher from outside: as a Keras file, and as a TFLite file whose only output is the reconstruction."""
    float32 = next(each.path for each in ended.summary.artifacts if each.name == "student-float32.tflite")
    shared = {"quantize": None, "export": [{"format": "tflite"}], "verify": {}}
    keras_file = {"model": str(ended.folder / "teacher" / "model.keras")}
    of_file = {"teacher": {"model": str(ended.folder / float32)}}
    for number, changes in enumerate(({"teacher": keras_file}, of_file)):
        short = {**document, **shared, **changes, "student": {**document["student"], "epochs": 2}}
        found = run(recipe.from_document(short), out=tmp_path / str(number), until=("student_distilled",)).summary
        source = "teacher" if number == 0 else "student_distilled"
        assert found.models["teacher"].validation_loss == pytest.approx(
            ended.summary.models[source].validation_loss, rel=1e-3
        )
        assert found.curves["student_distilled"][-1].terms["feature_mse"] > 0


def test_teachings_can_be_cached(ended: RunResult, document: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(ended.folder, tmp_path / "run")
    cache = {"folder": str(tmp_path / "cache"), "dtype": "float32"}
    changed = {**document, "distill": {**document["distill"], "cache": cache}}
    cached = run(recipe.from_document(changed), out=tmp_path / "run", until=("student_distilled",))
    assert cached.worked == ("student_distilled",)
    live = ended.summary.curves["student_distilled"]
    for one, other in zip(live, cached.summary.curves["student_distilled"], strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)


def test_networks_that_do_not_give_back_their_inputs_are_refused_before_training(
    document: dict[str, Any], tmp_path: Path
) -> None:
    classifier = {"architecture": "lab_cnn", "epochs": 1}
    changes = {"data": {"dataset": "embedded", "train_limit": 100}, "verify": {}}
    for section, tap in (("student", ["logits", "reconstruction"]), ("teacher", ["reconstruction", "logits"])):
        changes |= {"distill": {"losses": [{**HINT, "taps": [tap]}]}}
        with pytest.raises(ShapeError, match=rf"the {section}'s output has shape \(10,\), but its task is reconstruct"):
            run(recipe.from_document({**document, **changes, section: classifier}), out=tmp_path / section)
        assert not (tmp_path / section / "teacher").exists()


OWN = """
import keras
from keras import layers


def build(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    code = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="code")(inputs)
    wide = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(code)
    return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", name="image")(wide))
"""


def test_a_convolutional_autoencoder_of_ones_own_goes_down_the_road_and_without_anomalies_there_is_no_area(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reconstructing_networks.py").write_text(OWN)
    network = {"architecture": "reconstructing_networks:build", "epochs": 1, "optimizer": "adam", "learning_rate": 0.01}
    short = {**document, "teacher": network, "student": network, "quantize": None, "verify": {"min_sqnr_db": 15.0}}
    short |= {
        "data": {"dataset": "embedded", "train_limit": 300, "test_limit": 60},
        "export": [{"format": "tflite"}, INT8],
    }
    short["distill"] = {"losses": [{**HINT, "taps": [["code", "code"]]}]}
    summary = run(recipe.from_document(short), out=tmp_path / "run").summary
    for each in (*summary.models.values(), *summary.artifacts):  # of data whose classes are all learned
        assert each.reconstruction.auc is None
        assert (each.reconstruction.normal, each.reconstruction.anomalous) == (60, 0)
    assert summary.gains == {}
    assert [gate.name for gate in summary.gates] == ["sqnr_db"] * 2
    assert all(gate.passed for gate in summary.gates)
    for artifact in summary.artifacts:
        assert artifact.outputs[0].shape == (1, 28, 28, 1)
        assert "reconstruction" in artifact.outputs[0].name


def test_every_file_is_held_to_its_network_whatever_was_left_out_of_it(
    document: dict[str, Any], ended: RunResult, tmp_path: Path
) -> None:
    """Without anomalies, and with outputs in float, which have no steps."""
    shutil.copytree(ended.folder, tmp_path / "run")
    quantize = {"aware": {"epochs": 1, "optimizer": "adam"}, "exclude": ["reconstruction"]}
    changes = {
        "quantize": quantize,
        "export": [{"format": "tflite", "scheme": "int8"}],
        "verify": {"max_auc_drop": None},
    }
    found = run(recipe.from_document({**document, **changes}), out=tmp_path / "run")
    assert set(found.worked) == {"student_quantized", "export", "verify", "bench"}
    (gate,) = found.summary.gates
    assert (gate.name, gate.passed) == ("sqnr_db", True)


def test_an_area_that_cannot_be_is_refused_before_training(document: dict[str, Any], tmp_path: Path) -> None:
    data = {"dataset": "embedded", "train_limit": 100}
    with pytest.raises(RecipeError, match=r"verify\.min_auc is 0\.8, and no test sample of 'embedded' is an anomaly"):
        run(recipe.from_document({**document, "data": data}), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("teach", "message"),
    [
        (
            lambda edge, model, data: edge.distill_model(model, model, data, losses=[{"loss": "soft_logits"}]),
            "loss 'soft_logits' is of classes",
        ),
        (lambda edge, model, data: edge.distill_peers([model, model], data), "loss 'soft_logits' is of classes"),
        (
            lambda edge, model, data: edge.distill_self(model, data, exits=["encoder"]),
            "loss 'soft_logits' is of classes",
        ),
        (
            lambda edge, model, data: edge.distill_self(model, data, exits=["encoder"], losses=[HINT]),
            "exits are classifiers",
        ),
        (
            lambda edge, model, data: edge.distill_model(
                model, model, data, losses=[{"loss": "crd", "taps": [["encoder", "encoder"]]}]
            ),
            "loss 'crd' is of classes",
        ),
        (lambda edge, model, data: edge.train_model(model, data, mixup=0.3), "mixup blends samples and their classes"),
        (lambda edge, model, data: edge.train_model(model, data, label_smoothing=0.1), "label_smoothing is 0.1"),
    ],
)
def test_the_python_interface_refuses_what_is_of_classes(samples: Path, teach: Any, message: str) -> None:
    data = edgekd.load_data(f"npz:{samples}", task="reconstruction", class_names=["trouser", "dress"])
    model = edgekd.create_model("autoencoder", data, width=8, depth=1, bottleneck=4)
    with pytest.raises(RecipeError, match=message):
        teach(edgekd, model, data)


def test_files_are_compared_by_value_alone_from_python_and_by_commands(
    ended: RunResult, samples: Path, edgekd_command: Any
) -> None:
    data = edgekd.load_data(f"npz:{samples}", task="reconstruction", class_names=["trouser", "dress"])
    network = ended.folder / "student_distilled" / "model.keras"
    file = next(ended.folder / each.path for each in ended.summary.artifacts if each.format == "tflite")
    alone = edgekd.verify_model(network, file, data.test, task="reconstruction")
    assert (alone.candidate_accuracy, alone.agreement) == (None, None)
    assert alone.outputs[0].sqnr_db > 60
    several = edgekd.verify_models(network, [file], data=data)
    assert several
    assert not several.labelled
    assert several.comparisons[0].agreement is None
    named = [network, file, "--data", samples, "--min-sqnr-db", "60"]
    told = edgekd_command("verify", *named, "--classes", "none")
    assert told.status == 0, told.err
    assert "Accuracy" not in told.out


def test_data_of_one_class_is_shown_and_calibrates(
    ended: RunResult, samples: Path, edgekd_command: Any, tmp_path: Path
) -> None:
    names = ["--set", "data.class_names=[trouser,dress]"]
    shown = edgekd_command("data", "show", f"npz:{samples}", "--set", "class_names=[trouser,dress]")
    assert shown.status == 0, shown.err
    exported = edgekd_command(
        *("export", ended.folder / "student_distilled" / "model.keras", "--scheme", "int8", "--format", "tflite"),
        *("--dataset", f"npz:{samples}", *names, "--out", tmp_path),
    )
    assert exported.status == 0, exported.err


def test_layers_of_networks_without_accuracy_are_not_searched(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is of task reconstruction, and layers are judged by the accuracy"):
        excluding.analyse_student(recipe.from_document(document), out=tmp_path / "run", progress=Progress())


def test_the_python_interface_trains_an_autoencoder(samples: Path) -> None:
    data = edgekd.load_data(f"npz:{samples}", task="reconstruction", class_names=["trouser", "dress"])
    small = {"width": 16, "depth": 1, "bottleneck": 4}
    teacher, student = (edgekd.create_model("autoencoder", data, seed=seed, **small) for seed in (0, 1))
    settings = {"epochs": 3, "optimizer": "adam", "learning_rate": 0.003, "batch_size": 32}
    curve = edgekd.train_model(teacher, data, **settings)
    assert curve[-1].validation_loss < curve[0].validation_loss
    taught = edgekd.distill_model(student, teacher, data, **settings)  # by the default objective of the task
    assert set(taught[-1].terms) == {"inputs", "feature_mse"}
    given = data.validation.images[:50]
    expected = np.mean((student.predict(data.validation.images, verbose=0) - data.validation.images) ** 2)
    assert min(row.validation_loss for row in taught) == pytest.approx(float(expected), rel=1e-4)
    assert stats.pearsonr(student.predict(given, verbose=0).ravel(), given.ravel()).statistic > 0.5
    assert isinstance(student, keras.Model)
