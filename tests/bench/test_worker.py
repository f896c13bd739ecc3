import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgekd.bench import worker

JOB = {
    "num_threads": 1,
    "seed": 0,
    "inputs": None,
    "blocks": 2,
    "min_runs": 7,
    "min_block_ms": 1.0,
    "min_warmup_seconds": 0.01,
    "max_warmup_seconds": 0.5,
}


def run_worker(folder: Path, model: Path, *, script: Path | None = None, commands: str = "", **changes):
    job = folder / "job.json"
    job.write_text(json.dumps({**JOB, "model": str(model), **changes}))
    return subprocess.run(
        [sys.executable, str(script or worker.__file__), str(job)],
        capture_output=True,
        text=True,
        input=commands,
        cwd=folder,
        env={"PYTHONSAFEPATH": "1"},
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("model", "runtime", "dtype"),
    [
        ("dense_tflite", "ai-edge-litert", "float32"),
        ("int8_tflite", "ai-edge-litert", "int8"),
        ("dynamic_batch_tflite", "ai-edge-litert", "float32"),
        ("dense_onnx", "onnxruntime", "float32"),
    ],
)
def test_a_worker_prints_one_document_with_every_sample(tmp_path, request, model, runtime, dtype):
    done = run_worker(tmp_path, request.getfixturevalue(model))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["runtime"] == runtime
    assert document["inputs"] == [{"name": "x", "shape": [1, 64], "dtype": dtype}]
    assert len(document["blocks"]) == 2
    for block in document["blocks"]:
        assert len(block["samples_ns"]) >= 7
        assert all(isinstance(sample, int) and sample >= 0 for sample in block["samples_ns"])
        assert block["loop_ns_per_run"] > 0
    assert document["warmup_runs"] >= 5 + 2 * worker.RESUME_RUNS
    assert document["num_threads"] == 1
    assert min(document["cold"][key] for key in ("import_ms", "load_ms", "first_inference_ms")) > 0


def test_litert_names_the_delegate_and_onnxruntime_its_provider(tmp_path, dense_tflite, dense_onnx):
    litert = json.loads(run_worker(tmp_path, dense_tflite).stdout)
    onnxruntime = json.loads(run_worker(tmp_path, dense_onnx).stdout)
    assert (litert["delegate"], litert["delegate_partitions"]) == ("XNNPACK", 1)
    assert onnxruntime["delegate"] == "CPUExecutionProvider"
    assert litert["cold"]["allocate_ms"] > 0
    assert onnxruntime["cold"]["allocate_ms"] is None


def test_blocks_run_on_command_and_finish_prints_the_whole_document(tmp_path, dense_tflite):
    done = run_worker(tmp_path, dense_tflite, blocks=None, commands="warm-up\nblock\nblock\nblock\nfinish\n")
    cold, warmup, *blocks, document = [json.loads(line) for line in done.stdout.splitlines()]
    assert cold == document["cold"]
    assert warmup["warmup_runs"] >= 5
    assert [block["runs"] for block in blocks] == [len(block["samples_ns"]) for block in document["blocks"]]
    assert len(blocks) == 3


def test_a_worker_whose_caller_is_gone_ends(tmp_path, dense_tflite):
    done = run_worker(tmp_path, dense_tflite, blocks=None, commands="")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


@pytest.fixture
def square_onnx(tmp_path):
    """A product of 512 x 512 numbers, enough work for two threads."""
    kernel = onnx.numpy_helper.from_array(np.ones((512, 512), np.float32), "kernel")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [512, 512]) for name in ("x", "y"))
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["x", "kernel"], ["y"])], "g", [x], [y], [kernel])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "square.onnx")
    return tmp_path / "square.onnx"


def test_a_worker_that_has_answered_leaves_the_processor_to_others(tmp_path, square_onnx):
    job = {**JOB, "model": str(square_onnx), "blocks": None, "num_threads": 2}
    (tmp_path / "job.json").write_text(json.dumps(job))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, worker.__file__, str(tmp_path / "job.json")], **pipes) as started:
        started.stdout.readline()
        spent = []
        for _ in range(3):
            started.stdin.write(b"block\n")
            started.stdin.flush()
            started.stdout.readline()
            before = processor_ns(started.pid)
            time.sleep(0.1)
            spent.append(processor_ns(started.pid) - before)
        started.stdin.close()
    # Its pool of threads would spin for some 20 ms.
    assert min(spent) < 5e6


