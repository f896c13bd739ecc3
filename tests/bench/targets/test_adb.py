"""The real adbutils against an adb server of the tests' own, whose phone runs a benchmark_model of the tests' own."""

import contextlib
import csv
import io
import json
import os
import signal
import socket
import time

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edgekd import bench
from edgekd.bench import adb_device, formats
from edgekd.bench.plan import make_plan
from edgekd.bench.samples import ProcessSummary, RawSamples
from edgekd.bench.targets import adb
from edgekd.errors import ModelError, RecipeError, StorageError, TargetError

pytestmark = pytest.mark.usefixtures("kept_children")

MEDIANS_US = {"dense": (100, 120, 110, 105), "int8": (50, 62, 55, 51)}  # of each process
MEANS_US = (104.25, 121.5, 111.75, 108)  # of both models' processes, which have 40, 41, 42 and 43 runs
# What the program prints, as its C++ source says, with the option values that it prints.
BENCHMARK_MODEL = """#!/bin/sh
for option in "$@"; do
  case "$option" in
    --graph=*) graph=${option#*=} ;;
    --num_threads=*) threads=${option#*=} ;;
    --num_runs=*) runs=${option#*=} ;;
    --report_peak_memory_footprint=true) peak=1 ;;
    --use_xnnpack=true) xnnpack=1 ;;
  esac
done
echo "INFO: STARTING!"
[ -s "$graph" ] || { echo "ERROR: Failed to load model $graph" >&2; echo "ERROR: Benchmarking failed." >&2; exit 1; }
n=$(cat "$graph.n" 2>/dev/null || echo 0)
echo $((n + 1)) >"$graph.n"
case "$graph" in *dense*) set -- 100 120 110 105 ;; *) set -- 50 62 55 51 ;; esac
shift $n
median=$1
set -- 104.25 121.5 111.75 108
shift $n
completely="and the model graph will be completely executed by the delegate."
[ "$xnnpack" ] && echo "INFO: Explicitly applied XNNPACK delegate, $completely"
echo "INFO: Num threads: [$threads]"
echo "INFO: Loaded model $graph"
echo "INFO: count=9 first=300 curr=110 min=90 max=300 avg=120.5 std=20 p5=95 median=110 p95=200"
echo
echo "INFO: count=$((40 + n)) first=99 curr=101 min=$((90 - n)) max=150 avg=$1 std=7 p5=95 median=$median p95=140"
echo
timings="Init: $((2000 + n)), First inference: $((300 + n)), Warmup (avg): 120.5, Inference (avg): $1"
echo "INFO: Inference timings in us: $timings"
[ "$peak" ] && echo "INFO: Overall peak memory footprint (MB) via periodic monitoring: $((20 + n)).5"
exit 0
"""


@pytest.fixture
def binary(tmp_path):
    return program(tmp_path, BENCHMARK_MODEL)


def program(folder, text):
    path = folder / "benchmark_model"
    path.write_text(text)
    return str(path)


def measured(phone, paths, binary, *, on_progress=None, plan=(), **settings):
    made = make_plan(**{"processes": 1, **dict(plan)})
    rounds = adb.measure(paths, made, address=phone.serial, binary=binary, on_progress=on_progress, **settings)
    with contextlib.closing(rounds):
        return tuple(rounds)


