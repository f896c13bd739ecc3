"""edgekd bench as a user calls it, on models of a few microseconds."""

import csv
import json
import shutil

import click
import onnx
import pytest

from edgekd.cli import _bench_modes
from edgekd.cli.bench import command
from tests.bench.shortest import SHORTEST

pytestmark = pytest.mark.usefixtures("kept_children")

QUICK = tuple(part for name, value in SHORTEST.items() if name != "processes" for part in ("--set", f"{name}={value}"))


@pytest.fixture(scope="module")
def copy_of_dense(dense_tflite, tmp_path_factory):
    return shutil.copyfile(dense_tflite, tmp_path_factory.mktemp("copy") / "copy.tflite")


def test_a_comparison_has_a_verdict_and_a_gate(edgekd_command, dense_tflite, copy_of_dense):
    bench = ("bench", dense_tflite, copy_of_dense, *QUICK, "--processes", 3)
    loose = edgekd_command(*bench, "--max-ratio", 1000, "--json")
    assert loose.status == 0, loose.err
    document = json.loads(loose.out)
    (comparison,) = document["comparisons"]
    assert (comparison["artifact"], comparison["baseline"], comparison["rounds"]) == ("copy.tflite", "dense.tflite", 3)
    (gate,) = document["gates"]
    assert gate["passed"]
    assert gate["subject"] == "copy.tflite (local, threads 1)"
    assert (
        "gate held: copy.tflite (local, threads 1): latency_ratio is" in edgekd_command(*bench, "--max-ratio", 99).out
    )
    tight = edgekd_command(*bench, "--max-ratio", 0.001)
    assert tight.status == 1
    assert "gate failed: copy.tflite (local, threads 1): latency_ratio is" in tight.out
    few = edgekd_command(*bench, "--processes", 2, "--max-ratio", 1.05)
    assert few.status == 3
    assert "gate inconclusive" in few.out
    assert edgekd_command(*bench, "--processes", 2, "--compare").status == 0


def test_sweeps_histories_and_raw_samples(edgekd_command, dense_tflite, tmp_path):
    history = tmp_path / "history.jsonl"
    bench = ("bench", dense_tflite, *QUICK, "--processes", 1, "--batch", "1,2", "--threads", "1,2", "--cores", "0")
    first = edgekd_command(*bench, "--history", history, "--out", tmp_path / "raw")
    assert first.status == 0, first.err
    assert first.out.count("the first entry of this file on this machine") == 4
    for row in ("1 thread, batch 1", "1 thread, batch 2", "2 threads, batch 1", "2 threads, batch 2"):
        assert f"dense.tflite ({row})" in first.out  # whose warning it is
    assert len(list((tmp_path / "raw").iterdir())) == 4
    again = edgekd_command(*bench, "--history", history, "--format", "csv")
    assert "of this file name" not in first.out  # one call's own parts are no earlier entries
    history.write_text(history.read_text() + '{"schema_version":1,"ti')
    third = edgekd_command(*bench[:-6], "--history", history)
    assert "the first entry of its kind; 8 entries of this file name" in third.out
    assert "or elsewhere: batch, cores, num_threads" in third.out
    assert "was cut off, as by a crash" in third.err
    fourth = edgekd_command(*bench[:-6], "--history", history)
    assert ", the same file, no ratio" in fourth.out
    assert fourth.out.count("another hour may be another machine load") == 1
    rows = list(csv.DictReader(again.out.splitlines()))
    assert [(row["num_threads"], row["batch"]) for row in rows] == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    assert len(history.read_text().splitlines()) == 10


@pytest.mark.parametrize("form", ["google-benchmark", "pytest-benchmark"])
def test_formats_of_other_tools_are_one_document(edgekd_command, dense_tflite, form):
    result = edgekd_command("bench", dense_tflite, *QUICK, "--processes", 1, "--format", form)
    assert json.loads(result.out)["benchmarks"]


