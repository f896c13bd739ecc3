"""The sparse student of a run: pruned, clustered or shrunk, taught on, and still sparse in the int8 file."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekd import architectures, recipe
from edgekd.distill.stopping import StopRequest
from edgekd.errors import EdgekdError, ModelError, RecipeError, StoppedError
from edgekd.pipeline import Progress, RunResult, run
from edgekd.pipeline.stage import MODEL_FILE, STUDENT_DISTILLED, STUDENT_QUANTIZED, STUDENT_SPARSE
from edgekd.records import Artifact, Summary
from edgekd.verify import gates

KERNELS = {"conv1": (3, 3, 3, 8), "conv2": (3, 3, 8, 8), "logits": (8, 3)}
TRAINING = {"epochs": 1, "optimizer": "adam", "learning_rate": 0.01}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    network = {**TRAINING, "epochs": 3, "architecture": "lab_cnn", "filters": [8, 8]}
    return {
        "name": "sparse",
        "seed": 5,
        "data": {"dataset": "synthetic", "samples": 300, "classes": 3, "shape": [8, 8, 3], "batch_size": 8},
        "teacher": network,
        "student": network,
        "distill": {
            "losses": [
                {"loss": "soft_logits", "weight": {"schedule": "linear", "from": 0.0, "to": 0.8, "end_epoch": 1}},
                {"loss": "attention_transfer", "weight": 1.0, "taps": [["relu1", "relu1"]]},
            ],
        },
        "sparsify": {"prune": {"sparsity": 0.75, "ramp": {"updates": 3}}, **TRAINING, "epochs": 2},
        "quantize": {"aware": {"epochs": 1, "optimizer": "adam", "learning_rate": 0.001}},
        "export": [
            {"format": "tflite", "scheme": "float32"},
            {"format": "tflite", "scheme": "int8"},
            {"format": "onnx", "scheme": "int8"},
        ],
        "calibration": {"samples": 60},
        "verify": {"max_accuracy_drop": 1.0},
        "bench": {"targets": []},
    }


@pytest.fixture(scope="module")
def pruned(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(recipe.from_document(document), out=tmp_path_factory.mktemp("sparse") / "run")


def changed(document: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(document)), **sections}


def ran_from(pruned: RunResult, document: dict[str, Any], folder: Path, **sections: Any) -> RunResult:
    """Runs a recipe whose first stages are those of the finished run."""
    shutil.copytree(pruned.folder, folder)
    return run(recipe.from_document(changed(document, **sections)), out=folder)


def kernels(folder: Path, stage: str) -> dict[str, np.ndarray]:
    model = architectures.load_model(folder / stage / MODEL_FILE)
    return {name: model.get_layer(name).kernel.numpy() for name in KERNELS}


def stored_kernels(path: Path) -> dict[tuple[int, ...], np.ndarray]:
    """Returns the constants of a TFLite file that are shaped like the student's kernels, read by LiteRT."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    shapes = {(8, 3, 3, 3), (8, 3, 3, 8), (3, 8)}
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    constants = {tuple(detail["shape"]): index for index, detail in details.items() if tuple(detail["shape"]) in shapes}
    return {shape: interpreter.get_tensor(index) for shape, index in constants.items()}


def files_of(ended: RunResult) -> dict[str, Artifact]:
    return {f"{artifact.format} {artifact.scheme}": artifact for artifact in ended.summary.artifacts}


def test_the_sparse_student_has_exactly_the_zeros_that_were_asked_for(pruned: RunResult) -> None:
    found = kernels(pruned.folder, STUDENT_SPARSE)
    assert {name: int((kernel == 0).sum()) for name, kernel in found.items()} == {
        name: 3 * int(np.prod(shape)) // 4 for name, shape in KERNELS.items()
    }
    dense = kernels(pruned.folder, STUDENT_DISTILLED)
    assert all((kernel != 0).all() for kernel in dense.values())
    assert all((found[name][found[name] != 0] != dense[name][found[name] != 0]).all() for name in KERNELS)


def test_the_same_teacher_and_losses_go_on_teaching(pruned: RunResult) -> None:
    curve = pruned.summary.curves["student_sparse"]
    assert len(curve) == 2
    assert curve[-1].validation_accuracy > 0.6  # of three classes
    assert set(curve[0].terms) == {"labels", "soft_logits", "attention_transfer"}


