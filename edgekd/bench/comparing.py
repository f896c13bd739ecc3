"""Whether one model is faster than another: pure functions of the rounds in which both were measured.

The unit is a round, one fresh process of each model with interleaved blocks, as in `stats.ratio_interval`. Pooled
inferences would find a difference between a model and its copy in most measurements.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy  # its parts are imported when they are used

from edgekd.bench import stats
from edgekd.bench.samples import Process
from edgekd.errors import DataError
from edgekd.records import LatencyComparison, LatencyVerdict

FLOOR = 0.03  # smaller differences are not called faster or slower: another build of one model differs as much
CONFIDENCE = 0.95


def compare(
    names: Sequence[str],
    models: Sequence[Sequence[Process]],
    *,
    target: str,
    num_threads: int,
    batch: int | None = None,
    floor: float = FLOOR,
    confidence: float = CONFIDENCE,
    watched: bool = False,
) -> tuple[LatencyComparison, ...]:
    """Returns a verdict on every model but the first, against the first; see `judge`.

    Args:
      names: of the models.
      models: [models][rounds], of the same rounds.
      target: where they were measured.
      num_threads: with how many threads.
      batch: with which batch.
      floor: the smallest difference that matters, as a share: 0.03 is 3 %.
      confidence: of intervals and verdicts. The interval of a ratio is that of this model alone.
      watched: whether measuring stopped because an interval was narrow; see `stats.log_interval`.

    Raises:
      DataError: fewer than two models, different numbers of rounds, or a floor that is not above 0.
    """
    if len(models) < 2 or len(names) != len(models):
        raise DataError(
            f"received {len(models)} models and {len(names)} names: a comparison needs at least two of both."
        )
    baseline, *others = models
    differences = [stats.log_ratios(other, baseline) for other in others]
    ratios = [stats.ratio_interval(other, baseline, confidence=confidence, watched=watched) for other in others]
    judged = judge(
        differences,
        [stats.rounding(other, baseline) for other in others],
        floor=floor,
        confidence=1 - stats.watched_risk(1 - confidence, watched=watched),
    )
    return tuple(
        LatencyComparison(
            artifact=name,
            baseline=names[0],
            target=target,
            num_threads=num_threads,
            batch=batch,
            rounds=len(logs),
            ratio=ratio,
            verdict=each.verdict,
            floor=floor,
            p_differs=each.p_differs,
            p_equivalent=each.p_equivalent,
        )
        for name, logs, ratio, each in zip(names[1:], differences, ratios, judged, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Judged:
    """A verdict; the p-values are corrected for the number of comparisons, and None for too few rounds."""

    verdict: LatencyVerdict
    p_differs: float | None
    p_equivalent: float | None


def judge(
    differences: Sequence[npt.NDArray[np.float64]],
    rounding: Sequence[float] | None = None,
    *,
    floor: float = FLOOR,
    confidence: float = CONFIDENCE,
) -> list[Judged]:
    """Returns what the rounds of several models say, each against the same other model.

    With d the rounds' differences of log medians, n of them, and δ = log(1 + floor):

    - slower or faster: Student's t-test of mean(d) = 0 rejects, and |mean(d)| > δ;
    - equivalent: both one-sided t-tests of mean(d) ≤ −δ and mean(d) ≥ δ reject at half the level, which is the same as
      an interval of mean(d) inside ±δ;
    - inconclusive: neither, or fewer than three rounds.

    Where times are rounded to steps, all rounds may be off by the same b: every test is that of a mean which is b
    nearer to what it is held against, and the standard deviation is at least b / √3. Rounds without any spread whose
    steps are not known say nothing.

    The p-values of several models are Holm's, for each of the two questions on its own.

    Args:
      differences: one array [rounds] per model.
      rounding: b of each model, see `stats.rounding`; none by default.
      floor: the smallest difference that matters, as a share.
      confidence: of the verdicts.

    Raises:
      DataError: a floor that is not above 0.

    References:
      Schuirmann, A comparison of the two one-sided tests procedure ..., 1987 (equivalence). Holm, A simple sequentially
      rejective multiple test procedure, 1979.
    """
    if not (math.isfinite(floor) and floor > 0):
        raise DataError(f"floor is {floor!r}: expected the smallest difference that matters, such as 0.03 for 3 %.")
    margin, alpha = math.log1p(floor), 1 - confidence
    bounds = [0.0] * len(differences) if rounding is None else rounding
    differs = holm([_p_differs(logs, bound) for logs, bound in zip(differences, bounds, strict=True)])
    equals = holm([_p_equivalent(logs, margin, bound) for logs, bound in zip(differences, bounds, strict=True)])
    found = []
    for logs, p_differs, p_equals in zip(differences, differs, equals, strict=True):
        verdict: LatencyVerdict = "inconclusive"
        if len(logs) < stats.MIN_PROCESSES:
            found.append(Judged(verdict, None, None))
            continue
        if p_differs < alpha and abs(logs.mean()) > margin:
            verdict = "slower" if logs.mean() > 0 else "faster"
        elif p_equals < alpha / 2:
            verdict = "equivalent"
        found.append(Judged(verdict, p_differs, p_equals))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's adjusted p-values, in the order received.

    The smallest of k is multiplied by k, the next by k − 1, and so on; each is at least the one before and at most 1.

    References:
      Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    largest = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda each: p_values[each])):
        largest = max(largest, min((count - rank) * p_values[index], 1.0))
        adjusted[index] = largest
    return adjusted


def gate(comparison: LatencyComparison, max_ratio: float, *, family: int = 1) -> bool | None:
    """Returns whether a ratio is within a limit, where its whole interval agrees, and None where it does not.

    Within: the interval ends at the limit or below. Beyond: it lies above, also when it is as wide as it takes for the
    chance of one wrong failure among all the ratios to be what it is for one (Bonferroni). Passing needs no correction:
    all ratios must.

    Args:
      comparison: with its interval.
      max_ratio: the limit.
      family: how many ratios are held to the limit together.
    """
    ratio = comparison.ratio
    if ratio is None:
        return None
    if ratio.high <= max_ratio:
        return True
    risk = (1 - ratio.confidence) / 2
    usual, wider = scipy.special.stdtrit(comparison.rounds - 1, [1 - risk, 1 - risk / family])
    low = ratio.value * (ratio.low / ratio.value) ** (wider / usual)
    return False if low > max_ratio else None


def detectable(
    standard_deviation: float,
    rounds: int,
    *,
    floor: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = 0.8,
) -> float:
    """Returns the smallest share by which a model must be slower to be found so.

    exp(max(t(1 − α/2) · e, log(1 + floor)) + t(power) · e) − 1 with e = sd / √n and n − 1 degrees of freedom: the mean
    must pass both the test and the floor.

    Args:
      standard_deviation: of the rounds' log ratios.
      rounds: n, at least three.
      floor: the smallest difference that matters, as a share.
      confidence: 1 − α.
      power: how often it shall be found.

    References:
      Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, section 2.5.
    """
    if rounds < stats.MIN_PROCESSES:
        raise DataError(f"received {rounds} rounds: at least {stats.MIN_PROCESSES} are needed.")
    test, margin = (
        scipy.special.stdtrit(rounds - 1, [(1 + confidence) / 2, power]) * standard_deviation / math.sqrt(rounds)
    )
    return math.expm1(max(float(test), math.log1p(floor)) + float(margin))


def _p_differs(logs: npt.NDArray[np.float64], bound: float) -> float:
    return min(1.0, 2 * min(_p_at_most(logs, bound, bound), _p_at_most(-logs, bound, bound)))


def _p_equivalent(logs: npt.NDArray[np.float64], margin: float, bound: float) -> float:
    return max(_p_at_most(logs, bound - margin, bound), _p_at_most(-logs, bound - margin, bound))


def _p_at_most(logs: npt.NDArray[np.float64], limit: float, bound: float) -> float:
    """Returns the p-value of Student's one-sided t-test of mean ≤ limit; scipy's takes twenty times as long."""
    if len(logs) < stats.MIN_PROCESSES:
        return 1.0
    above = float(logs.mean()) - limit
    if bound == 0 and np.ptp(logs) == 0:  # nothing is known of what another round would say
        return 1.0
    spread = max(float(logs.std(ddof=1)), bound / math.sqrt(3))
    return float(scipy.special.stdtr(len(logs) - 1, -above * math.sqrt(len(logs)) / spread))
