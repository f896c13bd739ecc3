import math
import time

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edgekd.bench import modes, noise, stats
from edgekd.bench.collecting import LEAST_ROUNDS
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


def test_a_percentile_is_the_least_sample_that_enough_are_at_or_below():
    # By hand: of five samples four are 80 %, so that 75 % is the fourth and 81 % the fifth.
    assert stats.percentiles([[30.0, 10.0, 50.0, 20.0, 40.0]], [75, 81]) == (40.0, 50.0)
    assert stats.percentiles([[7.0]], [99]) == (7.0,)


def test_a_process_weighs_the_same_however_many_runs_it_had_time_for():
    # By hand: each of the two slow runs has the weight of three fast ones.
    assert stats.percentiles([[1.0] * 6, [2.0, 3.0]], [49, 74, 76]) == (1.0, 2.0, 3.0)
    fast, slow = process([[1.0] * 500]), process([[2.0] * 10])
    assert stats.summarise([fast, slow]).mean == pytest.approx(1.5)


def test_the_median_lies_within_its_interval_however_fast_the_processes_are():
    generator = np.random.default_rng(4)
    for _ in range(50):
        levels = np.exp(generator.normal(0, 0.3, 9))
        latency = stats.summarise([process([[level] * round(50 / level)]) for level in levels])
        assert latency.interval.low <= latency.p50 == latency.interval.value <= latency.interval.high
        assert latency.minimum <= latency.p50 <= latency.p90 <= latency.p95


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


def test_a_summary_drops_no_run():
    latency = stats.summarise([process([[1.0, 2.0], [3.0]]), process([[4.0], [90.0]])])
    assert (latency.p50, latency.minimum, latency.mean) == (24.5, 1.0, 24.5)  # of the medians 2 and 47, means 2 and 47
    assert (latency.p90, latency.p99) == (90.0, None)
    assert latency.interval is None


def test_the_99th_percentile_needs_a_thousand_runs():
    assert stats.summarise([process([[1.0] * 999])]).p99 is None
    assert stats.summarise([process([[1.0] * 1000])]).p99 == 1.0


@pytest.mark.parametrize("samples", [[], [1.0, math.nan], [math.inf], [[1.0, 2.0]]])
def test_samples_that_mean_nothing_are_refused(samples):
    with pytest.raises(DataError, match="expected a flat list of at least one finite number"):
        stats.percentiles([samples], [50])


def test_a_median_of_zero_is_refused():
    with pytest.raises(DataError, match="must be positive"):
        stats.log_interval([1.0, 0.0, 1.0])


def test_a_long_series_is_judged_in_a_moment():
    """Five hours of blocks of a fifth of a second; the slopes of all their pairs would take 40 GB."""
    generator = np.random.default_rng(8)
    blocks = np.linspace(1.0, 1.3, 100_000) + generator.normal(0, 0.05, 100_000)
    begin = time.monotonic()
    assert stats.drift(blocks) == pytest.approx(0.3 / 1.15, rel=0.02)
    assert modes.two_modes(np.where(blocks > 1.15, blocks + 0.2, blocks)).low < 1.15
    assert time.monotonic() - begin < 5  # a second on a quiet machine


def test_drift_within_processes_is_the_mean_of_their_changes():
    generator = np.random.default_rng(9)
    noisy = [level * 1.1 ** np.linspace(0, 1, 4) * np.exp(generator.normal(0, 0.01, 4)) for level in (1, 3, 2, 5, 1)]
    slopes = [scipy_stats.linregress([0, 1 / 3, 2 / 3, 1], np.log(each)).slope for each in noisy]
    assert stats.drift_within(noisy) == pytest.approx(np.expm1(np.mean(slopes)))
    assert stats.drift_within(noisy[:2]) is None
    assert stats.drift_within([each[:1] for each in noisy]) is None


