import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edgekd.bench import stats
from edgekd.bench.samples import ProcessSamples, ProcessSummary
from edgekd.errors import DataError

RUNS = 100  # of one block: five processes of four blocks have enough for every percentile


def process(blocks_ms, *, timer_ns=50.0, steady=True, load=0.5, steal=(0, 0), total=(0, 1000)) -> ProcessSamples:
    """Samples of one process, as a worker would print them; the numbers that a test is not about are quiet."""

    def state(index):
        return {"load_1min": load, "steal_ticks": steal[index], "total_ticks": total[index], "governor": None}

    return ProcessSamples.model_validate(
        {
            "schema_version": 1,
            "runtime": "ai-edge-litert",
            "runtime_version": "2.3.0",
            "delegate": None,
            "num_threads": 1,
            "inputs": [],
            "cold": {"import_ms": 100.0, "load_ms": 1.0, "allocate_ms": 0.5, "first_inference_ms": 2.0},
            "warmup_runs": 5,
            "warmup_seconds": 0.5,
            "steady": steady,
            "blocks": [
                {
                    "samples_ns": [round(sample * 1e6) for sample in block],
                    "loop_ns_per_run": None,
                    "voluntary_context_switches": 0,
                    "involuntary_context_switches": 0,
                }
                for block in blocks_ms
            ],
            "timer_overhead_ns": timer_ns,
            "peak_memory_bytes": 1,
            "peak_memory_source": "VmHWM",
            "memory_before_load_bytes": 1,
            "machine": {
                "system": "Linux 6",
                "architecture": "aarch64",
                "cpu": "board",
                "logical_cores": 2,
                "memory_bytes": 1,
            },
            "python": "3.11.7",
            "affinity_cores": [0, 1],
            "system_before": state(0),
            "system_after": state(1),
        }
    )


def summary(median_ms, *, mean_ms=None, minimum_ms=None, num_runs=50) -> ProcessSummary:
    """What a program without samples says of one process."""
    return ProcessSummary(
        schema_version=1,
        runtime="benchmark_model",
        runtime_version="0",
        delegate=None,
        num_threads=1,
        num_runs=num_runs,
        warmup_runs=1,
        median_ms=median_ms,
        mean_ms=mean_ms or median_ms,
        minimum_ms=minimum_ms or median_ms,
        maximum_ms=2 * median_ms,
        p5_ms=median_ms,
        p95_ms=median_ms,
        resolution_ms=0.001,
        first_inference_ms=2.0,
        ready_ms=1.5,
        peak_memory_bytes=None,
        machine={"system": "Android", "architecture": "aarch64", "cpu": "x", "logical_cores": 8, "memory_bytes": 1},
        command="",
        output="",
    )


def quiet_processes(count=5, blocks=4, *, scatter=0.01, seed=0, levels=None):
    generator = np.random.default_rng(seed)
    levels = np.ones((count, blocks)) if levels is None else levels
    return [
        process([level * generator.normal(1.0, scatter, RUNS) for level in row], total=(0, 1000 * (index + 1)))
        for index, row in enumerate(levels)
    ]


def test_percentiles_interpolate_between_order_statistics():
    # By hand: for n = 5 the 90th percentile lies at index 0.9 * 4 = 3.6, so 40 + 0.6 * (50 - 40).
    assert stats.percentile([30.0, 10.0, 50.0, 20.0, 40.0], 90) == pytest.approx(46.0)
    assert stats.percentile([7.0], 99) == 7.0


def test_scaled_mad_estimates_the_standard_deviation_and_ignores_an_outlier():
    normal = np.random.default_rng(0).normal(10, 2, 100_000)
    assert stats.scaled_mad(normal) == pytest.approx(2, rel=0.02)
    # By hand: median 3, absolute deviations 2, 1, 0, 1, 997, whose median is 1.
    assert stats.scaled_mad([1.0, 2.0, 3.0, 4.0, 1000.0]) == pytest.approx(1.4826)


def test_outliers_are_those_beyond_the_outer_fences():
    # Quartiles 2 and 4, so the fences are -4 and 10.
    assert stats.outliers([1.0, 2.0, 3.0, 4.0, 10.0]) == 0
    assert stats.outliers([1.0, 2.0, 3.0, 4.0, 10.1]) == 1


def test_the_interval_is_students_on_logarithms():
    medians = [1.0, 2.0, 4.0, 8.0, 16.0]
    # Logarithms 0..4 times log 2: mean 2 log 2, deviation sqrt(2.5) log 2; published t(0.975, 4) is 2.776.
    half = 2.776 * math.sqrt(2.5) * math.log(2) / math.sqrt(5)
    interval = stats.log_interval(medians)
    assert interval.value == 4.0
    assert interval.low == pytest.approx(4 * math.exp(-half), rel=1e-3)
    assert interval.high == pytest.approx(4 * math.exp(half), rel=1e-3)
    assert interval.confidence == 0.95