def test_the_self_test_needs_no_model(edgekd_command):
    result = edgekd_command("bench", "--self-test", *QUICK, "--processes", 3)
    assert result.status == 0, result.err
    assert "4 copies of four_convolutions.onnx" in result.out
    assert "is found slower, four times in five, when it is" in result.out
    # The floor is 3 %: smaller differences are equal by definition.
    assert "a difference of 1% or 2%" in result.out


def test_an_interruption_prints_what_there_is(edgekd_command, dense_tflite, monkeypatch):
    from edgekd.bench.connection import Connection

    finish, calls = Connection.finish, []

    def interrupt_second(self):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return finish(self)

    monkeypatch.setattr(Connection, "finish", interrupt_second)
    result = edgekd_command("bench", dense_tflite, *QUICK, "--processes", 3)
    assert result.status == 130
    assert "interrupted: the numbers are those of the whole rounds before (1 process)" in result.out


def test_modes_are_told(edgekd_command, dense_tflite):
    periodic = edgekd_command("bench", dense_tflite, *QUICK, "--processes", 1, "--interval-ms", 0.000001)
    assert "runs could not start in time" in periodic.out
    assert "dense.tflite: Periodic: a run started every 1e-06 ms." in periodic.out
    sustained = edgekd_command("bench", dense_tflite, *QUICK, "--minutes", 0.002, "--delegate", "none", "--cores", 0)
    assert "dense.tflite: Pinned to core 0." in sustained.out
    assert "Periodic" not in sustained.out
    assert "too short to tell" in sustained.out
    assert "0 of 1 operators run in the delegate" in sustained.out


VALUES = {
    "threads": "2", "batch": "4", "processes": "1", "precision": "2%", "seconds": "1", "floor": "5%", "max_ratio": "2",
    "interval_ms": "3", "minutes": "1", "delegate": "none", "cores": "0", "inputs": "i.npz", "settings": "blocks=1",
    "plot": "p.html", "history": "h.jsonl", "out": "o",
}  # fmt: skip


@pytest.mark.parametrize("mode", ["--profile", "--self-test", "--roofline", "--minutes"])
def test_no_option_is_ignored_in_a_mode_that_it_is_not_for(edgekd_command, mode, tmp_path, monkeypatch):
    """Every option of the command: one that is new must be put into the table of modes."""
    monkeypatch.chdir(tmp_path)
    parameters = {each.name: each for each in command.params if isinstance(each, click.Option)}
    start = ("bench", "absent.tflite", "absent_too.tflite", mode, *(("1",) if mode == "--minutes" else ()))
    own = mode.removeprefix("--").replace("-", "_")
    refused = set(parameters) - _bench_modes.TAKEN[mode] - _bench_modes.COMMON
    assert refused
    assert set(parameters) <= set().union(*_bench_modes.TAKEN.values()) | _bench_modes.COMMON
    for name in sorted(refused - {own, "profile", "self_test", "roofline", "minutes"}):
        value = () if parameters[name].is_flag else (VALUES[name],)
        result = edgekd_command(*start, parameters[name].opts[-1], *value)
        assert result.status == 2
        assert f"{parameters[name].opts[-1]} does not go with {mode}" in result.err, result.err
    assert list(tmp_path.iterdir()) == []


def test_a_stop_in_the_second_part_of_a_sweep_is_no_whole_measurement(edgekd_command, dense_tflite, monkeypatch):
    from edgekd.bench.connection import Connection

    finish = Connection.finish

    def interrupt_second(self):
        found = finish(self)
        if found.num_threads == 2:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Connection, "finish", interrupt_second)
    sweep = ("bench", dense_tflite, *QUICK, "--processes", 1, "--threads", "1,2")
    result = edgekd_command(*sweep, "--json")
    assert result.status == 130
    document = json.loads(result.out)
    assert [each["num_threads"] for each in document["measurements"]] == [1]
    assert document["broken_off"] == "stopped by a signal"
    assert "with 2 threads nothing was measured" in result.err


