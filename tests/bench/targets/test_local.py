import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from edgekd.bench.plan import make_plan
from edgekd.bench.targets import local
from edgekd.errors import ModelError, RecipeError, StorageError
from tests.bench.shortest import SHORTEST

QUICK = SHORTEST | {"processes": 2, "blocks": 3}


def measured(paths, *, on_progress=None, **settings):
    """One tuple of processes per model, as the rounds gave them."""
    rounds = local.measure(paths, make_plan(**settings), on_progress=on_progress)
    return tuple(zip(*rounds, strict=True))


def children():
    """Returns the workers; what other tests have exported may have left a process that waits for the next file."""
    found = psutil.Process().children(recursive=True)
    return [each for each in found if "edgekd.runtime.probe" not in each.cmdline()]


def test_every_model_gets_its_fresh_processes_and_blocks(dense_tflite, int8_tflite, dense_onnx):
    paths = (dense_tflite, int8_tflite, dense_onnx)
    found = measured(paths, **QUICK)
    assert [len(processes) for processes in found] == [2, 2, 2]
    assert [processes[0].runtime for processes in found] == ["ai-edge-litert", "ai-edge-litert", "onnxruntime"]
    assert found[1][0].inputs[0].dtype == "int8"
    for processes in found:
        for process in processes:
            assert len(process.blocks) == 3
            assert all(len(block.samples_ns) >= 5 for block in process.blocks)
    assert children() == []


def test_the_order_within_a_block_is_shuffled_and_repeats_with_the_seed(dense_tflite, int8_tflite, dense_onnx):
    paths = (dense_tflite, int8_tflite, dense_onnx)

    def order(seed):
        steps = []
        measured(
            paths,
            **{**QUICK, "processes": 1, "blocks": 6},
            seed=seed,
            on_progress=lambda done, total, text: steps.append((done, total, text)),
        )
        assert [done for done, _, _ in steps] == list(range(1, 22))
        assert {total for _, total, _ in steps} == {21}
        return [text for _, _, text in steps]

    first = order(1)
    blocks = [tuple(first[start : start + 3]) for start in range(3, 21, 3)]
    assert all(len(set(block)) == 3 for block in blocks)
    assert len(set(blocks)) > 1
    assert first == order(1)
    assert first != order(2)


def test_the_threads_asked_for_reach_the_runtime(dense_tflite):
    ((process,),) = measured([dense_tflite], **{**QUICK, "processes": 1}, num_threads=2)
    assert process.num_threads == 2


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx"])
def test_a_file_that_is_no_model_is_reported_in_the_runtimes_words(tmp_path, name):
    path = tmp_path / name
    path.write_text("this is not a model")
    with pytest.raises(
        ModelError, match=r"cannot measure '.*model\.(tflite|onnx)' \(.*(Flatbuffer|Protobuf).*\)\. Check that"
    ):
        measured([path], **QUICK)
    assert children() == []


@pytest.mark.parametrize("model", ["dense_tflite", "dense_onnx"])
def test_a_truncated_model_is_reported(tmp_path, request, model):
    whole = request.getfixturevalue(model)
    path = tmp_path / whole.name
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    with pytest.raises(ModelError, match="cannot measure"):
        measured([path], **QUICK)


def test_a_shape_that_varies_beyond_the_batch_is_reported(dynamic_length_tflite):
    with pytest.raises(
        ModelError, match=r"input 'x' has the shape \[None, None, 64\].*export the model with fixed sizes"
    ):
        measured([dynamic_length_tflite], **QUICK)


def test_a_missing_input_file_is_named_before_anything_starts(dense_tflite, tmp_path):
    steps = []
    with pytest.raises(StorageError, match=r"input file '.*inputs\.npz' does not exist"):
        measured(
            [dense_tflite], **QUICK, inputs=str(tmp_path / "inputs.npz"), on_progress=lambda *step: steps.append(step)
        )
    assert steps == []