@pytest.mark.parametrize("count", [5, 10, 20])
def test_processes_that_differ_are_neither_drift_nor_groups(count):
    """A process differs from another by 8 % for as long as it lives, and its four blocks share that.

    Nothing else happens, so that any sentence is a false one. At most 5 % of the measurements may have one.
    """
    generator = np.random.default_rng(count)
    alarms, trials = 0, 60 if count == 20 else 120
    for _ in range(trials):
        spread = generator.uniform(0.01, 0.03)
        blocks = np.exp(generator.normal(0, 0.08, (count, 1)) + generator.normal(0, spread, (count, 4)))
        medians = np.median(blocks, axis=1)
        changes = [each or 0.0 for each in (stats.drift(medians), stats.drift_within(list(blocks)))]
        groups = (modes.two_modes(medians), modes.within_processes(list(blocks)))
        alarms += max(map(abs, changes)) > noise.MAX_DRIFT or groups != (None, None)
    assert alarms <= scipy_stats.binom.ppf(0.999, trials, 0.05)


def test_an_interval_that_was_watched_covers_as_often_as_it_says():
    """Measuring stops where the interval is within 2 % or 5 %; of the usual intervals 92.5 to 94 % hold the truth."""
    generator = np.random.default_rng(10)
    for spread, goal in ((0.03, 0.02), (0.08, 0.05)):
        logs = generator.normal(0, spread, (4000, 60))
        open_, covered, plain = np.ones(4000, bool), np.zeros(4000, bool), np.zeros(4000, bool)
        for count in range(LEAST_ROUNDS, 61):
            mean, error = logs[:, :count].mean(axis=1), scipy_stats.sem(logs[:, :count], axis=1)
            watched = stats.watched_risk(0.05, watched=True)
            half = scipy_stats.t.ppf(1 - watched / 2, count - 1) * error
            ends = open_ & ((np.expm1(half) <= goal) | (count == 60))
            covered |= ends & (np.abs(mean) <= half)
            plain |= ends & (np.abs(mean) <= scipy_stats.t.ppf(0.975, count - 1) * error)
            open_ &= ~ends
        assert covered.sum() >= scipy_stats.binom.ppf(0.01, 4000, 0.95)
        assert plain.sum() < scipy_stats.binom.ppf(0.01, 4000, 0.95)
    values = np.exp(logs[0, :8])
    plain_one, watched_one = stats.log_interval(values), stats.log_interval(values, watched=True)
    wider = scipy_stats.t.ppf(0.985, 7) / scipy_stats.t.ppf(0.975, 7)
    assert np.log(watched_one.high / watched_one.low) == pytest.approx(wider * np.log(plain_one.high / plain_one.low))


def test_drift_is_the_slope_over_the_whole_time_and_none_for_noise():
    assert stats.drift(np.linspace(2.0, 3.0, 11)) == pytest.approx(0.4)
    assert stats.drift(np.linspace(3.0, 2.0, 11)) == pytest.approx(-0.4)
    assert stats.drift(np.linspace(2.0, 3.0, 7)) is None
    assert stats.drift([1.0] * 20) is None
    noise = np.random.default_rng(1).normal(1, 0.1, (200, 20))
    alarms = sum(stats.drift(row) is not None for row in noise)
    assert alarms <= scipy_stats.binom.ppf(0.9999, 200, 0.01)


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
    assert found.mean == pytest.approx(2 * (1.0 + 1.2 + 1.1) / 3)
    step = 0.0005  # half a microsecond of the least median, 1 ms
    assert (found.interval.value, found.interval.low, found.interval.high) == pytest.approx(
        (1.1, np.exp(low - step), np.exp(high + step))
    )
    assert (found.p90, found.p95, found.p99, found.scaled_mad) == (None, None, None, None)


def test_ratios_need_no_samples():
    new, old = [summary(each) for each in (2.0, 2.2, 2.1)], [summary(each) for each in (1.0, 1.1, 1.05)]
    assert stats.ratio_interval(new, old).value == pytest.approx(2.0)
