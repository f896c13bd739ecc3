"""Verdicts on simulated processes whose truth is known; expected numbers from formulas by hand and from scipy."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from edgekd.bench import comparing, report, stats
from edgekd.errors import DataError
from edgekd.records import Interval, LatencyComparison
from tests.bench.test_stats import process, summary

BETWEEN = 0.08  # spread of process medians as measured on a shared machine (FACTS: 168 to 272 microseconds)
WITHIN = 0.03  # of which a round's two processes do not share so much


def measured(*levels, rounds=10, seed=0, within=WITHIN):
    """Processes of several models: a disturbance that a round's processes share, and one of each process."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(0, BETWEEN, rounds)
    return [[_process(level * np.exp(common + generator.normal(0, within))) for common in shared] for level in levels]


TEMPLATE = process([[1.0]])


def _process(median_ms):
    """A process of one run: checking thousands of them anew would take most of the tests' time."""
    block = TEMPLATE.blocks[0].model_copy(update={"samples_ns": (round(median_ms * 1e6),)})
    return TEMPLATE.model_copy(update={"blocks": (block,)})


def differences(*levels, rounds=10, seed=0, within=WITHIN):
    """What such processes come to: a round's disturbance drops out, those of its processes remain."""
    generator = np.random.default_rng(seed)
    first = generator.normal(0, within, rounds)
    return [np.log(level) + generator.normal(0, within, rounds) - first for level in levels]


def verdicts(*levels, **settings):
    return [each.verdict for each in comparing.judge(differences(*levels, **settings))]


def test_the_test_is_students_on_the_rounds_differences():
    models = measured(1.0, 1.1, seed=4)
    (found,) = comparing.compare(["a", "b"], models, target="local", num_threads=2, batch=3)
    logs = np.log([[p.blocks_ms[0][0] for p in model] for model in models])
    # Nanoseconds are whole numbers: what that may shift is reckoned with, and is a millionth here.
    assert found.p_differs == pytest.approx(scipy_stats.ttest_rel(logs[1], logs[0]).pvalue, rel=1e-3)
    assert found.ratio.value == pytest.approx(np.exp(np.mean(logs[1] - logs[0])))
    assert (found.artifact, found.baseline, found.rounds) == ("b", "a", 10)
    assert (found.target, found.num_threads, found.batch, found.floor) == ("local", 2, 3, 0.03)


def test_equivalence_is_an_interval_within_the_floor():
    for seed in range(40):
        models = measured(1.0, 1.01, seed=seed, within=0.02)
        (found,) = comparing.compare(["a", "b"], models, target="local", num_threads=1)
        inside = found.ratio.low > 1 / 1.03 and found.ratio.high < 1.03
        assert (found.p_equivalent < 0.025) == inside


def test_a_model_and_its_copy_are_seldom_called_different():
    """A/A data: at most 5 % may be, and the floor makes it fewer; 95 % binomial bound of 400 trials."""
    wrong = sum(verdicts(1.0, seed=seed)[0] in ("faster", "slower") for seed in range(400))
    assert wrong <= scipy_stats.binom.ppf(0.95, 400, 0.05)


def test_pooled_inferences_would_find_a_difference_in_a_copy():
    """What the unit of the test guards against."""
    found = 0
    for seed in range(50):
        generator = np.random.default_rng(seed)
        one, two = (np.exp(generator.normal(0, BETWEEN) + generator.normal(0, 0.02, 1000)) for _ in range(2))
        found += scipy_stats.mannwhitneyu(one, two).pvalue < 0.05
    assert found > 40


@pytest.mark.parametrize(
    ("level", "verdict"), [(1.2, "slower"), (1 / 1.2, "faster"), (1.0, "equivalent"), (1.02, "inconclusive")]
)
def test_clear_cases_are_called_by_their_name(level, verdict):
    within = 0.01 if verdict != "inconclusive" else 0.03
    assert verdicts(level, rounds=15, within=within) == [verdict]


def test_a_significant_difference_below_the_floor_is_not_slower():
    assert verdicts(1.01, rounds=40, within=0.005) == ["equivalent"]


def test_among_many_copies_of_a_model_few_are_called_different():
    """The chance of any wrong call among eight comparisons; without the correction it would be above a quarter."""
    wrong = sum(
        any(verdict in ("faster", "slower") for verdict in verdicts(*[1.0] * 8, seed=seed, within=0.06))
        for seed in range(150)
    )
    assert wrong <= scipy_stats.binom.ppf(0.95, 150, 0.05)


def test_holm_is_the_published_procedure():
    assert comparing.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert comparing.holm([0.9, 0.9]) == [1.0, 1.0]
    assert comparing.holm([]) == []


def test_models_of_equal_nanoseconds_have_verdicts_too():
    one = [process([[2.0]])] * 4
    same, (apart,) = (
        comparing.compare(["a", "b"], [one, one], target="t", num_threads=1),
        comparing.compare(["a", "b"], [one, [process([[3.0]])] * 4], target="t", num_threads=1),
    )
    assert same[0].verdict == "equivalent"
    assert apart.verdict == "slower"