def test_a_record_holds_what_the_program_says_and_nothing_else(phone, binary, tmp_path, dense_tflite, int8_tflite):
    folder = tmp_path / "raw" / "samples"
    settings = {"target": f"adb://{phone.serial}", "binary": binary, "processes": 4, "num_threads": (2,)}
    records = bench.measure([dense_tflite, int8_tflite], raw_folder=folder, **settings)
    for record, (name, medians) in zip(records, MEDIANS_US.items(), strict=True):
        latency, logs = record.latency_ms, np.log(np.array(medians) / 1e3)
        low, high = scipy_stats.t.interval(0.95, 3, logs.mean(), logs.std(ddof=1) / 2)
        assert latency.p50 == latency.interval.value == pytest.approx(np.median(medians) / 1e3)
        step = 0.5 / min(medians)  # the program counts in whole microseconds: half of one may be missing everywhere
        assert (latency.interval.low, latency.interval.high) == pytest.approx((np.exp(low - step), np.exp(high + step)))
        assert (latency.p90, latency.p95, latency.p99, latency.scaled_mad) == (None, None, None, None)
        assert latency.minimum == 0.087
        assert latency.mean == pytest.approx(np.mean(MEANS_US) / 1e3)
        assert (record.num_runs, record.warmup_runs, record.processes) == (166, 36, 4)
        assert (record.load_ms, record.first_inference_ms) == pytest.approx((2.0015, 0.3015))
        assert record.peak_memory_bytes is None
        assert (record.num_threads, record.size_bytes) == (
            2,
            (dense_tflite, int8_tflite)[name == "int8"].stat().st_size,
        )
        assert record.machine.model_dump() == {
            "system": "Android 15, Linux 6.1.99-android14",
            "architecture": "aarch64",
            "cpu": "Google Pixel 8 (Tensor G3)",
            "logical_cores": 9,
            "memory_bytes": 7803996 * 1024,
        }
        raw = RawSamples.read(tmp_path / "raw" / record.samples_path)
        assert all(isinstance(each, ProcessSummary) for each in raw.processes)
        assert "INFO: Num threads: [2]" in raw.processes[0].output
        assert "--num_runs=25 --min_secs=0.05" in raw.processes[0].command
        assert raw.settings["binary"] == binary
        assert record.runtime == f"benchmark_model {raw.processes[0].runtime_version}"
    (comparison,) = bench.compare(records, tmp_path / "raw")
    assert comparison.verdict == "faster"
    ratios = np.divide(MEDIANS_US["int8"], MEDIANS_US["dense"])
    assert comparison.ratio.value == pytest.approx(np.exp(np.log(ratios).mean()))
    assert phone.is_clean()


def test_rounds_run_each_model_once_in_an_order_that_is_shuffled(phone, binary, dense_tflite, int8_tflite):
    steps = []
    found = measured(
        phone, [dense_tflite, int8_tflite], binary, on_progress=lambda *step: steps.append(step), plan={"processes": 4}
    )
    assert [tuple(each.median_ms * 1e3 for each in measured) for measured in found] == [
        pytest.approx(medians) for medians in zip(*MEDIANS_US.values(), strict=True)
    ]
    assert [step[:2] for step in steps] == [(number, 8) for number in range(1, 9)]
    order = [step[2] for step in steps]
    pairs = [tuple(order[index : index + 2]) for index in range(0, 8, 2)]
    assert len(set(pairs)) == 2  # both orders
    assert phone.is_clean()


def test_threads_delegate_and_memory_reach_the_program(phone, binary, dense_tflite):
    ((found,),) = measured(phone, [dense_tflite], binary, plan={"delegate": "xnnpack"}, peak_memory=True)
    assert "--use_xnnpack=true --report_peak_memory_footprint=true" in found.command
    assert (found.delegate, found.peak_memory_bytes) == ("XNNPACK", round(20.5 * 1024 * 1024))


def test_the_command_line_says_what_was_not_measured(phone, binary, edgekd_command, tmp_path, dense_tflite):
    target = ("--target", f"adb://{phone.serial}", "--set", f"binary={binary}")
    command = ("bench", dense_tflite, *target, "--processes", 3)
    history = ("--history", tmp_path / "history.jsonl")
    shown = edgekd_command(*command, *history)
    assert shown.status == 0, shown.err
    row = next(line for line in shown.out.splitlines() if line.startswith(" dense.tflite "))
    assert row.split()[2] == "0.110"
    assert row.count("not measured") == 3  # p90, p99 and memory
    again = edgekd_command(*command, *history, "--json")
    (trend,) = json.loads(again.out)["trends"]
    assert (trend["entries"], trend["ratio"]["value"]) == (2, pytest.approx(1))


