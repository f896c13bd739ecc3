"""edgekd verify: what it prints, its exit status, and its documents."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest

import edgekd
from edgekd import storage
from edgekd.verify.records import StageTable, Verification

pytestmark = pytest.mark.usefixtures("kept_children")


@pytest.fixture
def linear(tmp_path):
    """Returns a function that writes logits = images @ weights as an ONNX file and returns its path."""

    def write(name, weights, shape=("batch",)):
        weights = np.asarray(weights, np.float32)
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("MatMul", ["image", "weights"], ["logits"])],
            "linear",
            [value("image", onnx.TensorProto.FLOAT, [*shape, weights.shape[0]])],
            [value("logits", onnx.TensorProto.FLOAT, [*shape, weights.shape[1]])],
            [onnx.numpy_helper.from_array(weights, "weights")],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def models(linear):
    right = np.float32([[2, 0], [0, 2], [0, 1]])
    return linear("a.onnx", right), linear("same.onnx", right), linear("other.onnx", right + np.float32(0.01))


@pytest.fixture
def data(tmp_path):
    np.savez(tmp_path / "data.npz", image=np.eye(3, dtype=np.float32), labels=np.array([0, 1, 1]))
    return tmp_path / "data.npz"


def test_what_passes_is_shown_with_what_was_allowed_and_why(edgekd_command, models):
    reference, same, _ = models
    result = edgekd_command("verify", reference, same)
    assert result.status == 0, result.err
    assert "against a.onnx (onnxruntime), on 64 seeded samples (seed 0):" in result.out
    assert "made up, since no data was given" in result.out
    assert "(no file declares a range: 0 to 1)" in result.out
    assert "allowed for logits of same.onnx: 64 x epsilon of float32 x the reference's largest output" in result.out
    assert "Accuracy" not in result.out
    assert result.out.endswith("\n1 candidate: 1 passed\n")


def test_what_fails_says_how_far_and_ends_with_status_1(edgekd_command, models):
    reference, same, other = models
    result = edgekd_command("verify", reference, same, other)
    assert result.status == 1
    *_, said, closing = result.out.splitlines()
    assert said.startswith("failed: other.onnx: logits: off by up to 0.0")
    assert closing == "2 candidates: 1 passed, 1 failed"
    assert result.out.lower().count("fail") == 2  # in full, and in the last line
    assert result.err == ""
    lenient = ["--max-abs", "0.1", "--min-sqnr-db", "10"]
    assert edgekd_command("verify", reference, other, *lenient).status == 0


def test_a_file_that_a_dataset_names_is_read_as_a_recipe_reads_it(edgekd_command, linear, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.random((20, 3), np.float32), "y_train": np.arange(20) % 2}
    np.savez(tmp_path / "named.npz", **arrays, x_test=rng.random((7, 3), np.float32), y_test=np.arange(7) % 2)
    model = linear("a.onnx", np.float32([[2, 0], [0, 2], [0, 1]]))
    result = edgekd_command("verify", model, model, "--data", f"npz:{tmp_path / 'named.npz'}")
    assert result.status == 0, result.err
    assert "on 7 samples of npz:named.npz test" in result.out


def test_intervals_that_hold_the_limit_end_with_status_3(edgekd_command, models, data):
    reference, same, _ = models
    result = edgekd_command("verify", reference, same, "--data", data, "--by-interval")
    assert result.status == 3
    assert "gate inconclusive: same.onnx: agreement is 1 (3 of 3 samples); it must be >= 0.98" in result.out
    assert result.out.endswith("\n1 candidate: 1 inconclusive\n")


def test_a_reference_of_zeros_ends_with_status_3(edgekd_command, linear):
    dead = linear("dead.onnx", np.zeros((3, 2)))
    result = edgekd_command("verify", dead, dead)
    assert result.status == 3
    assert "inconclusive: dead.onnx: logits: every value of 'dead.onnx' is zero" in result.out


def test_the_document_is_the_documented_record(edgekd_command, models, data):
    reference, same, other = models
    result = edgekd_command("verify", reference, same, other, "--data", data, "--json")
    assert result.status == 1
    found = Verification.model_validate_json(result.out)
    assert (found.schema_version, found.status, found.samples, found.seeded) == (1, "failed", 3, False)
    assert [pair.status for pair in found.pairs] == ["passed", "failed"]
    assert json.loads(result.out)["comparisons"][0]["accuracy_drop"]["value"] == 0
    assert found.gates[0].subject == "same.onnx"


def test_a_matrix_shows_every_pair(edgekd_command, models):
    reference, _, other = models
    result = edgekd_command("verify", reference, other, "--runtime", "all", "--matrix")
    assert result.status == 1
    rows = [line.split() for line in result.out.splitlines() if line.strip()[:2] in {"1 ", "2 ", "3 ", "4 "}]
    assert [row[1] for row in rows] == [
        f"{name}@{way}" for name in ("a.onnx", "other.onnx") for way in ("onnxruntime", "onnxruntime_unoptimised")
    ]
    assert rows[1][2:] == ["identical"]
    assert rows[3].count("!") == 2
    assert rows[3][-1] == "identical"


def test_a_matrix_of_one_file_compares_its_runtimes(edgekd_command, models):
    result = edgekd_command("verify", models[0], "--matrix", "--runtime", "all", "--json")
    assert result.status == 0, result.err
    (pair,) = json.loads(result.out)["pairs"]
    assert (pair["reference"], pair["candidate"]) == ("a.onnx@onnxruntime", "a.onnx@onnxruntime_unoptimised")
    alone = edgekd_command("verify", models[0], "--matrix")
    assert alone.status == 2
    assert "or for a matrix one file and several runtimes (--runtime all)" in alone.err


def test_open_sizes_ranges_and_seeds_are_options(edgekd_command, linear):
    model = linear("open.onnx", np.ones((3, 2)), shape=("batch", "frames"))
    refused = edgekd_command("verify", model, model)
    assert refused.status == 2
    assert "say a size for each, such as --shape image=1x1x3" in refused.err
    shown = edgekd_command(
        "verify",
        model,
        model,
        "--shape",
        "image=1x5x3",
        "--range",
        "image=-2:-1",
        "--seeded",
        "7",
        "--seed",
        "3",
        "--json",
    )
    assert shown.status == 0, shown.err
    document = json.loads(shown.out)
    assert document["inputs"][0]["shape"] == [5, 3]
    assert -2 <= document["inputs"][0]["low"] < document["inputs"][0]["high"] <= -1
    assert document["dataset"] == "7 seeded samples (seed 3)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a REFERENCE and at least one of CANDIDATES"),
        (["a.onnx"], "give a REFERENCE and at least one of CANDIDATES"),
        (["a.onnx", "absent.onnx"], "absent.onnx"),
        (["a.onnx", "a.onnx", "--range", "image"], "--range 'image' is not of the form NAME=VALUE"),
        (
            ["a.onnx", "a.onnx", "--range", "image=low:high"],
            "--range 'image=low:high' is not of the form INPUT=LOW:HIGH",
        ),
        (["a.onnx", "a.onnx", "--shape", "image=1xx3"], "--shape 'image=1xx3' is not of the form"),
        (["a.onnx", "a.onnx", "--max-abs", "nan"], "max_abs is nan: expected a finite number of 0 or more"),
        (["a.onnx", "a.onnx", "--epsilons", "inf"], "epsilons is inf"),
        (["a.onnx", "a.onnx", "--runtime", "litret"], "unknown runtime 'litret'"),
        (["a.onnx", "a.onnx", "--data", "empty.npz"], "are empty: nothing can be compared"),
        (["a.onnx", "a.onnx", "--data", "absent.npz"], "absent.npz"),
        (["a.onnx", "--stages", "runs/x"], "--stages RUN takes the models of the run"),
        (["--stages", "runs/x", "--max-abs", "1"], "takes the data and limits of the run: leave out --max-abs"),
        (["a.onnx", "a.onnx", "--data", "some.npz", "--seed", "1"], "--seed is for made-up samples"),
        (["a.onnx", "a.onnx", "--data", "some.npz", "--range", "image=0:1"], "--range is for made-up samples"),
        (["a.onnx", "a.onnx", "--data", "some.npz", "--split", "test"], "--split is for a dataset by name"),
        (["a.onnx", "a.onnx", "--set", "size=3"], "--set is for a dataset by name"),
        (["a.onnx", "a.onnx", "--layer-samples", "3"], "--layer-samples is for --layers"),
        (["a.onnx", "a.onnx", "--max-accuracy-drop", "0"], "max_accuracy_drop needs labelled data, and 64 seeded"),
        (["a.onnx", "a.onnx", "--by-interval"], "by_interval judges accuracy and agreement, and nothing asks"),
        (["a.onnx", "a.onnx", "--max-lsb", "1"], "max_lsb is for models that compute in integers"),
        (["a.onnx", "a.onnx", "--runtime", "litert"], "nothing would be run in it: it opens .tflite files"),
        (["a.onnx", "a.onnx@onnxruntime", "--runtime", "all"], "one without an @RUNTIME of its own"),
        (["a.onnx", "a.onnx", "--data", "some.npz"], "3 of 4 labels of some.npz are no class of output 'logits'"),
        (["--stages", "."], "holds no finished run"),
        (["wide.onnx", "a.onnx"], "only models with the same output"),
    ],
)
def test_a_mistake_ends_with_status_2(edgekd_command, models, linear, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.savez("empty.npz", image=np.zeros((0, 3), np.float32))
    np.savez("some.npz", image=np.ones((4, 3), np.float32), labels=[99, 1, -1, 2])
    if "wide.onnx" in arguments:
        model = onnx.load(models[0])
        model.graph.output.append(onnx.helper.make_tensor_value_info("weights", onnx.TensorProto.FLOAT, [3, 2]))
        onnx.save(model, "wide.onnx")
    result = edgekd_command("verify", *arguments)
    assert result.status == 2
    assert message in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_a_run_shows_where_accuracy_was_lost(edgekd_command, finished):
    result = edgekd_command(
        "verify", "--stages", finished.folder, "--runtime", "litert", "--runtime", "litert_builtin", "--json"
    )
    assert result.status == 0, result.err
    found = StageTable.model_validate_json(result.out)
    made_of = {row.name: row.before for row in found.rows}
    assert made_of == {
        "teacher": None,
        "student_labels": "teacher",
        "student_distilled": "teacher",
        "student-float32.tflite@litert": "student_distilled",
        "student-float32.tflite@litert_builtin": "student-float32.tflite@litert",
        "student-int8.tflite@litert": "student_distilled",
        "student-int8.tflite@litert_builtin": "student-int8.tflite@litert",
        "student-float32.onnx": "student_distilled",
    }
    # The run measured the same by its own way.
    rows = {row.name.partition("@")[0]: row for row in reversed(found.rows)}
    for role, model in finished.summary.models.items():
        assert rows[role].accuracy.value == model.accuracy
    for artifact in finished.summary.artifacts:
        assert rows[artifact.name].accuracy.value == artifact.accuracy
        assert rows[artifact.name].agreement.value == artifact.agreement
    shown = edgekd_command("verify", "--stages", finished.folder)
    assert "student-int8.tflite" in shown.out


def test_stages_of_a_run_whose_data_has_changed_are_refused(edgekd_command, finished_copy):
    recipe = finished_copy / "recipe.yaml"
    storage.write_text(recipe, recipe.read_text().replace("samples: 400", "samples: 401"))
    result = edgekd_command("verify", "--stages", finished_copy)
    assert result.status == 2
    assert "has changed since" in result.err


BLOCKER = """
    import importlib.abc, sys

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {"tensorflow", "keras", "tf_keras", "tensorflow_datasets", "tf2onnx"}:
                raise ModuleNotFoundError(f"No module named {name!r} (this environment is bare)", name=name)

    sys.meta_path.insert(0, Absent())