def test_two_rounds_are_inconclusive():
    (found,) = comparing.compare(["a", "b"], measured(1.0, 3.0, rounds=2), target="t", num_threads=1)
    assert (found.verdict, found.ratio, found.p_differs) == ("inconclusive", None, None)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="received 1 models"):
        comparing.compare(["a"], measured(1.0), target="t", num_threads=1)
    with pytest.raises(DataError, match="floor is 0"):
        comparing.compare(["a", "b"], measured(1.0, 1.0), target="t", num_threads=1, floor=0)


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(0.9, 1.05, True), (1.06, 1.2, False), (1.0, 1.1, None), (1.05, 1.05, True)]
)
def test_a_gate_needs_the_whole_interval(low, high, passed):
    comparison = LatencyComparison(
        artifact="b",
        baseline="a",
        target="t",
        num_threads=1,
        rounds=5,
        ratio=Interval(value=(low + high) / 2, low=low, high=high),
        verdict="inconclusive",
        floor=0.03,
        p_differs=0.5,
        p_equivalent=0.5,
    )
    assert comparing.gate(comparison, 1.05) is passed
    assert comparing.gate(comparison.model_copy(update={"ratio": None}), 1.05) is None


def test_the_detectable_difference_is_found_as_often_as_it_says():
    spread, rounds = 0.04, 10
    share = comparing.detectable(spread, rounds)
    generator = np.random.default_rng(1)
    logs = np.log1p(share) + generator.normal(0, spread, (4000, rounds))
    found = np.mean((scipy_stats.ttest_1samp(logs, 0.0, axis=1).pvalue < 0.05) & (logs.mean(axis=1) > 0))
    assert found == pytest.approx(0.8, abs=0.03)
    with pytest.raises(DataError, match="received 2 rounds"):
        comparing.detectable(0.1, 2)


def steps(*medians_us):
    """Rounds of a phone's program, which counts in whole microseconds."""
    return [summary(median / 1000) for median in medians_us]


def test_equal_steps_of_a_clock_are_no_certainty():
    """21 and 22 may be 21.5: the truth of what was rounded alike in every round is not known better."""
    apart = comparing.compare(["a", "b"], [steps(21, 21, 21), steps(22, 22, 22)], target="t", num_threads=1)[0]
    same = comparing.compare(["a", "b"], [steps(21, 21, 21)] * 2, target="t", num_threads=1)[0]
    assert (apart.verdict, same.verdict) == ("inconclusive", "inconclusive")
    bound = 0.5 / 21 + 0.5 / 22
    half = bound + scipy_stats.t.ppf(0.975, 2) * bound / np.sqrt(3) / np.sqrt(3)
    assert (apart.ratio.low, apart.ratio.high) == pytest.approx((22 / 21 * np.exp(-half), 22 / 21 * np.exp(half)))
    clear = comparing.compare(["a", "b"], [steps(2100, 2101, 2100), steps(2520, 2519, 2520)], target="t", num_threads=1)
    assert clear[0].verdict == "slower"


@pytest.mark.parametrize("true_us", [(21.4, 21.4), (21.1, 21.9), (30.6, 31.4)])
def test_the_interval_of_rounded_times_holds_the_true_ratio(true_us):
    generator = np.random.default_rng(5)
    missed = 0
    for _ in range(200):
        old, new = (np.rint(each * np.exp(generator.normal(0, 0.001, 5))) for each in true_us)
        interval = stats.ratio_interval(steps(*new), steps(*old))
        missed += not interval.low <= true_us[1] / true_us[0] <= interval.high
    assert missed <= scipy_stats.binom.ppf(0.999, 200, 0.05)


def test_rounds_without_any_spread_say_nothing_where_the_step_is_not_known():
    (found,) = comparing.judge([np.full(3, 0.2)])
    assert (found.verdict, found.p_differs) == ("inconclusive", 1.0)


def test_the_whole_gate_fails_seldom_by_chance():
    """Eight models at the limit itself: the chance of any wrong failure stays below that of one interval, 2.5 %."""
    generator = np.random.default_rng(6)
    failed = uncorrected = 0
    for _ in range(400):
        logs = np.log(1.05) + generator.normal(0, 0.03, (8, 6))
        half = scipy_stats.t.ppf(0.975, 5) * logs.std(axis=1, ddof=1) / np.sqrt(6)
        found = [
            LatencyComparison(
                artifact="b",
                baseline="a",
                target="t",
                num_threads=1,
                rounds=6,
                ratio=Interval(value=np.exp(mean), low=np.exp(mean - width), high=np.exp(mean + width)),
                verdict="inconclusive",
                floor=0.03,
                p_differs=0.5,
                p_equivalent=0.5,
            )
            for mean, width in zip(logs.mean(axis=1), half, strict=True)
        ]
        failed += any(not gate.passed and not gate.inconclusive for gate in report.gates(found, 1.05))
        uncorrected += any(each.ratio.low > 1.05 for each in found)
    assert failed <= scipy_stats.binom.ppf(0.999, 400, 0.025)
    assert uncorrected > 2 * failed