def test_a_worker_that_dies_takes_no_other_rounds_with_it(edgekd_command, dense_tflite, monkeypatch):
    from edgekd.bench.connection import Connection

    finish, calls = Connection.finish, []

    def kill_second(self):
        calls.append(self)
        if len(calls) == 2:
            self._process.kill()
        return finish(self)

    monkeypatch.setattr(Connection, "finish", kill_second)
    result = edgekd_command("bench", dense_tflite, *QUICK, "--processes", 3)
    assert result.status == 2
    assert "broken off: the numbers are those of the whole rounds before (1 process)" in result.out
    assert "killed by SIGKILL in step 'finish'" in result.err


def test_a_batch_that_a_file_does_not_carry_is_refused_before_any_other_is_measured(edgekd_command, tmp_path):
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    values = [value(name, kind, [1, 4]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "one", values[:1], values[1:])
    opset = onnx.helper.make_opsetid("", 17)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "one.onnx")
    result = edgekd_command("bench", tmp_path / "one.onnx", *QUICK, "--batch", "1,2")
    assert (result.status, result.out) == (2, "")
    assert "so the batch cannot be 2" in result.err


def test_what_could_not_be_kept_is_found_before_anything_is_measured(edgekd_command, dense_tflite, tmp_path):
    (tmp_path / "history").write_text("this is no entry\n")
    (tmp_path / "file").touch()
    for option in (("--history", tmp_path / "history"), ("--out", tmp_path / "file" / "x")):
        result = edgekd_command("bench", dense_tflite, "--set", "timeout_seconds=0.001", *option)
        assert result.status == 2
        assert "did not end within" not in result.err  # what measuring would have said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "name at least one MODEL"),
        (("x.tflite", "--compare"), "need two models or more"),
        (("x.tflite", "--floor", "5%"), "--floor is for --compare"),
        (("x.tflite", "--precision", "200%"), "is not a share such as 2% or 0.02"),
        (("x.tflite", "--cores", "first"), "is not a list of whole numbers"),
        (("x.tflite", "y.tflite", "--self-test"), "takes one model or none"),
        (("--self-test", "--threads", "1,2"), "takes one number of threads"),
        (("--self-test", "--format", "csv"), "--format csv does not go with --self-test"),
        (("x.tflite", "--target", "local", "--target", "adb://1"), "--target is given 2 times (local, adb://1)"),
        (("x.tflite", "--target", "pi@board"), "a board with ssh is 'ssh://pi@board'"),
        (("x.tflite", "--target", "ssh:pi@board"), "a board with ssh is 'ssh://pi@board'"),
        (("x.tflite", "--target", "pi:secret@board"), "'ssh://pi:...@board' holds a password"),
        (("x.tflite", "--target", "tflite_micr"), "Did you mean 'tflite-micro'?"),
        (("x.tflite", "--target", "tflite-micro", "--set", "sample=1"), "setting of target 'tflite-micro' 'sample'"),
        (("x.tflite", "--history", "/proc/edgekd/h.jsonl"), "place with --history"),
        (("x.tflite", "--profile", "--plot", "/proc/edgekd/p.html"), "place with --plot"),
        (("x.tflite", "--profile", "--batch", "1,2"), "--profile takes one batch"),
        (("x.tflite", "--plot", "p.html"), "--plot is for --profile"),
        (("x.tflite", "--profile", "--plot", "p.png"), "--plot writes an HTML page, and 'p.png' does not end in"),
        (("x.tflite", "y.tflite", "--max-ratio", "nan"), "is not a finite number"),
        (("x.tflite", "--threads", "²"), "is not a list of whole numbers"),
        (("x.tflite", "--set", "processes=3", "--processes", "1"), "--set processes and --processes say the same"),
        (("x.tflite", "--set", "block=3"), "Did you mean 'blocks'?"),
        (("x.tflite", "--set", "blocks"), "is not of the form"),
        (("x.tflite", "--set", "blocks=many"), "must be a whole number"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(edgekd_command, options, words):
    result = edgekd_command("bench", *options)
    assert result.status == 2
    assert words in result.err