def test_zeros_survive_quantisation_aware_training_into_the_int8_file(pruned: RunResult) -> None:
    sparse = kernels(pruned.folder, STUDENT_SPARSE)
    stored = stored_kernels(pruned.folder / files_of(pruned)["tflite int8"].path)
    for name, axes in (("conv1", (3, 0, 1, 2)), ("conv2", (3, 0, 1, 2)), ("logits", (1, 0))):
        expected = sparse[name].transpose(axes)
        integers = stored[expected.shape]
        assert integers.dtype == np.int8
        np.testing.assert_array_equal(integers[expected == 0], 0)
        assert (integers[expected != 0] != 0).mean() > 0.8


def test_records_count_what_lies_in_the_files(pruned: RunResult) -> None:
    summary = Summary.read(pruned.folder / "summary.json")
    student = summary.models["student_sparse"].kernels
    assert student is not None
    weights = sum(int(np.prod(shape)) for shape in KERNELS.values())
    assert (student.weights, student.zeros, student.sparsity) == (weights, 3 * weights // 4, 0.75)
    for key, artifact in files_of(pruned).items():
        assert artifact.kernels is not None
        assert artifact.gzip_bytes is not None
        assert artifact.gzip_bytes < artifact.size_bytes
        assert artifact.kernels.weights == weights, key
        assert artifact.kernels.zeros >= student.zeros
    tflite, onnx = files_of(pruned)["tflite int8"].kernels, files_of(pruned)["onnx int8"].kernels
    stored = stored_kernels(pruned.folder / files_of(pruned)["tflite int8"].path)
    assert tflite is not None
    assert tflite.zeros == sum(int((kernel == 0).sum()) for kernel in stored.values())
    assert tflite.distinct_values == max(len(np.unique(kernel)) for kernel in stored.values())
    assert onnx is not None
    assert (onnx.zeros, onnx.distinct_values) == (tflite.zeros, tflite.distinct_values)


def test_files_are_made_of_the_sparse_student_and_judged_against_it(pruned: RunResult) -> None:
    files = files_of(pruned)
    assert files["tflite float32"].source == STUDENT_SPARSE
    assert files["tflite int8"].source == STUDENT_QUANTIZED
    judged = {(gate.subject, gate.name): gate for gate in pruned.summary.gates}
    name = files["tflite float32"].name
    against = {each.reference: each for each in pruned.summary.comparisons if each.candidate == name}
    assert set(against) == {STUDENT_DISTILLED, STUDENT_SPARSE}
    agreement, drop = against[STUDENT_SPARSE].agreement, against[STUDENT_DISTILLED].accuracy_drop
    assert agreement is not None
    assert drop is not None
    assert judged[name, "agreement"].observed == agreement.value == 1.0
    assert judged[name, "accuracy_drop"].observed == drop.value
    assert {subject for subject, gate in judged if gate == "zeros"} == {file.name for file in files.values()}
    assert not [gate for gate in judged.values() if not gate.passed]


def test_a_kernel_that_lost_a_zero_fails_the_files_gate_whatever_another_gained(pruned: RunResult) -> None:
    file, student = files_of(pruned)["tflite float32"], pruned.summary.models[STUDENT_SPARSE].kernels
    assert student is not None
    assert file.kernels is not None
    assert file.kernels.zeros_by_kernel == student.zeros_by_kernel == (18, 162, 432)  # three quarters of KERNELS
    assert gates.pruned_gate(file, student).passed
    moved = file.kernels.model_copy(update={"zeros_by_kernel": (18, 161, 433)})
    gate = gates.pruned_gate(file.model_copy(update={"kernels": moved}), student)
    assert (gate.passed, gate.observed, gate.limit) == (False, 161, 162)
    assert not gates.pruned_gate(file.model_copy(update={"kernels": None}), student).passed
    fewer = file.kernels.model_copy(update={"zeros": 611, "zeros_by_kernel": (18, 593)})
    assert not gates.pruned_gate(file.model_copy(update={"kernels": fewer}), student).passed


def test_a_kernel_that_lost_its_clusters_fails_the_files_gate_beside_one_that_has_none(pruned: RunResult) -> None:
    file = files_of(pruned)["tflite float32"]
    assert file.kernels is not None

    def gate(found: tuple[int, ...], expected: tuple[int, ...]) -> gates.Gate:
        assert file.kernels is not None
        held, network = (
            file.kernels.model_copy(update={"distinct_by_kernel": values, "distinct_per_channel": values[-1]})
            for values in (found, expected)
        )
        return gates.clustered_gate(file.model_copy(update={"kernels": held}), network)

    assert gate((4, 4, 60), (4, 4, 72)).passed  # the last one is excluded, and rounded
    lost = gate((4, 25, 60), (4, 4, 72))
    assert (lost.passed, lost.observed, lost.limit) == (False, 25, 4)
    assert not gates.clustered_gate(file.model_copy(update={"kernels": None}), file.kernels).passed


def test_the_report_tells_zeros_values_and_compressed_sizes(pruned: RunResult) -> None:
    text = (pruned.folder / "report.md").read_text()
    section = text.partition("## Sparsity")[2].partition("##")[0]
    assert "| Sparse student | 816 | 75.00 % |" in section
    assert "student-int8.tflite" in section
    assert 'id="sparsity"' in (pruned.folder / "report.html").read_text()


def test_a_stopped_training_goes_on_to_the_same_bytes(
    pruned: RunResult, document: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copytree(pruned.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / STUDENT_SPARSE)
    stop = StopRequest()

    class Stopping(Progress):
        def training_step(self, epoch: int, step: int, means: dict[str, float], images_per_second: float) -> None:  # noqa: ARG002
            if (epoch, step) == (1, 3):
                stop.received = signal.SIGTERM

    sparse = recipe.from_document(document)
    with pytest.raises(StoppedError):
        run(sparse, out=tmp_path / "run", until=(STUDENT_SPARSE,), progress=Stopping(), stop=stop)
    assert (tmp_path / "run" / STUDENT_SPARSE / "checkpoint.npz").is_file()
    assert run(sparse, out=tmp_path / "run", until=(STUDENT_SPARSE,)).worked == (STUDENT_SPARSE,)
    resumed, straight = (folder / STUDENT_SPARSE / MODEL_FILE for folder in (tmp_path / "run", pruned.folder))
    assert resumed.read_bytes() == straight.read_bytes()


def test_channels_that_fade_out_are_gone_in_the_end(
    pruned: RunResult, document: dict[str, Any], tmp_path: Path
) -> None:
    shrink = {"amount": 0.4, "of": "parameters", "divisor": 2, "ramp": {"end": 0.5, "updates": 2}}
    files = [{"format": "tflite", "scheme": "float32"}]
    ended = ran_from(
        pruned, document, tmp_path / "run", sparsify={"shrink": shrink, **TRAINING}, quantize=None, export=files
    )
    assert ended.worked == (STUDENT_SPARSE, "export", "verify", "bench")
    before, after = (ended.summary.models[role] for role in (STUDENT_DISTILLED, STUDENT_SPARSE))
    assert before.parameters is not None
    assert after.parameters is not None
    assert after.parameters <= 0.6 * before.parameters
    assert before.macs is not None
    assert after.macs is not None
    assert after.macs < 0.7 * before.macs
    (artifact,) = ended.summary.artifacts
    assert artifact.size_bytes < files_of(pruned)["tflite float32"].size_bytes
    assert not [gate for gate in ended.summary.gates if not gate.passed]


def test_clusters_survive_quantisation_aware_training_into_the_int8_file(
    pruned: RunResult, document: dict[str, Any], tmp_path: Path
) -> None:
    files = [{"format": "tflite", "scheme": "int8"}]
    sections = {"sparsify": {"cluster": {"clusters": 4}, **TRAINING}, "export": files}
    ended = ran_from(pruned, document, tmp_path / "run", **sections)
    student = ended.summary.models[STUDENT_SPARSE]
    assert student.architecture == "lab_cnn, 4 clusters"
    assert {len(np.unique(kernel)) for kernel in kernels(tmp_path / "run", STUDENT_SPARSE).values()} == {4}
    assert student.kernels is not None
    assert (student.kernels.distinct_values, student.kernels.distinct_per_channel) == (4, 4)
    (artifact,) = ended.summary.artifacts
    stored = stored_kernels(tmp_path / "run" / artifact.path)
    assert all(len(np.unique(channel)) <= 4 for kernel in stored.values() for channel in kernel)
    (gate,) = (gate for gate in ended.summary.gates if gate.name == "distinct_values_per_channel")
    assert (gate.passed, gate.subject, gate.limit) == (True, artifact.name, 4)


def test_where_nobody_taught_from_outside_the_distilled_student_teaches(
    document: dict[str, Any], tmp_path: Path
) -> None:
    student = {**document["student"], "epochs": 1}
    alone = {"teacher": None, "student": student, "distill": {"way": "self", "exits": ["relu1"]}, "quantize": None}
    sparsify = {"shrink": {"amount": 0.3, "divisor": 2}, **TRAINING}
    ended = run(
        recipe.from_document(changed(document, **alone, sparsify=sparsify)),
        out=tmp_path / "run",
        until=(STUDENT_SPARSE,),
    )
    assert ended.worked == (STUDENT_DISTILLED, STUDENT_SPARSE)
    assert set(ended.summary.curves[STUDENT_SPARSE][0].terms) == {"labels", "soft_logits"}


def test_a_network_without_removable_channels_is_refused_before_any_training(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_fixed_network.py").write_text(
        "import keras\n"
        "def build(input_shape, num_classes):\n"
        "    inputs = keras.Input(input_shape)\n"
        "    return keras.Model(inputs, keras.layers.Dense(num_classes)(keras.layers.Flatten()(inputs)))\n"
    )
    monkeypatch.chdir(tmp_path)
    student = {"architecture": "own_fixed_network:build", "epochs": 2}
    sections = {"student": student, "distill": {}, "sparsify": {"shrink": {"amount": 0.5}}}
    with pytest.raises(ModelError, match="has no channels that can be removed"):
        run(recipe.from_document(changed(document, **sections)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sparsify", "words"),
    [
        ({"prune": {"sparsity": 0.5}, "exclude": ["conf1"]}, "conv1"),
        ({"prune": {"pattern": "4:5"}}, "has nothing to prune"),
        ({"shrink": {"amount": 0.99}}, "cannot be removed"),
        ({"shrink": {"amount": 0.4, "divisor": 2}}, "shape"),
    ],
)
def test_what_does_not_fit_the_network_is_refused_before_any_training(
    document: dict[str, Any], tmp_path: Path, sparsify: dict[str, Any], words: str
) -> None:
    # Once channels are gone, features are no longer shaped like the teacher's.
    distill = {"losses": [{"loss": "feature_mse", "adapter": "none", "taps": [["relu1", "relu1"]]}]}
    with pytest.raises(EdgekdError, match=words):
        run(recipe.from_document(changed(document, distill=distill, sparsify=sparsify)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sparsify", "words"),
    [
        ({}, "exactly one of prune, cluster and shrink.*got none"),
        ({"prune": {"sparsity": 0.5}, "cluster": {}}, "got prune and cluster"),
        ({"prune": {}}, "needs a sparsity"),
        ({"prune": {"sparsity": 1.5}}, r"prune\.sparsity: expected a number less than 1; got a float|less than 1"),
        ({"prune": {"sparsity": -0.1}}, "greater than 0"),
        ({"prune": {"pattern": "blocks", "sparsity": 0.5}}, "pattern is 'blocks': expected 'unstructured', or n:m"),
        ({"prune": {"pattern": "4:2"}}, "n must be at least 1 and less than m"),
        ({"prune": {"pattern": "2:4", "sparsity": 0.5}}, "50% of the weights become zero: remove sparsity"),
        ({"prune": {"pattern": "channels", "sparsity": 0.5}}, "is what shrink does"),
        (
            {"prune": {"sparsity": 0.5, "ramp": {"end": 3}}},
            r"sparsify\.prune\.ramp: end is 3, which is longer than the training",
        ),
        ({"prune": {"sparsity": 0.5, "ramp": {"begin": 0.8}}}, "begin is 0.8 but end is 0.75"),
        ({"prune": {"sparsity": 0.5, "ramp": {"initial": 0.6}}}, "ramp.initial is 0.6, above the 0.5"),
        ({"cluster": {"clusters": 1}}, r"cluster\.clusters.*greater than or equal to 2"),
        ({"shrink": {}}, "amount.*required"),
        ({"shrink": {"amount": 0.5, "of": "latency"}}, r"shrink\.of"),
        ({"prune": {"sparsity": 0.5}, "exclude": ["a", "a"]}, "give each layer once"),
        ({"prune": {"sparsity": 0.5}, "epoch": 3}, "epochs"),
    ],
)
def test_a_section_that_cannot_work_is_refused(document: dict[str, Any], sparsify: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe.from_document(changed(document, sparsify=sparsify))