@pytest.mark.parametrize("processes", [3, 5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(processes):
    # Process medians are log-normal around a true median of 0.2 ms; real ones were seen to spread by about 15 %.
    generator = np.random.default_rng(7)
    trials = 2000
    covered = 0
    for _ in range(trials):
        interval = stats.log_interval(0.2 * np.exp(generator.normal(0, 0.15, processes)))
        covered += interval.low <= 0.2 <= interval.high
    # A binomial count at 95 %: four standard errors either way.
    slack = 4 * math.sqrt(0.95 * 0.05 / trials)
    assert 0.95 - slack <= covered / trials <= 0.95 + slack


def test_the_interval_contains_its_value_although_one_process_was_disturbed():
    interval = stats.log_interval([1.0] * 20 + [50.0])
    assert interval.low <= interval.value <= interval.high
    assert interval.value == 1.0


def test_the_ratio_pairs_the_processes_of_a_round():
    rounds = np.array([1.0, 1.6, 0.8, 2.0])  # the machine was not always as fast
    ratios = np.array([1.10, 1.12, 1.08, 1.11])
    old, new = ([process([[level] * 3]) for level in levels] for levels in (rounds, rounds * ratios))
    expected = scipy_stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    interval = stats.ratio_interval(new, old)
    assert interval.value == pytest.approx(scipy_stats.gmean(ratios), rel=1e-5)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.exp(expected)), rel=1e-5)
    assert stats.ratio_interval(new[:2], old[:2]) is None
    with pytest.raises(DataError, match="same rounds"):
        stats.ratio_interval(new, old[:3])


def test_two_processes_give_no_interval():
    assert stats.log_interval([1.0, 1.1]) is None


def test_a_summary_pools_all_runs_and_drops_none():
    latency = stats.summarise([process([[1.0, 2.0], [3.0]]), process([[4.0], [90.0]])])
    assert (latency.p50, latency.minimum, latency.mean) == (3.0, 1.0, 20.0)
    assert latency.p90 == pytest.approx(4 + 0.6 * 86)
    assert latency.p99 is None
    assert latency.interval is None


def test_the_99th_percentile_needs_a_thousand_runs():
    assert stats.summarise([process([[1.0] * 999])]).p99 is None
    assert stats.summarise([process([[1.0] * 1000])]).p99 == 1.0


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf], [[1.0, 2.0]]])
def test_samples_that_mean_nothing_are_refused(samples):
    with pytest.raises(DataError, match="expected a flat list of at least one finite number"):
        stats.percentile(samples, 50)


def test_a_median_of_zero_is_refused():
    with pytest.raises(DataError, match="must be positive"):
        stats.log_interval([1.0, 0.0, 1.0])


def test_a_quiet_measurement_has_no_warning():
    assert stats.warnings(quiet_processes(), logical_cores=2) == ()


def only(warnings):
    assert len(warnings) == 1, warnings
    return warnings[0]


def test_scatter_within_a_block_is_warned_about():
    assert only(stats.warnings(quiet_processes(scatter=0.08), logical_cores=2)).startswith(
        "Runs of one block scatter by"
    )


def test_a_spread_of_process_medians_is_warned_about():
    levels = np.outer([1.0, 1.15, 1.02, 0.98, 1.01], np.ones(4))
    sentence = only(stats.warnings(quiet_processes(levels=levels, scatter=1e-5), logical_cores=2))
    assert "Process medians spread by 16.8%" in sentence  # (1.15 - 0.98) / 1.01


def test_drift_is_warned_about_with_its_size_and_direction():
    levels = np.linspace(1.0, 1.09, 20).reshape(5, 4)
    sentence = only(stats.warnings(quiet_processes(levels=levels), logical_cores=2))
    assert sentence.startswith("The model became 8.")
    assert "slower from the first block to the last" in sentence


def test_drift_is_the_slope_over_the_whole_time_and_none_for_noise():
    assert stats.drift(np.linspace(2.0, 3.0, 11)) == pytest.approx(0.4)
    assert stats.drift(np.linspace(3.0, 2.0, 11)) == pytest.approx(-0.4)
    assert stats.drift(np.linspace(2.0, 3.0, 7)) is None
    assert stats.drift([1.0] * 20) is None
    noise = np.random.default_rng(1).normal(1, 0.1, (200, 20))
    alarms = sum(stats.drift(row) is not None for row in noise)
    assert alarms <= scipy_stats.binom.ppf(0.9999, 200, 0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steady": False}, "In 1 of 4 processes the warm-up ended before"),
        ({"timer_ns": 100_000.0}, "Reading the clock takes 10% of one inference"),
        ({"load": 3.4}, "load was 3.4 with 2 logical cores"),
        ({"steal": (0, 100), "total": (0, 5000)}, "The host took 2.0% of the processor time away"),
    ],
)
def test_each_disturbance_is_named_with_its_size(change, words):
    disturbed = process([[1.0] * RUNS] * 4, **change)
    assert words in only(stats.warnings([*quiet_processes(3), disturbed], logical_cores=2))


