"""Real files against their golden records."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekd.errors import DataError, ModelError, NonFiniteError, RecipeError, StorageError
from edgekd.golden.checking import check_conversion
from edgekd.golden.records import Golden

pytestmark = pytest.mark.usefixtures("kept_children")

NAME = "classifier-float32.tflite"
HERE = Path(__file__).parents[1] / "pytest_plugin" / "example" / "models" / NAME


@pytest.fixture
def golden(tmp_path: Path, float_path: Path) -> Path:
    return Path(shutil.copy(float_path, tmp_path))


def test_a_record_holds_what_the_file_computes(float_golden: Golden, make: dict[str, Any]) -> None:
    rng = np.random.default_rng([0, 0])
    x = rng.uniform(0, 1, (8, make["FEATURES"])).astype(np.float32)
    expected = make["activations"](make["kernels"](), x)[-1]
    (kept,) = float_golden.values
    np.testing.assert_allclose(kept.rows, expected, rtol=0, atol=1e-6)
    assert kept.name == "logits"
    assert float_golden.operators == {"FULLY_CONNECTED": 2}
    assert float_golden.run_on.samples == 8
    assert [each.norm for each in float_golden.constants] == pytest.approx(
        [float(np.linalg.norm(each)) for each in make["kernels"]()], rel=1e-6
    )


def test_a_missing_record_is_written_and_fails_and_then_passes(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    found = check_conversion(models / "classifier-int8.tflite", path)
    assert (found.status, found.golden_was) == ("failed", "written")
    assert "did not exist and was written" in str(found)
    written = path.read_text(encoding="utf-8")
    again = check_conversion(models / "classifier-int8.tflite", path)
    assert (again.status, again.golden_was) == ("passed", "compared")
    assert path.read_text(encoding="utf-8") == written


def test_a_changed_kernel_fails_with_its_place_and_regenerating_says_so_once(
    tmp_path: Path, golden: Path, make: dict[str, Any], models: Path
) -> None:
    kernels = make["kernels"]()
    rng = np.random.default_rng([0, 0])
    x = rng.uniform(0, 1, (8, make["FEATURES"])).astype(np.float32)
    before = make["activations"](kernels, x)[-1]
    kernels[1][2] *= 1.5  # the third class only
    after = make["activations"](kernels, x)[-1]
    make["write_tflite"](tmp_path / NAME, kernels)
    worst = int(np.abs(after - before)[:, 2].argmax())

    found = check_conversion(tmp_path / NAME, golden, seeded=8, baseline=models / NAME)
    text = str(found)
    assert found.status == "failed"
    assert "output 'logits': 8 of 24 values are off" in text
    assert f"most at [{worst}, 2] {before[worst, 2]:.5g}"[:20] in text
    assert "weights kernel2 of FULLY_CONNECTED: other numbers, norm" in text
    assert f"against {NAME}: weights kernel2 of FULLY_CONNECTED, relative L2" in text
    assert "kernel1" not in text

    regenerated = check_conversion(tmp_path / NAME, golden, seeded=8, regenerate=True)
    assert (regenerated.status, regenerated.golden_was) == ("failed", "regenerated")
    assert "8 of 24 values are off" in str(regenerated)
    assert check_conversion(tmp_path / NAME, golden, seeded=8, regenerate=True).golden_was == "compared"
    assert json.loads(golden.read_text(encoding="utf-8"))["values"][0]["rows"][worst][2] == pytest.approx(
        after[worst, 2], abs=1e-6
    )


def test_a_file_of_another_dtype_fails_however_wide_the_limits_are(models: Path, golden: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(models / "classifier-int8.tflite", tmp_path / NAME))
    found = check_conversion(path, golden, golden_limits={"max_abs": 1e9, "max_mismatch": 1.0}, seeded=8)
    assert {each.kind for each in found.findings if each.status == "failed"} >= {"interface", "dtype"}
    assert "dtype of input 0 (window) float32 -> int8" in str(found)
    assert "the file computes in integer, and did in float32" in str(found)
    assert "constant kernel1 of FULLY_CONNECTED float32 -> int8" in str(found)


def test_budgets_on_size_accuracy_and_agreement(
    models: Path, golden: Path, make: dict[str, Any], tmp_path: Path
) -> None:
    kernels = make["kernels"]()
    x = make["windows"]()
    labels = make["activations"](kernels, x)[-1].argmax(axis=-1)
    kernels[1] = kernels[1][::-1].copy()  # the classes swap places
    wrong = make["activations"](kernels, x)[-1].argmax(axis=-1)
    make["write_tflite"](tmp_path / "swapped.tflite", kernels)
    found = check_conversion(
        tmp_path / "swapped.tflite",
        tmp_path / "swapped.json",
        reference=models / "classifier.onnx",
        data=models.parent / "tests" / "data" / "windows.npz",
        max_accuracy_drop=0.1,
        min_agreement=0.9,
        max_size_bytes=1000,
        reference_limits={"max_abs": 100.0},
    )
    same = float(np.mean(labels == wrong))
    messages = {each.message.partition(" against")[0]: each for each in found.findings if each.kind == "reference"}
    assert f"{1 - same:.4f}, must be <= 0.1" in messages["accuracy_drop"].message
    assert f"{same:.4f}, must be >= 0.9" in messages["agreement"].message
    assert {messages[name].status for name in ("accuracy_drop", "agreement")} == {"failed"}
    (size,) = (each for each in found.findings if each.kind == "size")
    assert size.status == "failed"
    assert f"{(tmp_path / 'swapped.tflite').stat().st_size:,} bytes, over the budget of 1,000" in size.message
    assert Golden.read(tmp_path / "swapped.json").metrics == {
        "samples": 200,
        "accuracy": pytest.approx(same),
        "agreement": pytest.approx(same),
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"min_agreement": 0.9}, RecipeError, "min_agreement need a reference"),
        ({"max_latency_ratio": 1.1}, RecipeError, "max_latency_ratio needs a baseline"),
        ({"max_latency_ratio": 0, "baseline": "x.tflite"}, RecipeError, "expected a number above 0"),
        ({"golden_limits": {"max_lsbs": 1}}, RecipeError, "Did you mean 'max_lsb'"),
        ({"bench_settings": {"processes": 3}}, RecipeError, "are for max_latency_ratio"),
        ({"data": "x.npz", "seeded": 3}, RecipeError, "choose one of them"),
        ({"data": "x.npz", "ranges": {"window": (0, 1)}}, RecipeError, "are those of seeded samples"),
        ({"max_latency_ratio": 2.0, "baseline": f"{HERE}@litert_builtin"}, RecipeError, "compared in one runtime"),
        (
            {"model": f"{HERE}@tflite_micro", "max_latency_ratio": 2.0, "baseline": HERE},
            RecipeError,
            "cannot measure in 'tflite_micro': it measures in 'litert', 'litert_builtin', 'onnxruntime'",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    models: Path, golden: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_conversion(**{"model": models / NAME, "golden": golden, **options})


def test_a_check_that_ends_in_an_error_writes_no_record(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    with pytest.raises(StorageError, match=r"absent\.onnx"):
        check_conversion(models / NAME, path, baseline="absent.onnx", seeded=8)
    bench = {"processes": 0}
    with pytest.raises(RecipeError, match="processes"):  # told by what measures, which comes last
        check_conversion(models / NAME, path, baseline=HERE, max_latency_ratio=2.0, bench_settings=bench, seeded=8)
    assert not path.exists()


def test_latency_is_measured_in_the_runtime_that_the_file_names(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def measure(files: Any, **settings: Any) -> None:
        asked.update(settings, files=files)
        raise ModelError("enough is known")

    monkeypatch.setattr("edgekd.golden.checking.bench.measure", measure)
    with pytest.raises(ModelError, match="enough is known"):
        check_conversion(
            f"{models / NAME}@litert_builtin",
            tmp_path / "record.json",
            baseline=models / "classifier-int8.tflite",
            max_latency_ratio=2.0,
            seeded=8,
        )
    assert asked["delegate"] == "none"
    assert asked["files"] == [models / NAME, models / "classifier-int8.tflite"]


def test_all_samples_and_their_labels_are_those_of_the_record(models: Path, tmp_path: Path, make: Any) -> None:
    x = make["windows"]()[:40]
    labels = make["activations"](make["kernels"](), x)[-1].argmax(axis=-1)
    path, data = tmp_path / "record.json", tmp_path / "data.npz"
    np.savez(data, x=x, y=labels)
    assert not check_conversion(models / NAME, path, data=data)
    assert Golden.read(path).run_on.samples == 40
    np.savez(data, x=np.concatenate([x[:32], x[32:] + 0.5]), y=labels)  # only outputs of the first 32 are kept
    found = check_conversion(models / NAME, path, data=data)
    assert {each.kind for each in found.findings if each.status == "failed"} == {"data"}
    assert found.causes == ("the samples are other ones: data.npz -> data.npz",)
    np.savez(data, x=x, y=(labels + 1) % 3)
    found = check_conversion(models / NAME, path, data=data)
    assert {each.kind for each in found.findings if each.status == "failed"} == {"data"}
    assert found.causes == ("the samples are as they were, and their labels changed: data.npz",)
    np.savez(data, x=x, y=labels + 9)
    with pytest.raises(DataError, match=r"40 of 40 labels of data\.npz are no class of output 'logits'"):
        check_conversion(models / NAME, path, data=data)


def test_records_of_another_schema_are_refused(models: Path, golden: Path) -> None:
    document = json.loads(golden.read_text(encoding="utf-8"))
    golden.write_text(json.dumps({**document, "schema_version": 99}), encoding="utf-8")
    with pytest.raises(StorageError, match=r"is not a golden record .*schema_version"):
        check_conversion(models / NAME, golden, seeded=8)


def test_a_file_whose_outputs_are_not_finite_gets_no_record(make: dict[str, Any], tmp_path: Path) -> None:
    kernels = make["kernels"]()
    kernels[1][0, 0] = np.nan
    make["write_tflite"](tmp_path / NAME, kernels)
    with pytest.raises(NonFiniteError, match="of 24 values of output 'logits' are NaN or infinite"):
        check_conversion(tmp_path / NAME, tmp_path / "record.json", seeded=8)
    assert not (tmp_path / "record.json").exists()


def test_a_damaged_record_and_a_file_that_is_no_export_are_refused(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("<<<<<<< ours\n", encoding="utf-8")
    with pytest.raises(StorageError, match="is not a golden record that this edgekd reads"):
        check_conversion(models / NAME, path)
    with pytest.raises(ModelError, match="is no exported file"):
        check_conversion(models / "model.keras", path)


def with_a_sigmoid(path: Path, moved: float) -> Path:
    """Writes p = logistic(x + moved) in integers: x in steps of 0.25, p in steps of 1/256."""
    node, value, kind = onnx.helper.make_node, onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    numbers = {"step": np.float32(0.25), "zero": np.int8(0), "moved": np.float32(moved)}
    numbers |= {"step_p": np.float32(1 / 256), "zero_p": np.int8(-128)}
    nodes = [
        node("Add", ["x", "moved"], ["y"]),
        node("QuantizeLinear", ["y", "step", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "step", "zero"], ["z"]),
        node("Sigmoid", ["z"], ["s"]),
        node("QuantizeLinear", ["s", "step_p", "zero_p"], ["r"]),
        node("DequantizeLinear", ["r", "step_p", "zero_p"], ["p"]),
    ]
    constants = [onnx.numpy_helper.from_array(each, name) for name, each in numbers.items()]
    graph = onnx.helper.make_graph(nodes, "g", [value("x", kind, [1, 3])], [value("p", kind, [1, 3])], constants)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_steps_before_a_sigmoid_are_kept_and_allowed(tmp_path: Path) -> None:
    model, path = with_a_sigmoid(tmp_path / "sigmoid.onnx", 0.0), tmp_path / "record.json"
    check_conversion(model, path, seeded=8)
    (kept,) = Golden.read(path).values
    assert (kept.activation, kept.activation_step, kept.step) == ("logistic", 0.25, 1 / 256)
    found = check_conversion(with_a_sigmoid(model, 0.25), path, seeded=8)
    assert [each.message.partition(";")[0] for each in found.findings if each.kind == "outputs"] == [
        "output 'p': 0 of 24 values off"
    ]
    far = check_conversion(with_a_sigmoid(model, 0.75), path, seeded=8)
    assert "24 of 24 values are off" in next(each.message for each in far.findings if each.kind == "outputs")
