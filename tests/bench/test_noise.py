"""Warnings on simulated processes whose disturbance is known."""

import numpy as np
import pytest

from edgekd.bench import noise, stats
from tests.bench.test_stats import RUNS, process, summary


def quiet_processes(count=5, blocks=4, *, scatter=0.01, seed=0, levels=None):
    generator = np.random.default_rng(seed)
    levels = np.ones((count, blocks)) if levels is None else levels
    return [
        process([level * generator.normal(1.0, scatter, RUNS) for level in row], total=(0, 1000 * (index + 1)))
        for index, row in enumerate(levels)
    ]


def test_a_quiet_measurement_has_no_warning():
    assert noise.warnings(quiet_processes(), logical_cores=2) == ()


def only(warnings):
    assert len(warnings) == 1, warnings
    return warnings[0]


def test_scatter_within_a_block_is_warned_about():
    assert only(noise.warnings(quiet_processes(scatter=0.08), logical_cores=2)).startswith(
        "Runs of one block scatter by"
    )


def test_a_spread_of_process_medians_is_warned_about():
    levels = np.outer([1.0, 1.15, 1.02, 0.98, 1.01], np.ones(4))
    sentence = only(noise.warnings(quiet_processes(levels=levels, scatter=1e-5), logical_cores=2))
    assert "Process medians spread by 16.8%" in sentence  # (1.15 - 0.98) / 1.01


def test_drift_from_process_to_process_is_warned_about_with_its_size_and_direction():
    levels = np.outer(np.linspace(1.0, 1.09, 10), np.ones(4))
    sentence = only(noise.warnings(quiet_processes(10, levels=levels), logical_cores=2))
    assert sentence.startswith("The model became 8.")
    assert "slower from the first process to the last" in sentence


def test_drift_within_every_process_is_warned_about():
    levels = np.outer(np.ones(5), np.linspace(1.1, 1.0, 4))
    sentence = only(noise.warnings(quiet_processes(levels=levels), logical_cores=2))
    assert sentence.startswith("The model became 9.")
    assert "faster from the first block of a process to its last" in sentence


def test_drift_of_a_single_long_process_is_warned_about():
    made = quiet_processes(1, levels=np.linspace(1.0, 1.3, 40)[None, :])
    sentence = only(noise.warnings(made, logical_cores=2, single=True))
    assert "% slower from the first block of a process to its last" in sentence


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
    assert words in only(noise.warnings([*quiet_processes(3), disturbed], logical_cores=2))


def test_outliers_are_counted_and_kept():
    samples = [1.0] * 180 + [1.01] * 180 + [9.0] * 12
    processes = [process([samples]) for _ in range(3)]
    assert "36 of 1116 runs are outliers" in only(noise.warnings(processes, logical_cores=2))
    assert stats.summarise(processes).mean == pytest.approx(np.mean(samples))


def test_too_few_processes_and_runs_are_said():
    first, second = noise.warnings([process([[1.0] * 10])], logical_cores=2)
    assert first == "Fresh processes that measured this model: 1, too few for an interval. Use at least 3."
    assert second.startswith("Timed runs: 10, too few for a 99th percentile.")


def test_steal_that_the_system_does_not_show_is_no_warning():
    processes = [process([[1.0] * 400], steal=(None, None), total=(None, None)) for _ in range(3)]
    assert noise.warnings(processes, logical_cores=2) == ()


def test_two_clock_rates_are_two_groups_within_processes():
    levels = np.where(np.arange(40).reshape(10, 4) % 3 == 0, 1.3, 1.0)
    text = " ".join(noise.warnings(quiet_processes(10, levels=levels), logical_cores=2))
    assert "Within a process some blocks take 30% longer than others" in text


def test_two_placements_are_two_groups_of_processes():
    levels = np.outer(np.where(np.arange(24) % 3 == 0, 1.3, 1.0), np.ones(4))
    text = " ".join(noise.warnings(quiet_processes(24, levels=levels), logical_cores=2))
    assert "The processes fall into two groups, around 1 ms and around 1.3 ms (33% of them)" in text
    assert "Within a process" not in text


def with_blocks(**changes):
    """Quiet processes whose blocks last a second each, with further fields."""
    made = []
    for process_number, each in enumerate(quiet_processes()):
        blocks = []
        for number, block in enumerate(each.blocks):
            values = {name: value[4 * process_number + number] for name, value in changes.items()}
            blocks.append(block.model_copy(update={"begin_ns": 0, "end_ns": 10**9, **values}))
        made.append(each.model_copy(update={"blocks": tuple(blocks)}))
    return made


def test_a_clock_rate_that_changes_is_warned_about():
    sentence = only(noise.warnings(with_blocks(clock_khz=[1_200_000, *[2_400_000] * 19]), logical_cores=2))
    assert "between 1.20 and 2.40 GHz" in sentence
    steady = with_blocks(clock_khz=range(2_400_000, 2_380_000, -1000))
    assert noise.warnings(steady, logical_cores=2) == ()


@pytest.mark.parametrize(("governor", "warned"), [("powersave", True), ("performance", False), (None, False)])
def test_a_governor_that_lowers_the_clock_rate_is_warned_about(governor, warned):
    made = [
        each.model_copy(update={"system_before": each.system_before.model_copy(update={"governor": governor})})
        for each in quiet_processes()
    ]
    found = noise.warnings(made, logical_cores=2)
    assert ("governor 'powersave'" in only(found)) if warned else found == ()


def test_context_switches_are_warned_about_by_the_second():
    assert noise.warnings(with_blocks(involuntary_context_switches=[19] * 20), logical_cores=2) == ()
    sentence = only(noise.warnings(with_blocks(involuntary_context_switches=[30] * 20), logical_cores=2))
    assert "taken away 30 times a second" in sentence
    crowded = [
        each.model_copy(update={"num_threads": 4, "affinity_cores": (0, 1)})
        for each in with_blocks(involuntary_context_switches=[900] * 20)
    ]
    sentence = only(noise.warnings(crowded, logical_cores=2))
    assert sentence.startswith("4 threads share 2 cores")


def test_an_inference_too_short_for_the_clock_has_its_time_in_a_loop():
    made = [process([[0.001] * RUNS] * 4, timer_ns=100.0) for _ in range(5)]
    looped = [
        each.model_copy(
            update={"blocks": tuple(block.model_copy(update={"loop_ns_per_run": 870.0}) for block in each.blocks)}
        )
        for each in made
    ]
    assert "In a loop without the clock one takes 0.87 µs" in only(noise.warnings(looped, logical_cores=2))


def test_processes_without_samples_are_warned_about_by_what_is_known():
    assert noise.warnings([summary(1.0)] * 5, logical_cores=8) == ()
    assert "Process medians spread by 20.0%" in only(
        noise.warnings([summary(each) for each in (0.9, 1.0, 1.1)], logical_cores=8)
    )
    drifting = [summary(each) for each in np.linspace(1.0, 1.09, 10)]
    assert "slower from the first process to the last" in only(noise.warnings(drifting, logical_cores=8))
    assert only(noise.warnings([summary(0.01)] * 3, logical_cores=8)).startswith(
        "The program that measured counts time in steps of 1 µs, 10% of one inference (limit 5%)"
    )
    assert "too few for an interval" in only(noise.warnings([summary(1.0)], logical_cores=8))
