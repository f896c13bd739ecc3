import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from edgekd import bench, storage
from edgekd.bench.collecting import MOST_PROCESSES
from edgekd.bench.connection import Connection
from edgekd.bench.samples import RawSamples
from edgekd.errors import ModelError, RecipeError, StorageError
from edgekd.records import Artifact, Measurement, TensorSpec
from tests.bench.shortest import SHORTEST

pytestmark = pytest.mark.usefixtures("kept_children")

QUICK = SHORTEST | {"processes": 3, "blocks": 2, "min_runs": 20}


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
        assert record.latency_ms.p50 == pytest.approx(np.median(medians))
        assert np.percentile(samples, 80) < record.latency_ms.p90 <= samples.max()
        assert (record.latency_ms.p99 is None) == (len(samples) < 1000)
        assert record.latency_ms.minimum == samples.min()
        assert record.latency_ms.interval.value == pytest.approx(np.median(medians))
        assert record.processes == len(raw.processes) == 3
        assert raw.sha256 == record.sha256
        assert raw.settings["seed"] == 5
        assert raw.settings["min_runs"] == 20
        assert raw.settings["max_warmup_seconds"] == 0.1
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


def test_batches_are_measured_on_their_own(tmp_path, dense_tflite, dense_onnx):
    found = bench.measure(
        [dense_tflite, dense_onnx], raw_folder=tmp_path / "raw", batches=(1, 4), **{**QUICK, "processes": 1}
    )
    assert [(record.artifact, record.batch) for record in found] == [
        ("dense.tflite", 1),
        ("dense.onnx", 1),
        ("dense.tflite", 4),
        ("dense.onnx", 4),
    ]
    raw = RawSamples.read(tmp_path / found[3].samples_path)
    assert raw.batch == 4
    assert raw.processes[0].inputs[0].shape == (4, 64)
    assert found[0].macs == found[2].macs == 64 * 16


def test_a_goal_of_precision_ends_the_measurement_or_is_said_to_be_missed(tmp_path, dense_tflite):
    settings = {key: value for key, value in QUICK.items() if key != "processes"}
    (easy,) = bench.measure([dense_tflite], raw_folder=tmp_path, precision=0.99, **settings)
    assert easy.ended == "precision"
    assert 5 <= easy.processes < MOST_PROCESSES  # five give the first interval; a busy machine may need some more
    (hard,) = bench.measure([dense_tflite], raw_folder=tmp_path, precision=1e-9, **{**QUICK, "processes": 3})
    assert hard.ended == "processes"
    assert any("The interval was to be within" in warning for warning in hard.warnings)


def test_a_goal_of_ratios_that_is_missed_is_said_of_each_but_the_first(tmp_path, dense_tflite, int8_tflite):
    first, other = bench.measure(
        [dense_tflite, int8_tflite], raw_folder=tmp_path, precision=1e-9, of_ratios=True, **QUICK
    )
    assert not any("was to be within" in each for each in first.warnings)
    assert any("interval of the ratio to the first was to be within ±1e-07%" in each for each in other.warnings)


def test_a_budget_of_seconds_ends_the_measurement(tmp_path, dense_tflite):
    (found,) = bench.measure([dense_tflite], raw_folder=tmp_path, seconds=0.01, **QUICK)
    assert (found.ended, found.processes) == ("seconds", 1)


def interrupted(done):
    def interrupt(step, total, text):
        if step == done:
            raise KeyboardInterrupt

    return interrupt


def test_what_was_measured_before_an_interruption_is_kept_and_marked(tmp_path, dense_tflite):
    broken = []
    (found,) = bench.measure(
        [dense_tflite], raw_folder=tmp_path / "raw", on_progress=interrupted(5), on_broken_off=broken.append, **QUICK
    )
    assert (found.ended, found.processes, found.failure) == ("interrupted", 1, None)
    assert [type(each) for each in broken] == [KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt):
        bench.measure([dense_tflite], raw_folder=tmp_path / "raised", on_progress=interrupted(5), **QUICK)
    (raw,) = (tmp_path / "raised").iterdir()
    assert RawSamples.read(raw).ended == "interrupted"


@pytest.mark.parametrize("awaited", [True, False], ids=["between blocks", "within a block"])
def test_a_sustained_measurement_that_is_stopped_keeps_its_blocks(
    tmp_path, monkeypatch, dense_tflite, dense_onnx, awaited
):
    """Within a block its answer comes later, and must not be taken for the document."""
    answer, blocks = Connection.answer, list[str]()

    def stopped(self, step):
        blocks.extend([step] if step == "block" else [])
        if len(blocks) == 3 and step == "block":
            if awaited:
                answer(self, step)
            raise KeyboardInterrupt
        return answer(self, step)

    monkeypatch.setattr(Connection, "answer", stopped)
    broken = []
    (found,) = bench.measure(  # of the second model there is nothing
        [dense_tflite, dense_onnx],
        raw_folder=tmp_path / "raw",
        on_broken_off=broken.append,
        **QUICK | {"minutes": 1.0, "processes": 1},
    )
    assert isinstance(broken[0], KeyboardInterrupt)
    assert (found.artifact, found.ended, found.mode) == (dense_tflite.name, "interrupted", "sustained")
    assert len(found.minute_medians_ms) == 1
    raw = RawSamples.read(tmp_path / found.samples_path)
    assert raw.ended == "interrupted"
    assert len(raw.processes[0].blocks) == 3