def test_other_formats_take_such_a_record(phone, binary, tmp_path, dense_tflite):
    settings = {"target": f"adb://{phone.serial}", "binary": binary, "processes": 3}
    records = bench.measure([dense_tflite], raw_folder=tmp_path / "raw" / "samples", **settings)
    raw = [RawSamples.read(tmp_path / "raw" / records[0].samples_path)]
    (row,) = csv.DictReader(io.StringIO(formats.to_csv(records)))
    assert [row[name] for name in ("p50_ms", "p90_ms", "p95_ms", "scaled_mad_ms", "peak_memory_bytes")] == [
        "0.11", "", "", "", ""
    ]  # fmt: skip
    google = json.loads(formats.to_google_benchmark(records, raw, version="1"))
    assert google["context"]["load_avg"] == []
    runs = [each for each in google["benchmarks"] if each["run_type"] == "iteration"]
    assert [(each["iterations"], each["real_time"]) for each in runs] == [(40, 1e5), (41, 1.2e5), (42, 1.1e5)]
    assert all("cpu_time" not in each for each in google["benchmarks"]), "the program does not tell it"
    (run,) = json.loads(formats.to_pytest_benchmark(records, raw, version="1"))["benchmarks"]
    assert run["stats"]["data"] == pytest.approx([1e-4, 1.2e-4, 1.1e-4])
    assert run["options"]["timer"] == "benchmark_model"


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"blocks": 8}, "does not take blocks=8: benchmark_model has no such setting"),
        ({"batch": 4}, "does not take batch=4"),
        ({"cores": (0,)}, "does not take cores="),
        ({"interval_ms": 33.0}, "does not take interval_ms=33.0"),
        ({"minutes": 2.0}, "does not take minutes=2.0"),
    ],
)
def test_settings_that_the_program_lacks_are_refused(plan, words, dense_tflite):
    with pytest.raises(RecipeError, match=words):
        adb.measure([dense_tflite], make_plan(**plan), address="X", binary="b")


def test_an_input_file_and_an_onnx_file_are_refused(tmp_path, dense_tflite, dense_onnx):
    np.savez(tmp_path / "inputs.npz", x=np.ones(1))
    with pytest.raises(RecipeError, match="does not take inputs="):
        adb.measure([dense_tflite], make_plan(inputs=str(tmp_path / "inputs.npz")), address="X", binary="b")
    with pytest.raises(
        ModelError, match=r"dense\.onnx' cannot be measured by benchmark_model: it takes \.tflite files"
    ):
        adb.measure([dense_onnx], make_plan(), address="X", binary="b")


def test_a_serial_number_and_a_binary_must_be_given(dense_tflite):
    with pytest.raises(RecipeError, match="'adb://' names no device: expected adb://SERIAL"):
        adb.measure([dense_tflite], make_plan(), binary="b")
    with pytest.raises(RecipeError, match=r"needs Google's benchmark_model for the phone's processor .*setting binary"):
        adb.measure([dense_tflite], make_plan(), address="X")
    with pytest.raises(StorageError, match="benchmark_model binary 'gone' does not exist"):
        adb.measure([dense_tflite], make_plan(), address="X", binary="gone")


def test_no_server_is_one_line_and_status_2(monkeypatch, phone, binary, edgekd_command, dense_tflite):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free.getsockname()[1]))
    result = edgekd_command("bench", dense_tflite, "--target", "adb://X", "--set", f"binary={binary}")
    assert result.status == 2
    assert len(result.err.strip().splitlines()) == 1
    assert "no adb server answers at 127.0.0.1:" in result.err
    assert "(Connection refused): start it by `adb start-server`" in result.err
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "many")
    with pytest.raises(RecipeError, match="ANDROID_ADB_SERVER_PORT is 'many': expected a port"):
        measured(phone, [dense_tflite], binary)


