"""The text of Google's benchmark_model, as its C++ source prints it (see the module's references)."""

import pytest

from edgekd.bench import benchmark_model
from edgekd.bench.plan import make_plan
from edgekd.errors import ModelError, TargetError

WARMUP = "INFO: count=5 first=125113 curr=112537 min=111758 max=125113 avg=115344 std=4959 p5=111758 median=112912 "
WARMUP += "p95=125113"
RUNS = "INFO: count=50 first=119614 curr=115889 min=111842 max=119614 avg=115246 std=1329 p5=112107 median=115350 "
RUNS += "p95=116620"
TIMINGS = "INFO: Inference timings in us: Init: 1361236, First inference: 125113, Warmup (avg): 115344, "
TIMINGS += "Inference (avg): 115246"
UNLESS = "but terminate if exceeding 150 seconds."
MEMORY = "INFO: Memory footprint delta from the start of the tool (MB): init=14.4414 overall=14.8164"
PEAK = "INFO: Overall peak memory footprint (MB) via periodic monitoring: 25.1367"


def printed(*, warmup=WARMUP, runs=RUNS, timings=TIMINGS, before=(), after=(MEMORY,)):
    lines = [
        "INFO: STARTING!",
        "INFO: Log parameter values verbosely: [0]",
        "INFO: Graph: [model.tflite]",
        "INFO: Loaded model model.tflite",
        *before,
        "INFO: The input model file size (MB): 4.2761",
        "INFO: Initialized session in 1361.24ms.",
        f"INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds {UNLESS}",
        warmup,
        "",
        f"INFO: Running benchmark for at least 50 iterations and at least 1 seconds {UNLESS}",
        runs,
        "",
        timings,
        "INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the "
        "actual memory footprint of the model at runtime. Take the information at your discretion.",
        *after,
    ]
    return "\n".join(line for line in lines if line is not None) + "\n"


def read(output):
    return benchmark_model.read(output, subject="'model.tflite' on adb://X")


def test_statistics_are_those_after_the_warm_up_in_milliseconds():
    found = read(printed())
    assert (found.num_runs, found.warmup_runs) == (50, 5)
    assert (found.median_ms, found.mean_ms, found.minimum_ms, found.maximum_ms) == (115.35, 115.246, 111.842, 119.614)
    assert (found.p5_ms, found.p95_ms) == (112.107, 116.62)
    assert (found.first_inference_ms, found.ready_ms) == (125.113, 1361.236)
    assert found.peak_memory_bytes is None
    assert found.delegate is None


def test_severities_may_be_missing_and_large_means_are_in_scientific_notation():
    runs = RUNS.replace("avg=115246", "avg=2.95034e+06")
    found = read(printed(runs=runs).replace("INFO: ", "").replace("\n", "\r\n"))
    assert (found.num_runs, found.mean_ms) == (50, 2950.34)


@pytest.mark.parametrize("end", [" p5=41 median=41 p95=41", "(all same) p5=41 median=41 p95=41"])
def test_runs_that_all_took_equally_long_have_one_time(end):
    found = read(printed(runs=f"INFO: count=3 curr=41{end}"))
    assert (found.num_runs, found.median_ms, found.mean_ms, found.minimum_ms, found.p95_ms) == (3, *4 * [0.041])


def test_the_peak_is_in_mebibytes():
    assert read(printed(after=(MEMORY, PEAK))).peak_memory_bytes == round(25.1367 * 1024 * 1024)


@pytest.mark.parametrize(
    "line",
    [
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
        "INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate.",
        "INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate w/ "
        "2 delegate kernels.",
    ],
)
def test_a_delegate_that_was_applied_is_named(line):
    assert read(printed(before=(line,))).delegate == "XNNPACK"


def test_a_delegate_that_takes_nothing_is_refused():
    line = "INFO: Though XNNPACK delegate is explicitly applied, the model graph will not be executed by the delegate."
    with pytest.raises(ModelError, match=r"the delegate XNNPACK takes no operator of 'model\.tflite' on adb://X"):
        read(printed(before=(line,)))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", "lines of statistics: 0, expected 2; lines of timings: 0, expected 1; it printed nothing"),
        ("hello\n", "its last line is 'hello'"),
        (printed(warmup=""), "lines of statistics: 1, expected 2"),
        (printed(timings=""), "lines of timings: 0, expected 1"),
        (printed(runs="INFO: count=0 p5=0 median=0 p95=0"), "lines of statistics: 1, expected 2"),
        (printed(runs=RUNS.partition(" p5=")[0]), r"prints no median \(count=50 first=.*std=1329\).*take a newer one"),
    ],
)
def test_output_that_is_not_understood_is_reported(output, words):
    with pytest.raises(TargetError, match=words):
        read(output)


def test_an_option_that_the_program_does_not_know_is_refused():
    line = "WARN: Unconsumed cmdline flags: --use_xnnpack=false"
    with pytest.raises(TargetError, match="does not know --use_xnnpack=false, and would measure something else"):
        read(printed(before=(line,)))


def test_a_model_that_is_faster_than_the_clock_is_refused():
    with pytest.raises(ModelError, match="takes less than 1 µs, and benchmark_model counts whole microseconds"):
        read(printed(runs="INFO: count=50 first=1 curr=0 min=0 max=1 avg=0.1 std=0 p5=0 median=0 p95=1"))


def test_a_plan_becomes_options():
    plan = make_plan(num_threads=4, min_runs=30, min_block_ms=2500, min_warmup_seconds=0.25, timeout_seconds=600)
    assert benchmark_model.options(plan, graph="/data/m.tflite", peak_memory=False) == [
        "--graph=/data/m.tflite",
        "--num_threads=4",
        "--num_runs=30",
        "--min_secs=2.5",
        "--warmup_runs=1",
        "--warmup_min_secs=0.25",
        "--max_secs=600",
    ]
    for delegate, flag in (("xnnpack", "true"), ("none", "false")):
        found = benchmark_model.options(make_plan(delegate=delegate), graph="m", peak_memory=True)
        assert found[-2:] == [f"--use_xnnpack={flag}", "--report_peak_memory_footprint=true"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (
            "INFO: x\nERROR: Failed to load model m.tflite\nERROR: Benchmarking failed.\n",
            " (Failed to load model m.tflite)",
        ),
        ("sh: ./b: not executable: 64-bit ELF file\n", " (sh: ./b: not executable: 64-bit ELF file)"),
        ("", ""),
    ],
)
def test_a_failure_is_told_in_the_programs_words(output, words):
    assert benchmark_model.failure(output) == words