"""
BARE = """
    import json, sys
    from edgekd.cli import edgekd

    for arguments in json.loads(sys.stdin.read()):
        try:
            edgekd.main(arguments, standalone_mode=False, obj={})
        except SystemExit as ended:
            assert not ended.code, (arguments, ended.code)

    from edgekd.golden.checking import check_conversion

    model, golden = sys.argv[1:]
    assert check_conversion(model, golden, seeded=2).golden_was == "written"
    assert check_conversion(model, golden, seeded=2)
    try:
        import keras
    except ModuleNotFoundError:
        print("all done")
"""


def test_tflite_and_onnx_files_need_no_tensorflow(models, tmp_path):
    """The blocker is a sitecustomize, so that the children in which files are run are bare too."""
    reference, same, _ = models
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(textwrap.dedent(BLOCKER))
    tflite = tmp_path / "tiny.tflite"
    tflite.write_bytes(tiny_tflite())
    real = ["--data", "embedded", "--set", "test_limit=9", "--max-accuracy-drop=1"]
    commands = [
        ["verify", str(reference), str(same), "--runtime", "onnxruntime_unoptimised"],
        ["verify", str(tflite), f"{tflite}@litert_builtin", f"{tflite}@tflite_micro", *real, "--json"],
        ["inspect", str(reference)],
        ["inspect", str(tflite), "--json"],
        ["diff", str(reference), str(same), "--exit-code"],
    ]
    folders = [str(tmp_path / "bare"), str(Path(edgekd.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(BARE), str(tflite), str(tmp_path / "golden.json")],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all done\n")


def tiny_tflite():
    """Returns a TFLite file of one fully connected layer, from an image [1, 28, 28, 1] to ten logits."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name, shape, buffer=0, kind=schema.TensorType.FLOAT32):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, kind, buffer
        return made

    def buffer(array=None):
        made = schema.BufferT()
        if array is not None:
            made.data = np.frombuffer(array.tobytes(), np.uint8)
        return made

    weights = np.random.default_rng(0).standard_normal((10, 784)).astype(np.float32)
    graph = schema.SubGraphT()
    graph.tensors = [tensor("image", [1, 28, 28, 1]), tensor("weights", [10, 784], 1), tensor("logits", [1, 10])]
    graph.inputs, graph.outputs = [0], [2]
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 1, -1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers, model.description = [buffer(), buffer(weights)], "tiny"
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