def test_a_device_that_is_not_there_or_lets_nobody_in_is_reported(phone, binary, dense_tflite):
    phone.devices = {"emulator-5554": "device", "R5CT": "unauthorized"}
    with pytest.raises(
        TargetError, match=r"no device '8A1X0Y2Z'\. Known: R5CT \(unauthorized\), emulator-5554 \(device\)"
    ):
        measured(phone, [dense_tflite], binary)
    phone.devices = {}
    with pytest.raises(TargetError, match=r"Known: none\. Plug it in"):
        measured(phone, [dense_tflite], binary)
    for state, words in (
        ("unauthorized", "does not trust this machine: unlock it and accept"),
        ("offline", "does not answer: wake it up"),
        ("no permissions (user in plugdev group)", "this user may not use it"),
        ("recovery", "expected the state 'device'"),
    ):
        phone.devices = {phone.serial: state}
        with pytest.raises(TargetError, match=f"adb://8A1X0Y2Z is in the state .*{words}"):
            measured(phone, [dense_tflite], binary)


def test_an_old_android_is_refused(phone, binary, dense_tflite):
    phone.features = "cmd,stat_v2"
    with pytest.raises(TargetError, match="expected Android 7 or newer"):
        measured(phone, [dense_tflite], binary)


def test_a_binary_of_another_architecture_is_reported(phone, tmp_path, dense_tflite):
    file = tmp_path / "benchmark_model"
    file.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44))  # a header for AArch64 alone
    with pytest.raises(
        TargetError, match=r"cannot run the given benchmark_model \(.*\): take the one for its processor, aar"
    ):
        measured(phone, [dense_tflite], str(file))
    mksh = "#!/bin/sh\necho '/system/bin/sh: ./benchmark_model: not executable: 64-bit ELF file' >&2\nexit 126\n"
    with pytest.raises(TargetError, match=r"\(/system/bin/sh: .*: not executable: 64-bit ELF file\): take the one"):
        measured(phone, [dense_tflite], program(tmp_path, mksh))
    linker = '#!/bin/sh\necho \'CANNOT LINK EXECUTABLE "x": library "libc++.so" not found\' >&2\nexit 1\n'
    with pytest.raises(TargetError, match=r"\(CANNOT LINK EXECUTABLE .* not found\): take the one"):
        measured(phone, [dense_tflite], program(tmp_path, linker))
    assert phone.is_clean()


def test_a_model_that_fails_is_reported_in_the_programs_words(phone, binary, tmp_path):
    (tmp_path / "empty.tflite").touch()
    with pytest.raises(
        ModelError, match=r"empty\.tflite' on adb://8A1X0Y2Z: benchmark_model failed \(Failed to load model"
    ):
        measured(phone, [tmp_path / "empty.tflite"], binary)
    assert phone.is_clean()


def test_a_process_that_a_signal_ends_is_reported(phone, tmp_path, dense_tflite):
    with pytest.raises(
        ModelError, match=r"benchmark_model was ended by SIGKILL\. The file may be damaged, or need more"
    ):
        measured(phone, [dense_tflite], program(tmp_path, "#!/bin/sh\nkill -9 $$\n"))
    assert phone.is_clean()


def test_output_that_is_not_understood_is_reported(phone, tmp_path, dense_tflite):
    with pytest.raises(
        TargetError, match=r"dense\.tflite' on adb://8A1X0Y2Z: the program's output is not underst.*'Hello'"
    ):
        measured(phone, [dense_tflite], program(tmp_path, "#!/bin/sh\necho Hello\n"))
    assert phone.is_clean()