def test_a_sustained_measurement_that_is_stopped_before_its_first_block_leaves_nothing(
    tmp_path, monkeypatch, dense_tflite
):
    def stopped(self, step):
        if step == "block":
            raise KeyboardInterrupt
        return answer(self, step)

    answer = Connection.answer
    monkeypatch.setattr(Connection, "answer", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench.measure(
            [dense_tflite],
            raw_folder=tmp_path / "raw",
            on_broken_off=print,
            **QUICK | {"minutes": 1.0, "processes": 1},
        )
    assert not (tmp_path / "raw").exists()


def test_what_was_measured_before_the_temporary_folder_is_full_is_kept_and_marked(tmp_path, monkeypatch, dense_tflite):
    """Whatever a file meets there: here the folder is gone, since a disk cannot be filled without being root."""

    def fill(done, total, text):
        if done == 3:  # the last block of the first round
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))

    broken = []
    (found,) = bench.measure(
        [dense_tflite], raw_folder=tmp_path / "raw", on_progress=fill, on_broken_off=broken.append, **QUICK
    )
    (error,) = broken
    assert isinstance(error, StorageError)
    assert "cannot make a temporary folder (No such file or directory): free some space in" in str(error)
    assert (found.ended, found.processes, found.failure) == ("failed", 1, str(error))
    assert RawSamples.read(tmp_path / found.samples_path).ended == "failed"


def test_numbers_are_not_lost_with_samples_that_cannot_be_kept(tmp_path, dense_tflite):
    (tmp_path / "raw").write_text("a file where the folder would be")
    broken = []
    settings = {**QUICK, "processes": 1}
    (found,) = bench.measure([dense_tflite], raw_folder=tmp_path / "raw", on_broken_off=broken.append, **settings)
    assert (found.ended, found.samples_path, found.processes) == ("processes", None, 1)
    assert "raw" in found.failure
    assert bench.compare([found, found], tmp_path) == ()
    with pytest.raises(StorageError, match="raw"):
        bench.measure([dense_tflite], raw_folder=tmp_path / "raw", **settings)


def test_an_interruption_before_the_first_round_leaves_nothing(tmp_path, dense_tflite):
    with pytest.raises(KeyboardInterrupt):
        bench.measure(
            [dense_tflite], raw_folder=tmp_path / "raw", on_progress=interrupted(1), on_broken_off=print, **QUICK
        )
    assert not (tmp_path / "raw").exists()


def test_a_sustained_measurement_has_medians_of_minutes(tmp_path, dense_tflite, dense_onnx):
    found = bench.measure(
        [dense_tflite, dense_onnx], raw_folder=tmp_path, minutes=0.005, min_block_ms=20.0, min_warmup_seconds=0.01
    )
    for record in found:
        assert (record.mode, record.processes, record.throttled) == ("sustained", 1, None)
        assert len(record.minute_medians_ms) == 1
        assert not any("too few for an interval" in warning for warning in record.warnings)


def test_a_periodic_measurement_counts_late_runs(tmp_path, dense_tflite):
    (found,) = bench.measure([dense_tflite], raw_folder=tmp_path, interval_ms=2.0, **{**QUICK, "processes": 1})
    assert (found.mode, found.interval_ms) == ("periodic", 2.0)
    assert 0 <= found.late_runs < found.num_runs


def test_an_address_belongs_to_targets_that_have_one(tmp_path, dense_tflite):
    with pytest.raises(RecipeError, match="target 'local' is written 'local': it has no address"):
        bench.measure([dense_tflite], raw_folder=tmp_path, target="local://here", **QUICK)


def test_arithmetic_is_that_of_the_batch_that_ran(tmp_path, eight_tflite):
    found = bench.measure(
        [eight_tflite], raw_folder=tmp_path / "raw", batches=(None, 8, 16), **{**QUICK, "processes": 1}
    )
    assert [each.macs for each in found] == [8 * 64 * 16] * 3
    assert [each.run_macs for each in found] == [8 * 64 * 16, 8 * 64 * 16, 16 * 64 * 16]
    for each in found:
        assert each.gmacs_per_second == pytest.approx(each.run_macs / (each.latency_ms.p50 * 1e-3) / 1e9)
