import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekd import bench, storage
from edgekd.bench.samples import RawSamples
from edgekd.errors import ModelError, RecipeError, StorageError
from edgekd.records import Artifact, Measurement, TensorSpec

QUICK = {"processes": 3, "blocks": 2, "min_runs": 20, "min_block_ms": 1.0, "min_warmup_seconds": 0.01}


def artifact(path: Path, root: Path, **changes) -> Artifact:
    spec = TensorSpec(name="x", shape=(1, 64), dtype="float32")
    fields = {
        "name": "student_float32",
        "source": "student_distilled",
        "format": "tflite",
        "scheme": "float32",
        "path": path.relative_to(root).as_posix(),
        "size_bytes": path.stat().st_size,
        "sha256": storage.sha256_file(path),
        "inputs": (spec,),
        "outputs": (spec,),
    }
    return Artifact(**{**fields, **changes})


def test_a_measurement_agrees_with_its_raw_samples(tmp_path, dense_tflite, dense_onnx):
    raw_folder = tmp_path / "bench" / "raw"
    root = dense_tflite.parent
    found = bench.measure(
        [artifact(dense_tflite, root), dense_onnx],
        root=root,
        raw_folder=raw_folder,
        num_threads=(1, 2),
        seed=5,
        **QUICK,
    )
    assert [(record.artifact, record.num_threads) for record in found] == [
        ("student_float32", 1),
        ("dense.onnx", 1),
        ("student_float32", 2),
        ("dense.onnx", 2),
    ]
    for record in found:
        assert Measurement.model_validate_json(record.model_dump_json()) == record
        raw = RawSamples.read(raw_folder.parent / record.samples_path)
        samples = (
            np.array([ns for process in raw.processes for block in process.blocks for ns in block.samples_ns]) / 1e6
        )
        medians = [
            np.median([ns for block in process.blocks for ns in block.samples_ns]) / 1e6 for process in raw.processes
        ]
        assert record.num_runs == len(samples) >= 3 * 2 * 20
        assert record.latency_ms.p50 == pytest.approx(np.median(samples))
        assert record.latency_ms.p90 == pytest.approx(np.percentile(samples, 90))
        assert (record.latency_ms.p99 is None) == (len(samples) < 1000)
        assert record.latency_ms.minimum == samples.min()
        assert record.latency_ms.interval.value == pytest.approx(np.median(medians))
        assert record.processes == len(raw.processes) == 3
        assert raw.sha256 == record.sha256
        assert raw.settings["seed"] == 5
        assert raw.settings["min_runs"] == 20
        assert raw.settings["max_warmup_seconds"] == 5.0
        assert record.peak_memory_bytes == max(process.peak_memory_bytes for process in raw.processes)
        assert record.load_ms > 0
        assert record.first_inference_ms > 0
        assert record.target == "local"
    assert found[0].runtime.startswith("ai-edge-litert ")
    assert found[0].size_bytes == dense_tflite.stat().st_size
    assert found[0].samples_path == "raw/student_float32.local.1-threads.json"


def test_progress_counts_over_all_numbers_of_threads(tmp_path, dense_tflite):
    steps = []
    bench.measure(
        [dense_tflite],
        raw_folder=tmp_path,
        num_threads=(1, 2),
        on_progress=lambda done, total, _: steps.append((done, total)),
        **{**QUICK, "processes": 1},
    )
    assert steps == [(done, 6) for done in range(1, 7)]


def test_files_of_the_same_name_keep_apart(tmp_path, dense_tflite):
    paths = []
    for folder in ("old", "new"):
        paths.append(tmp_path / folder / "model.tflite")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(dense_tflite.read_bytes())
    found = bench.measure(paths, raw_folder=tmp_path / "raw", **{**QUICK, "processes": 1})
    assert [record.artifact for record in found] == [str(path) for path in paths]
    assert len({record.samples_path for record in found}) == 2


def test_the_same_model_twice_is_refused(tmp_path, dense_tflite):
    with pytest.raises(RecipeError, match="given more than once"):
        bench.measure([dense_tflite, dense_tflite], raw_folder=tmp_path)


def test_a_file_that_changed_since_its_export_is_refused(tmp_path, dense_tflite):
    stale = artifact(dense_tflite, dense_tflite.parent, sha256="0" * 64)
    with pytest.raises(
        ModelError, match=r"is not the file that was exported as 'student_float32'.*expected 000000000000"
    ):
        bench.measure([stale], root=dense_tflite.parent, raw_folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_target_is_refused_with_a_suggestion(tmp_path, dense_tflite):
    with pytest.raises(RecipeError, match=r"unknown target 'locale'. Did you mean 'local'\?"):
        bench.measure([dense_tflite], raw_folder=tmp_path, target="locale")


def test_an_unknown_setting_is_refused_with_a_suggestion(tmp_path, dense_tflite):
    with pytest.raises(RecipeError, match=r"unknown setting of target 'local' 'proceses'. Did you mean 'processes'\?"):
        bench.measure([dense_tflite], raw_folder=tmp_path, proceses=3)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"processes": "3"}, "processes must be a whole number, got '3'"),
        ({"inputs": 3}, "inputs must be a string or null, got 3"),
    ],
)
def test_a_setting_of_the_wrong_type_is_refused(tmp_path, dense_tflite, setting, words):
    with pytest.raises(RecipeError, match=f"setting of target 'local' {words}"):
        bench.measure([dense_tflite], raw_folder=tmp_path, **setting)


@pytest.mark.parametrize("threads", [(), (1, 1), (0,)])
def test_impossible_numbers_of_threads_are_refused(tmp_path, dense_tflite, threads):
    with pytest.raises(RecipeError, match="num_threads"):
        bench.measure([dense_tflite], raw_folder=tmp_path, num_threads=threads)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StorageError, match="does not exist"):
        bench.measure([tmp_path / "gone.tflite"], raw_folder=tmp_path)


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / "student.keras").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"expected a file that ends in \.tflite or \.onnx"):
        bench.measure([tmp_path / "student.keras"], raw_folder=tmp_path)


def test_supported_formats_are_told_by_the_suffix():
    assert bench.supports(Path("a.tflite"))
    assert bench.supports(Path("A.ONNX"))
    assert not bench.supports(Path("a.keras"))


def test_measuring_imports_no_tensorflow_and_no_keras(tmp_path, dense_tflite):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "for name in ('tensorflow', 'keras', 'tf_keras', 'tensorflow_datasets'): sys.modules[name] = None\n"
        "from edgekd import bench\n"
        "found = bench.measure([Path(sys.argv[1])], raw_folder=Path(sys.argv[2]), processes=1, blocks=1, min_runs=5,\n"
        "                      min_block_ms=1.0, min_warmup_seconds=0.01)\n"
        "print(found[0].num_runs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(dense_tflite), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
