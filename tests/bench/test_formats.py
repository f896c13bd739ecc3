import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from edgekd import bench
from edgekd.bench import formats, report
from edgekd.bench.samples import RawSamples
from edgekd.cli import bench as command
from edgekd.errors import TargetError
from edgekd.records import Interval
from tests.bench.shortest import SHORTEST

QUICK = SHORTEST | {"processes": 3, "min_runs": 10}


@pytest.fixture(scope="module")
def measured(tmp_path_factory, dense_tflite, dense_onnx):
    folder = tmp_path_factory.mktemp("formats")
    found = bench.measure([dense_tflite, dense_onnx], raw_folder=folder / "raw", **QUICK)
    samples = [RawSamples.read(folder / each.samples_path) for each in found]
    return found, samples, bench.compare(found, folder)


def medians_ms(raw):
    return [np.median([ns for block in process.blocks for ns in block.samples_ns]) / 1e6 for process in raw.processes]


def test_csv_names_each_column_once():
    assert len(set(formats.CSV_COLUMNS)) == len(formats.CSV_COLUMNS)


def test_csv_has_a_row_for_each_measurement(measured):
    found, _, comparisons = measured
    rows = list(csv.DictReader(io.StringIO(formats.to_csv(found, comparisons))))
    assert [row["artifact"] for row in rows] == ["dense.tflite", "dense.onnx"]
    assert float(rows[0]["p50_ms"]) == found[0].latency_ms.p50
    assert float(rows[1]["p50_high_ms"]) == found[1].latency_ms.interval.high
    assert rows[0]["interval_ms"] == ""
    assert rows[0]["verdict"] == ""
    assert rows[1]["baseline"] == "dense.tflite"
    assert float(rows[1]["ratio"]) == comparisons[0].ratio.value


def test_google_benchmarks_json_has_repetitions_and_aggregates(measured):
    found, samples, _ = measured
    document = json.loads(formats.to_google_benchmark(found, samples, version="0.1.0"))
    assert document["context"]["num_cpus"] == os.cpu_count()
    runs = [each for each in document["benchmarks"] if each["run_type"] == "iteration"]
    assert len(runs) == 6
    assert [each["real_time"] for each in runs[:3]] == pytest.approx(np.array(medians_ms(samples[0])) * 1e6)
    assert all(each["time_unit"] == "ns" and each["cpu_time"] > 0 for each in runs)
    assert (document["context"]["host_name"], document["context"]["cpu"]) == ("local", found[0].machine.cpu)
    named = {each["name"]: each for each in document["benchmarks"] if each["run_type"] == "aggregate"}
    stddev = named["dense.onnx/local/threads:1_stddev"]
    assert stddev["real_time"] == pytest.approx(np.std(medians_ms(samples[1]), ddof=1) * 1e6)


@pytest.mark.parametrize(("governor", "scaling"), [("powersave", True), ("performance", False), (None, None)])
def test_google_benchmark_is_told_of_clock_scaling_where_it_is_known(measured, governor, scaling):
    found = [each.model_copy(update={"governor": governor}) for each in measured[0]]
    context = json.loads(formats.to_google_benchmark(found, measured[1], version="0"))["context"]
    assert context.get("cpu_scaling_enabled") is scaling
    assert ("cpu_scaling_enabled" in context) == (governor is not None)


def test_csv_says_on_which_machine_and_holds_no_formula(measured):
    (first, _), _, _ = measured
    text = formats.to_csv([first.model_copy(update={"artifact": '=1+1"x.tflite'})])
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["artifact"] == "'=1+1\"x.tflite"
    machine = first.machine
    assert (row["cpu"], row["system"], row["logical_cores"]) == (
        *(machine.cpu, machine.system),
        str(machine.logical_cores),
    )
    assert float(row["gmacs_per_second"]) == pytest.approx(64 * 16 / first.latency_ms.p50 / 1e6)


def test_what_only_raw_samples_knew_is_in_the_record(measured):
    (first, _), (raw, _), _ = measured
    loops = [block.loop_ns_per_run for process in raw.processes for block in process.blocks]
    assert first.loop_ms == pytest.approx(np.median(loops) / 1e6)
    assert first.settings == raw.settings
    assert (first.delegate_partitions, first.unsteady_processes) == (
        1,
        sum(each.steady is not True for each in raw.processes),
    )
    expected = 0
    for process in raw.processes:
        for block in process.blocks:
            values = np.array(block.samples_ns) / 1e6  # a run may lie on the very fence: round as the measurement does
            low, high = np.percentile(values, [25, 75])
            expected += sum(not low - 3 * (high - low) <= each <= high + 3 * (high - low) for each in values)
    assert first.outliers == expected


@pytest.mark.parametrize(("ratio", "words"), [(2.0, "gate failed"), (1.0, "gate inconclusive")])
def test_a_gate_that_does_not_pass_is_said_beside_any_format(measured, capsys, ratio, words):
    found, samples, (comparison,) = measured
    judged = comparison.model_copy(
        update={"ratio": Interval(value=ratio, low=ratio * 0.9, high=ratio * 1.1), "rounds": 3}
    )
    made = report.BenchReport(measurements=found, comparisons=(judged,), gates=report.gates([judged], 1.05))
    for form in ("csv", "google-benchmark", "pytest-benchmark"):
        command._print(form, made, samples, details=False)
        printed = capsys.readouterr()
        assert f"edgekd: {words}: dense.onnx (local, threads 1): latency_ratio <= 1.05" in printed.err
        assert words not in printed.out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runtime_version": "9.9"}, r"differ in their runtime: .*2\.\d.* and .* 9\.9"),
        ({"delegated_operators": 0}, "number of operators in the delegate: 1 and 0"),
        ({"delegate": None}, "delegate: XNNPACK and None"),
        ({"machine": {"cpu": "another board"}}, "machine: .* and another board"),
        ({"machine": {"system": "Linux 99"}}, "system: .* and Linux 99"),
    ],
)
def test_processes_of_different_things_are_no_measurement(measured, change, words):
    raw = measured[1][0].model_dump()
    for name, value in change.items():
        raw["processes"][2][name] = {**raw["processes"][2][name], **value} if isinstance(value, dict) else value
    with pytest.raises(TargetError, match=words):
        RawSamples.model_validate(raw)


def test_pytest_benchmark_reads_its_json(measured, tmp_path):
    found, samples, _ = measured
    path = tmp_path / "0001_edgekd.json"
    path.write_text(formats.to_pytest_benchmark(found, samples, version="0.1.0"))
    code = "from pytest_benchmark.cli import main; main()"
    table = tmp_path / "table"
    command = [sys.executable, "-c", code, "compare", str(path), "--columns=min,median,rounds", f"--csv={table}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in csv.DictReader((tmp_path / "table.csv").read_text().splitlines())}
    row = rows["dense.tflite/local/threads:1"]
    assert float(row["median"]) == pytest.approx(np.median(medians_ms(samples[0])) / 1e3)
    assert float(row["min"]) == pytest.approx(min(medians_ms(samples[0])) / 1e3)
    assert row["rounds"] == "3"