def test_an_input_file_that_cannot_be_read_is_not_called_a_bad_model(dense_tflite, tmp_path):
    (tmp_path / "inputs.npz").write_text("not an archive")
    with pytest.raises(ModelError) as caught:
        measured([dense_tflite], **QUICK, inputs=str(tmp_path / "inputs.npz"))
    assert "inputs.npz' is not a readable .npz archive" in str(caught.value)
    assert "Check that it is a whole" not in str(caught.value)


def test_a_worker_that_is_killed_is_reported_with_the_signal(dense_tflite):
    def kill(done, total, text):
        if done == 1:
            for child in children():
                child.kill()

    with pytest.raises(ModelError, match="killed by SIGKILL in step 'block'"):
        measured([dense_tflite], **QUICK, on_progress=kill)
    assert children() == []


def test_a_worker_that_does_not_answer_in_time_is_ended(dense_tflite):
    with pytest.raises(ModelError, match=r"did not end within 0\.001 s \(step 'load'\)"):
        measured([dense_tflite], **QUICK, timeout_seconds=0.001)
    assert children() == []


def test_an_interruption_leaves_no_process_behind(dense_tflite, dense_onnx):
    def interrupt(done, total, text):
        if done == 3:
            assert len(children()) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured([dense_tflite, dense_onnx], **QUICK, on_progress=interrupt)
    assert children() == []


def test_a_model_that_needs_more_memory_than_a_child_may_use_is_an_error(tmp_path, monkeypatch):
    import onnx

    value, kind, shape = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT, [1 << 13, 1 << 13]
    node = onnx.helper.make_node("Exp", ["a"], ["b"])
    graph = onnx.helper.make_graph([node], "g", [value("a", kind, shape)], [value("b", kind, shape)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "large.onnx")
    monkeypatch.setenv("EDGEKD_CHILD_MEMORY_GIB", "0.4")
    with pytest.raises(ModelError, match=r"cannot measure .*large\.onnx"):
        measured([tmp_path / "large.onnx"], processes=1)


def test_the_workers_of_a_killed_caller_end_by_themselves(dense_tflite, tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "import psutil\n"
        "from edgekd.bench.plan import make_plan\n"
        "from edgekd.bench.targets import local\n"
        "def tell(done, total, text):\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
        "next(local.measure([Path(sys.argv[1])], make_plan(min_warmup_seconds=0.01), on_progress=tell))\n"
    )
    command = [sys.executable, str(script), str(dense_tflite)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # where it leaves its folder
    caller = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    with caller:
        worker = psutil.Process(int(caller.stdout.readline()))
        os.kill(caller.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived its caller"
        time.sleep(0.02)


def test_only_what_a_worker_needs_of_the_environment_reaches_it(monkeypatch, dense_tflite):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("SECRET_TOKEN", "do not pass on")
    seen = {}

    def look(done, total, text):
        seen.update(children()[0].environ())

    measured([dense_tflite], **{**QUICK, "processes": 1}, num_threads=2, on_progress=look)
    assert seen["OMP_NUM_THREADS"] == "2"
    assert seen["PYTHONSAFEPATH"] == "1"
    assert "SECRET_TOKEN" not in seen


@pytest.mark.parametrize("name", ["num_threads", "processes", "blocks", "min_runs"])
@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_count_below_one_is_refused(dense_tflite, name, count):
    with pytest.raises(RecipeError, match=rf"{name} is {count}: expected a whole number of at least 1"):
        measured([dense_tflite], **{**QUICK, name: count})


@pytest.mark.parametrize(
    "times",
    [
        {"min_warmup_seconds": -1.0},
        {"min_warmup_seconds": 3.0, "max_warmup_seconds": 2.0},
        {"min_block_ms": float("nan")},
        {"min_block_ms": "fast"},
        {"timeout_seconds": 0.0},
    ],
)
def test_impossible_times_are_refused(dense_tflite, times):
    with pytest.raises(RecipeError, match="expected times that are not negative"):
        measured([dense_tflite], **{**QUICK, **times})


def test_no_model_and_the_same_model_twice_are_refused(dense_tflite):
    with pytest.raises(RecipeError, match="received 0 models"):
        measured([])
    with pytest.raises(RecipeError, match="received 2 models, 1 of them different"):
        measured([dense_tflite, dense_tflite])