def processor_ns(pid):
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def test_an_unknown_command_is_refused(tmp_path, dense_tflite):
    done = run_worker(tmp_path, dense_tflite, blocks=None, commands="blocks\n")
    assert done.returncode == worker.REFUSED_STATUS
    assert done.stderr.splitlines()[-1] == "unknown command 'blocks': expected one of warm-up, block, finish"


def test_the_worker_runs_elsewhere_without_edgekd_or_tensorflow(tmp_path, dense_tflite):
    elsewhere = tmp_path / "pushed.py"
    shutil.copy(worker.__file__, elsewhere)
    forbidden = "import sys\nfor name in ('edgekd', 'tensorflow', 'keras', 'scipy'): sys.modules[name] = None\n"
    source = elsewhere.read_text().replace("import array\n", f"{forbidden}import array\n", 1)
    assert forbidden in source
    elsewhere.write_text(source)
    done = run_worker(tmp_path, dense_tflite, script=elsewhere)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema_version"] == worker.SCHEMA_VERSION


def test_an_input_file_is_used_and_sets_the_size(tmp_path, dynamic_length_tflite):
    np.savez(tmp_path / "inputs.npz", x=np.ones((1, 5, 64), np.float32))
    done = run_worker(tmp_path, dynamic_length_tflite, inputs=str(tmp_path / "inputs.npz"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inputs"][0]["shape"] == [1, 5, 64]


def test_an_input_file_may_hold_other_models_inputs_and_a_single_array_needs_no_name(tmp_path, square_onnx):
    right, wrong = np.full((512, 512), 0.5, np.float32), np.ones((3,), np.float32)
    for arrays in ({"x": right, "other": wrong}, {"any_name": right}):
        np.savez(tmp_path / "inputs.npz", **arrays)
        done = run_worker(tmp_path, square_onnx, inputs=str(tmp_path / "inputs.npz"), min_runs=1, min_block_ms=0.1)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["inputs"] == [{"name": "x", "shape": [512, 512], "dtype": "float32"}]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            dict.fromkeys("baz", np.ones((1, 64), np.float32)),
            "inputs.npz' has no array for input 'x': it holds a, b, z. Name the arrays like the inputs",
        ),
        ({"x": np.ones((1, 63), np.float32)}, "[1, 63] float32; the model takes [1, 64] float32"),
        ({"x": np.ones((1, 64), np.float64)}, "[1, 64] float64; the model takes [1, 64] float32"),
        ({"x": np.ones((64,), np.float32)}, "[64] float32; the model takes [1, 64] float32"),
    ],
)
def test_an_input_file_that_does_not_fit_is_refused(tmp_path, dense_tflite, arrays, message):
    np.savez(tmp_path / "inputs.npz", **arrays)
    done = run_worker(tmp_path, dense_tflite, inputs=str(tmp_path / "inputs.npz"))
    assert done.returncode == worker.REFUSED_STATUS
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_an_input_file_that_is_no_archive_is_refused_by_its_name(tmp_path, dense_tflite, content):
    (tmp_path / "inputs.npz").write_bytes(content)
    done = run_worker(tmp_path, dense_tflite, inputs=str(tmp_path / "inputs.npz"))
    assert done.returncode == worker.REFUSED_STATUS
    assert "inputs.npz' is not a readable .npz archive of numbers" in done.stderr.splitlines()[-1]