def test_outliers_are_counted_and_kept():
    samples = [1.0] * 180 + [1.01] * 180 + [9.0] * 12
    processes = [process([samples]) for _ in range(3)]
    assert "36 of 1116 runs are outliers" in only(stats.warnings(processes, logical_cores=2))
    assert stats.summarise(processes).mean == pytest.approx(np.mean(samples))


def test_too_few_processes_and_runs_are_said():
    first, second = stats.warnings([process([[1.0] * 10])], logical_cores=2)
    assert first == "Fresh processes that measured this model: 1, too few for an interval. Use at least 3."
    assert second.startswith("Timed runs: 10, too few for a 99th percentile.")


def test_steal_that_the_system_does_not_show_is_no_warning():
    processes = [process([[1.0] * 400], steal=(None, None), total=(None, None)) for _ in range(3)]
    assert stats.warnings(processes, logical_cores=2) == ()


def test_two_groups_are_found_with_their_places():
    generator = np.random.default_rng(2)
    samples = np.concatenate([generator.normal(1.0, 0.01, 28), generator.normal(1.3, 0.01, 12)])
    found = stats.two_modes(generator.permutation(samples))
    assert found.low == pytest.approx(1.0, abs=0.01)
    assert found.high == pytest.approx(1.3, abs=0.01)
    assert found.share_high == pytest.approx(0.3)


@pytest.mark.parametrize("kind", ["normal", "lognormal", "uniform"])
def test_one_group_is_seldom_taken_for_two(kind):
    generator = np.random.default_rng(7)
    draw = {
        "normal": lambda: generator.normal(1, 0.08, 40),
        "lognormal": lambda: np.exp(generator.normal(0, 0.1, 40)),
        "uniform": lambda: generator.uniform(0.9, 1.2, 40),
    }[kind]
    wrong = sum(stats.two_modes(draw()) is not None for _ in range(20))
    assert wrong <= scipy_stats.binom.ppf(0.99, 20, 0.05)


def test_groups_that_hardly_differ_or_are_few_are_one():
    near = np.concatenate([np.full(20, 1.0), np.full(20, 1.04)]) * np.linspace(0.9999, 1.0001, 40)
    assert stats.two_modes(near) is None
    one_slow = np.concatenate([np.linspace(0.99, 1.01, 39), [2.0]])
    assert stats.two_modes(one_slow) is None
    assert stats.two_modes(np.linspace(1, 2, 19)) is None


def test_two_groups_are_warned_about():
    levels = np.where(np.arange(40).reshape(10, 4) % 3 == 0, 1.3, 1.0)
    text = " ".join(stats.warnings(quiet_processes(10, levels=levels), logical_cores=2))
    assert "two groups, around 1 ms and around 1.3 ms (35% of them)" in text


def test_statistics_of_processes_without_samples_invent_nothing():
    medians = [1.0, 1.2, 1.1]
    found = stats.summarise(
        [
            summary(median, mean_ms=2 * median, minimum_ms=median / 2, num_runs=runs)
            for median, runs in zip(medians, (10, 20, 70), strict=True)
        ]
    )
    logs = np.log(medians)
    low, high = scipy_stats.t.interval(0.95, 2, logs.mean(), scipy_stats.sem(logs))
    assert (found.p50, found.minimum) == (1.1, 0.5)
    assert found.mean == pytest.approx(2 * (0.1 * 1.0 + 0.2 * 1.2 + 0.7 * 1.1))
    assert (found.interval.value, found.interval.low, found.interval.high) == pytest.approx(
        (1.1, np.exp(low), np.exp(high))
    )
    assert (found.p90, found.p95, found.p99, found.scaled_mad) == (None, None, None, None)


def test_ratios_need_no_samples():
    new, old = [summary(each) for each in (2.0, 2.2, 2.1)], [summary(each) for each in (1.0, 1.1, 1.05)]
    assert stats.ratio_interval(new, old).value == pytest.approx(2.0)


def test_processes_without_samples_are_warned_about_by_what_is_known():
    assert stats.warnings([summary(1.0)] * 5, logical_cores=8) == ()
    assert "Process medians spread by 20.0%" in only(
        stats.warnings([summary(each) for each in (0.9, 1.0, 1.1)], logical_cores=8)
    )
    drifting = [summary(each) for each in np.linspace(1.0, 1.09, 10)]
    assert "slower from the first process to the last" in only(stats.warnings(drifting, logical_cores=8))
    assert only(stats.warnings([summary(0.01)] * 3, logical_cores=8)).startswith(
        "The program that measured counts time in steps of 1 us, 10% of one inference (limit 5%)"
    )
    assert "too few for an interval" in only(stats.warnings([summary(1.0)], logical_cores=8))