def test_a_process_that_hangs_is_ended(phone, tmp_path, dense_tflite):
    with pytest.raises(TargetError, match=r"adb://8A1X0Y2Z wrote nothing for 0\.2 s after .*: it hangs"):
        measured(
            phone,
            [dense_tflite],
            program(tmp_path, "#!/bin/sh\ntrap '' HUP\nsleep 3\n"),
            plan={"timeout_seconds": 0.2},
        )
    assert phone.is_clean()


def test_a_full_phone_is_reported(phone, binary, dense_tflite):
    phone.largest_file = 3000
    with pytest.raises(
        StorageError,
        match=r"cannot write '0-dense\.tflite' \([\d,]+ bytes\) to '/data/local/tmp/edgekd-bench-\w+' on adb://"
        r"8A1X0Y2Z: the device refuses it, and [\d,]+ bytes are free there",
    ):
        measured(phone, [dense_tflite], binary)
    assert phone.is_clean()


def test_a_phone_that_fills_up_keeps_what_was_measured(phone, binary, tmp_path, dense_tflite):
    def fill(done, total, text):
        phone.full = done == 2

    broken = []
    settings = {"target": f"adb://{phone.serial}", "binary": binary, "processes": 4}
    (found,) = bench.measure(
        [dense_tflite], raw_folder=tmp_path / "raw", on_progress=fill, on_broken_off=broken.append, **settings
    )
    assert (found.ended, found.processes) == ("failed", 2)
    assert found.failure == str(broken[0])
    assert isinstance(broken[0], StorageError)
    assert "cannot start benchmark_model on adb://8A1X0Y2Z: its temporary folder cannot be written" in found.failure
    assert len(RawSamples.read(tmp_path / found.samples_path).processes) == 2
    phone.full = False
    assert phone.is_clean()


def test_a_folder_that_cannot_be_made_is_reported(phone, binary, dense_tflite):
    phone.temporary.rmdir()
    with pytest.raises(
        StorageError, match=r"cannot make a temporary folder in /data/local/tmp on adb://8A1X0Y2Z: mktemp: "
    ):
        measured(phone, [dense_tflite], binary)


def test_an_interruption_while_a_process_runs_leaves_nothing_behind(phone, tmp_path, dense_tflite):
    text = f"#!/bin/sh\ntrap '' HUP\nkill -INT {os.getpid()}\nsleep 5\n"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist ignore the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            measured(phone, [dense_tflite], program(tmp_path, text))
    finally:
        signal.signal(signal.SIGINT, before)
    assert phone.is_clean()


def test_stopping_after_a_round_leaves_nothing_behind(phone, binary, tmp_path, dense_tflite):
    settings = {"target": f"adb://{phone.serial}", "binary": binary, "seconds": 0.001}
    (record,) = bench.measure([dense_tflite], raw_folder=tmp_path / "raw", **settings)
    assert (record.ended, record.processes) == ("seconds", 1)
    assert phone.is_clean()


def test_a_caller_that_is_gone_leaves_nothing_behind(phone, monkeypatch):
    monkeypatch.setattr(
        adb_device, "_leave", lambda keeper, *_: keeper.conn.close()
    )  # as a killed process' system does
    with adb_device.connected(phone.serial):
        (folder,) = phone.temporary.iterdir()
    deadline = time.monotonic() + 10
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_phone_that_is_unplugged_is_reported(phone, binary, dense_tflite):
    def unplug(done, total, text):
        phone.serial = "another"

    with pytest.raises(
        TargetError, match=r"the connection to adb://8A1X0Y2Z broke \(.*not found\): check that it is pl"
    ):
        measured(phone, [dense_tflite], binary, on_progress=unplug, plan={"processes": 2})


def test_a_server_that_ends_is_reported_and_not_started_again(phone, binary, dense_tflite):
    def end(done, total, text):
        phone.shutdown()
        phone.socket.close()

    with pytest.raises(TargetError, match="no adb server answers at"):
        measured(phone, [dense_tflite], binary, on_progress=end, plan={"processes": 2})