def test_random_inputs_repeat_with_the_seed_and_use_the_range_of_their_type():
    specs = [
        {"name": "image", "shape": [None, 8, 8, 3], "dtype": "float32"},
        {"name": "quantised", "shape": [1, 1000], "dtype": "int8"},
        {"name": "indices", "shape": [1, 1000], "dtype": "int64"},
        {"name": "mask", "shape": [1, 1000], "dtype": "bool"},
        {"name": "half", "shape": [], "dtype": "float16"},
    ]
    first = worker.make_inputs(specs, {"seed": 3})
    again = worker.make_inputs(specs, {"seed": 3})
    other = worker.make_inputs(specs, {"seed": 4})
    assert [value.dtype.name for value in first] == [spec["dtype"] for spec in specs]
    assert [value.shape for value in first] == [(1, 8, 8, 3), (1, 1000), (1, 1000), (1, 1000), ()]
    assert all(np.array_equal(value, same) for value, same in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert first[0].min() >= 0
    assert first[0].max() < 1
    assert (first[1].min(), first[1].max()) == (-128, 127)
    assert set(first[2].ravel()) == {0, 1}


@pytest.mark.parametrize("model", ["dynamic_length_tflite", "dynamic_length_onnx"])
def test_a_shape_that_varies_beyond_the_batch_is_refused(tmp_path, request, model):
    done = run_worker(tmp_path, request.getfixturevalue(model))
    assert done.returncode == worker.REFUSED_STATUS
    assert done.stderr.splitlines()[-1].startswith("input 'x' has the shape [None, None, 64], in which more than")


def test_the_peak_memory_of_a_worker_is_its_own_and_not_its_parents(tmp_path, dense_tflite):
    parents = bytearray(300 << 20)
    parents[:: 4 << 10] = b"x" * len(parents[:: 4 << 10])  # every page is resident
    document = json.loads(run_worker(tmp_path, dense_tflite).stdout)
    assert document["peak_memory_source"] == "VmHWM"
    assert document["memory_before_load_bytes"] < document["peak_memory_bytes"] < len(parents)


def document_of(tmp_path, model, **changes):
    done = run_worker(tmp_path, model, **changes)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal_of(tmp_path, model, **changes):
    done = run_worker(tmp_path, model, **changes)
    assert done.returncode == worker.REFUSED_STATUS, done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("model", ["dense_tflite", "dynamic_batch_tflite", "dense_onnx"])
def test_a_batch_reaches_the_runtime(tmp_path, request, model):
    document = document_of(tmp_path, request.getfixturevalue(model), batch=3)
    assert document["inputs"][0]["shape"] == [3, 64]


def test_a_batch_that_the_file_does_not_carry_is_refused(tmp_path):
    import onnx

    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    flat = onnx.numpy_helper.from_array(np.array([1, -1], np.int64), "flat")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Reshape", ["x", "flat"], ["y"])],
        "g",
        [value("x", kind, ["batch", 4])],
        [value("y", kind, [1, None])],
        [flat],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "fixed.onnx")
    assert "with a batch of 2 the output 'y' has the shape [1, 8]" in refusal_of(
        tmp_path, tmp_path / "fixed.onnx", batch=2
    )
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "one.onnx",
    )
    assert "so the batch cannot be 2" in refusal_of(tmp_path, tmp_path / "one.onnx", batch=2)


def test_litert_runs_with_and_without_its_delegate(tmp_path, dense_tflite, dense_onnx):
    with_it = document_of(tmp_path, dense_tflite, delegate="xnnpack")
    assert (with_it["operators"], with_it["delegated_operators"]) == (1, 1)
    without = document_of(tmp_path, dense_tflite, delegate="none")
    assert without["delegate"] is None
    assert (without["operators"], without["delegated_operators"]) == (1, 0)
    assert "'none' is LiteRT's" in refusal_of(tmp_path, dense_onnx, delegate="none")


def test_a_delegate_that_takes_nothing_is_refused(tmp_path, dense_tflite):
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    model = schema.ModelT.InitFromPackedBuf(dense_tflite.read_bytes())
    graph = model.subgraphs[0]
    graph.operators = [schema.OperatorT()]
    graph.operators[0].inputs, graph.operators[0].outputs = np.int32([0, 0]), np.int32([3])
    graph.tensors[3].shape = graph.tensors[0].shape
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.ATAN2
    model.operatorCodes[0].deprecatedBuiltinCode = 127  # look in the other field
    model.operatorCodes[0].version = 1
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "atan2.tflite"
    path.write_bytes(builder.Output())
    assert document_of(tmp_path, path)["delegated_operators"] == 0
    assert "XNNPACK takes none of the 1 operators" in refusal_of(tmp_path, path, delegate="xnnpack")


def test_a_worker_keeps_to_its_cores(tmp_path, dense_tflite):
    core = worker.affinity_cores()[-1]
    assert document_of(tmp_path, dense_tflite, cores=[core])["affinity_cores"] == [core]
    assert "cannot be pinned to the cores [4096]" in refusal_of(tmp_path, dense_tflite, cores=[4096])


