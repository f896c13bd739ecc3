"""The scripts to copy: the whole road from Python, and the latencies of its files."""

import csv
import functools
import io
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import edgekd
from edgekd.records import Interval, Latency, Measurement

TOOLS = Path(__file__).parents[2] / "tools"
TEACHER = TOOLS.parent / "models" / "fashion_mnist" / "teacher.keras"
QUICK = {"processes": 3, "blocks": 1, "min_warmup_seconds": 0.0, "max_warmup_seconds": 0.1}


@pytest.fixture(scope="module")
def exported(script, tmp_path_factory):
    """The folder of files, the exit status and what was printed."""
    out = tmp_path_factory.mktemp("exported")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", printed)
        quick = ["--limit", "64", "--epochs", "1", "--width", "2", "--teacher", str(TEACHER)]
        status = script("train_and_export").main([*quick, "--out", str(out)])
    return out, status, printed.getvalue()


def test_the_road_ends_with_four_files_whose_accuracies_are_told(exported):
    out, _, printed = exported
    assert sorted(path.name for path in out.iterdir()) == [
        "student-float32.onnx",
        "student-float32.tflite",
        "student-int8.onnx",
        "student-int8.tflite",
    ]
    images, labels = edgekd.load_data("embedded", test_limit=64).test.read(np.arange(64))
    session = onnxruntime.InferenceSession(out / "student-float32.onnx")
    name = session.get_inputs()[0].name
    logits = np.concatenate([session.run(None, {name: images[i : i + 1]})[0] for i in range(64)])
    told = re.search(r"student-float32.onnx: ([\d,]+) bytes, accuracy ([\d.]+)%", printed)
    assert int(told[1].replace(",", "")) == (out / "student-float32.onnx").stat().st_size
    assert float(told[2]) == pytest.approx(100 * np.mean(logits.argmax(axis=-1) == labels), abs=0.005)


def test_the_exit_status_is_that_of_the_worst_file(exported):
    _, status, printed = exported
    assert printed.count("passed") + printed.count("FAILED") == 4
    assert status == int("FAILED" in printed)
    assert re.search(r"student-float32.tflite: .*agreement 100.00%: passed", printed)


def test_a_file_that_is_too_far_from_its_network_fails(script, monkeypatch, capsys):
    road = script("train_and_export")
    monkeypatch.setattr(road, "MIN_AGREEMENT", 1.01)  # no file reaches it
    data = edgekd.load_data("embedded", test_limit=32)
    file = TEACHER.with_name("teacher-int8.tflite")
    assert road._proven(edgekd.verify_model(file, file, data.test), 7) is False
    assert "teacher-int8.tflite: 7 bytes, accuracy" in capsys.readouterr().out


def test_latencies_come_as_csv_and_are_held_to_a_limit(script, exported, tmp_path, monkeypatch, capsys):
    bench = script("bench_on_device")
    measure = edgekd.bench_models
    monkeypatch.setattr(edgekd, "bench_models", lambda *paths, **named: measure(*paths, **{**named, **QUICK}))
    file = exported[0] / "student-int8.tflite"
    run = functools.partial(bench.main, [str(file), "--out", str(tmp_path), "--max-ms", "10000"])
    assert run() == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["file"] == "student-int8.tflite"
    assert int(row["bytes"]) == file.stat().st_size
    assert 0 < float(row["low_ms"]) <= float(row["high_ms"])
    assert float(row["p50_ms"]) > 0


def measurement(low, high):
    interval = Interval(value=(low + high) / 2, low=low, high=high)
    latency = Latency(p50=1, p90=1, p95=1, p99=1, minimum=1, mean=1, scaled_mad=None, interval=interval)
    return Measurement(
        artifact="a.tflite",
        target="local",
        runtime="LiteRT",
        num_threads=1,
        latency_ms=latency,
        first_inference_ms=1,
        load_ms=1,
        peak_memory_bytes=2048,
        size_bytes=7,
        sha256="0" * 64,
        processes=5,
        num_runs=100,
        warmup_runs=1,
    )


WITHIN, UNCLEAR, BEYOND = measurement(1.0, 2.0), measurement(1.5, 2.5), measurement(2.5, 3.0)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ([WITHIN], 0),
        ([BEYOND], 1),
        ([UNCLEAR], 3),
        ([WITHIN, UNCLEAR], 3),
        ([UNCLEAR, BEYOND], 1),
        ([BEYOND, UNCLEAR], 1),
    ],
)
def test_the_exit_status_is_that_of_the_slowest_file(script, monkeypatch, capsys, measured, expected):
    monkeypatch.setattr(edgekd, "bench_models", lambda *_, **__: measured)
    assert script("bench_on_device").main(["a.tflite", "--max-ms", "2"]) == expected
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(measured)


def test_a_target_that_cannot_be_measured_is_told_whatever_the_others_gave(script, monkeypatch, capsys):
    def measure(*_, target, **__):
        if target == "ssh://gone":
            raise edgekd.EdgekdError("not there")
        return [BEYOND]

    monkeypatch.setattr(edgekd, "bench_models", measure)
    run = script("bench_on_device").main
    for targets in (["local", "ssh://gone"], ["ssh://gone", "local"]):
        assert run(["a.tflite", "--max-ms", "2", "--targets", *targets]) == 2
        printed = capsys.readouterr()
        assert "ssh://gone: not there" in printed.err
        assert "local,a.tflite" in printed.out


def test_what_cannot_be_done_is_told(script, tmp_path, capsys):
    assert script("train_and_export").main(["--dataset", "embeded", "--out", str(tmp_path)]) == 2
    assert "Did you mean 'embedded'?" in capsys.readouterr().err
    assert script("bench_on_device").main([str(tmp_path / "none.tflite"), "--out", str(tmp_path)]) == 2
    assert "local: " in capsys.readouterr().err