def test_periodic_runs_start_at_their_times(tmp_path, dense_tflite):
    document = document_of(tmp_path, dense_tflite, interval_ms=4.0, min_runs=10, min_block_ms=0.0)
    for block in document["blocks"]:
        assert len(block["samples_ns"]) == 10
        assert block["loop_ns_per_run"] is None
        assert block["late_runs"] < 10
    first, second = (block["begin_ns"] for block in document["blocks"])
    assert second - first >= 9 * 4e6  # ten runs, the first at once
    assert document_of(tmp_path, dense_tflite)["blocks"][0]["late_runs"] is None


def test_runs_that_cannot_start_in_time_are_counted(tmp_path, dense_tflite):
    document = document_of(tmp_path, dense_tflite, interval_ms=1e-6, min_runs=10, min_block_ms=0.0)
    assert [block["late_runs"] for block in document["blocks"]] == [9, 9]


def opened(model: Path, **changes) -> worker.Session:
    return worker.Session({**JOB, "model": str(model), **changes})


def test_the_first_inference_is_the_first_with_a_batch_too(dense_onnx, monkeypatch):
    """The outputs are checked after the inference that is timed: an earlier one would have warmed the session up."""
    calls = []
    real = worker.open_onnxruntime

    def counting(job):
        engine = real(job)

        def invoke():
            calls.append("invoke")
            engine.invoke()

        def outputs():
            calls.append("outputs")
            return engine.outputs()

        return engine._replace(invoke=invoke, outputs=outputs)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", None)
    monkeypatch.setitem(worker.ENGINES, ".onnx", counting)
    session = opened(dense_onnx, batch=3)
    assert calls == ["invoke", "outputs"]
    assert session.engine.outputs() == [("y", [3, 16])]
    assert session.first_inference_ms > 0


def test_an_onnx_call_makes_no_arrays(dense_onnx):
    """As LiteRT's: what is timed of both is the model, and neither copies inputs nor makes outputs."""
    engine = opened(dense_onnx).engine
    assert engine.invoke() is None
    assert [each.shape for each in engine.arrays] == [(1, 64)]


def test_a_sustained_block_lasts_its_time_and_times_so_many_runs(dense_tflite):
    session = opened(dense_tflite, min_block_ms=100.0, most_runs=50)
    session.warm_up()
    session.block()
    answer = session.block()
    block = session.document()["blocks"][1]
    assert 90e6 < block["end_ns"] - block["begin_ns"] == answer["end_ns"] - answer["begin_ns"]
    assert 7 <= len(block["samples_ns"]) <= 1000
    assert block["untimed_runs"] >= 10 * len(block["samples_ns"]), "of a model of microseconds most are not timed"
    assert opened(dense_tflite).block()["runs"] >= 7, "without a limit every run is timed"


def test_a_periodic_measurement_is_warmed_up_at_its_interval_too(dense_tflite):
    session = opened(dense_tflite, interval_ms=5.0, min_runs=3, min_block_ms=1.0)
    begin = time.monotonic()
    found = session.warm_up()
    assert time.monotonic() - begin >= 0.005 * (found["warmup_runs"] - found["warmup_runs"] / 3) * 0.9
    begin = time.monotonic()
    session.block()
    assert time.monotonic() - begin >= 0.005 * (worker.RESUME_RUNS - 1 + 1 + 2) * 0.9


def test_clock_rates_are_those_of_the_core_that_the_thread_runs_on(monkeypatch):
    after_name = ["S", *["0"] * 35, "3", *["0"] * 10]
    files = {
        "/proc/self/stat": ["7 (a) b) " + " ".join(after_name)],
        "/sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": ["1200000"],
        "/sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq": ["2400000"],
    }
    monkeypatch.setattr(worker, "_lines", lambda path: files.get(path, []))
    assert worker.clock_rates_khz() == (1_200_000, 2_400_000)
    del files["/sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq"]
    assert worker.clock_rates_khz() == (None, 2_400_000)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own file")
def test_the_core_is_where_the_system_says(tmp_path):
    core = sorted(os.sched_getaffinity(0))[-1]
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import worker; os.sched_setaffinity(0, {int(sys.argv[2])});"
        "worker._read = worker._lines; seen = [];"
        "worker._lines = lambda path: (seen.append(path), worker._read(path))[1];"
        "worker.clock_rates_khz(); print(seen[1])"
    )
    folder = str(Path(worker.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, folder, str(core)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"
