"""Statistics of latencies: pure functions of samples in milliseconds.

Inferences of one process resemble each other more than those of another process do, so the process is the unit of
every interval: pooling all inferences would promise a precision that is not there. For the same reason every process
weighs the same in a percentile, however many inferences it had the time for.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy  # its parts are imported when they are used

from edgekd.bench.samples import Process, ProcessSamples, ProcessSummary, sampled, summarised
from edgekd.errors import DataError
from edgekd.records import Interval, Latency

NORMAL_MAD = 1.4826  # median absolute deviation of a normal distribution times this is its standard deviation
MIN_PROCESSES = 3
MIN_RUNS = 1000  # for a 99th percentile: ten samples lie beyond it
DRIFT_VALUES = 8
DRIFT_P_VALUE = 0.01
MOST_DRIFT_VALUES = 200  # a longer series is cut into so many parts: the slopes of all pairs are looked at
CONFIDENCE = 0.95
WATCHED_RISK = 0.6  # of the usual chance of an error: simulated, an interval that was watched then covers 95 %

Samples = Sequence[float] | npt.NDArray[np.float64]


def percentiles(samples: Sequence[Samples], percents: Sequence[float]) -> tuple[float, ...]:
    """Returns percentiles over processes that weigh the same: of an inference of a process drawn at random.

    The smallest sample at or below which lies at least the percentage of the weight (NumPy's `inverted_cdf` with
    weights, Hyndman-Fan type 1).

    Args:
      samples: one list per process, any unit, none empty.
      percents: each from 0 to 100.
    """
    checked = [_checked(each) for each in samples]
    weights = np.concatenate([np.full(len(each), 1 / len(each)) for each in checked])
    shares = np.asarray(percents) / 100
    found = np.quantile(np.concatenate(checked), shares, weights=weights, method="inverted_cdf")
    return tuple(float(each) for each in found)


def scaled_mad(*samples: Samples) -> float:
    """Returns 1.4826 · median|x − median(x)|, which estimates the standard deviation and ignores outliers.

    Args:
      samples: one list per process; each weighs the same in both medians.

    References:
      Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, 1993.
    """
    if len(samples) == 1:
        values = _checked(samples[0])
        return float(NORMAL_MAD * np.median(np.abs(values - np.median(values))))
    (middle,) = percentiles(samples, [50])
    return NORMAL_MAD * percentiles([np.abs(np.asarray(each) - middle) for each in samples], [50])[0]


def outliers(samples: Samples) -> int:
    """Returns how many samples lie beyond Tukey's outer fences, three quartile ranges outside the quartiles.

    They are counted for the reader and stay in every other number.
    """
    values = _checked(samples)
    low, high = np.percentile(values, [25, 75])
    fence = 3 * (high - low)
    return int(np.sum((values < low - fence) | (values > high + fence)))


def log_interval(
    medians: Samples, *, confidence: float = CONFIDENCE, resolution: float = 0.0, watched: bool = False
) -> Interval | None:
    """Returns the median of process medians with a t-interval of their mean on logarithms.

    exp(mean(log m) ± (t · sd(log m) / √n + b)) with n − 1 degrees of freedom and b = resolution / (2 min(m)), by which
    rounding may have shifted all of them; sd is at least b / √3, that of a uniform error. The interval is widened
    where the median of medians, which resists one disturbed process, lies outside.

    Args:
      medians: [processes] one positive median per fresh process.
      confidence: coverage, between 0 and 1.
      resolution: the step that the medians were rounded to, in their unit.
      watched: whether measuring stopped because this interval was narrow, which happens sooner where the spread is
        small by chance. Then t is that of 0.6 times the usual chance of an error, 97 % for 95 %.

    Returns:
      The interval in the unit of `medians`, or None for fewer than three processes.
    """
    values = _checked(medians)
    if len(values) < MIN_PROCESSES:
        return None
    if np.any(values <= 0):
        raise DataError(f"a process median is {values.min()}: latencies must be positive. Measure again.")
    logs = np.log(values)
    half = _half_width(logs, resolution / (2 * float(values.min())), watched_risk(1 - confidence, watched=watched))
    middle = float(np.median(values))
    return Interval(
        value=middle,
        low=min(float(np.exp(logs.mean() - half)), middle),
        high=max(float(np.exp(logs.mean() + half)), middle),
        confidence=confidence,
    )


def ratio_interval(
    new: Sequence[Process], old: Sequence[Process], *, confidence: float = CONFIDENCE, watched: bool = False
) -> Interval | None:
    """Returns how many times as long the newer of two models takes, with a t-interval, or None for too few processes.

    The unit is a round: one fresh process of each model, whose blocks were interleaved. With d the differences of the
    rounds' log medians: exp(mean(d) ± (t · sd(d) / √n + b)), n − 1 degrees of freedom, where b is what `rounding` says
    and sd is at least b / √3.

    Args:
      new: one entry per round.
      old: of the same rounds.
      confidence: coverage, between 0 and 1.
      watched: as for `log_interval`.

    Raises:
      DataError: different numbers of rounds, or a median that is not positive.
    """
    logs = log_ratios(new, old)
    if len(logs) < MIN_PROCESSES:
        return None
    half = _half_width(logs, rounding(new, old), watched_risk(1 - confidence, watched=watched))
    value, low, high = (float(np.exp(each)) for each in (logs.mean(), logs.mean() - half, logs.mean() + half))
    return Interval(value=value, low=low, high=high, confidence=confidence)


def rounding(new: Sequence[Process], old: Sequence[Process]) -> float:
    """Returns by how much rounding can shift the log ratio of two models in every round alike.

    Half a step of the clock over the median, of both. It does not average out: equal times are rounded equally.
    """
    steps = [max(each.resolution_ms for each in model) / float(process_medians_ms(model).min()) for model in (new, old)]
    return sum(steps) / 2


def watched_risk(risk: float, *, watched: bool) -> float:
    """Returns the chance of an error to reckon with, so that it is at most `risk` although one stopped by looking."""
    return WATCHED_RISK * risk if watched else risk


def _half_width(logs: npt.NDArray[np.float64], bound: float, risk: float) -> float:
    deviation = max(float(logs.std(ddof=1)), bound / np.sqrt(3))
    quantile = scipy.special.stdtrit(len(logs) - 1, 1 - risk / 2)
    return float(quantile * deviation / np.sqrt(len(logs)) + bound)


def log_ratios(new: Sequence[Process], old: Sequence[Process]) -> npt.NDArray[np.float64]:
    """Returns the differences of two models' log medians, [rounds]; see `ratio_interval`.

    Raises:
      DataError: different numbers of rounds, or a median that is not positive.
    """
    if len(new) != len(old):
        raise DataError(f"received {len(new)} and {len(old)} processes: measure both models in the same rounds.")
    medians = np.stack([process_medians_ms(new), process_medians_ms(old)])
    if np.any(medians <= 0):
        raise DataError(f"a process median is {medians.min()}: latencies must be positive. Measure again.")
    differences: npt.NDArray[np.float64] = np.log(medians[0]) - np.log(medians[1])
    return differences


def drift(values: Samples) -> float | None:
    """Returns the relative change from the first to the last of independent values, or None without a clear trend.

    Theil and Sen's slope times the number of steps, divided by the median; a trend is clear when Kendall's test gives
    p < 0.01. More than 200 values are cut into 200 parts of equal length, of which the medians are taken.

    Args:
      values: [n] positive, in the order of time; None is returned for fewer than eight.
    """
    series = _checked(values)
    if len(series) > MOST_DRIFT_VALUES:
        series = np.array([np.median(part) for part in np.array_split(series, MOST_DRIFT_VALUES)])
    if len(series) < DRIFT_VALUES or np.all(series == series[0]):
        return None
    times = np.arange(len(series))
    if scipy.stats.kendalltau(times, series).pvalue >= DRIFT_P_VALUE:
        return None
    slope = scipy.stats.theilslopes(series, times).slope
    return float(slope * (len(series) - 1) / np.median(series))


def drift_within(block_medians: Sequence[Samples]) -> float | None:
    """Returns the relative change from a process' first block to its last, or None without a clear trend.

    The mean over processes of each one's change, which is the slope of its log medians by least squares times the
    number of steps; a trend is clear when Student's t-test over the processes gives p < 0.01. How the processes differ
    drops out, and so they may in any order.

    Args:
      block_medians: one list [blocks] per process, positive, in the order of time; None is returned for fewer than
        three processes, or where one has fewer than two blocks.
    """
    logs = [np.log(_checked(each)) for each in block_medians]
    if len(logs) < MIN_PROCESSES or min(map(len, logs)) < 2:
        return None
    changes = np.array([np.polyfit(np.linspace(0, 1, len(each)), each, 1)[0] for each in logs])
    if np.ptp(changes) == 0 or scipy.stats.ttest_1samp(changes, 0.0).pvalue >= DRIFT_P_VALUE:
        return None
    return float(np.expm1(changes.mean()))


def summarise(processes: Sequence[Process], *, watched: bool = False) -> Latency:
    """Returns what one inference takes, in milliseconds; every process weighs the same.

    `p50` is the median of process medians, as is its interval's value. The other percentiles are those of an inference
    of a process drawn at random, see `percentiles`; the mean is that of the process means. Where processes gave
    statistics and no samples, what only samples tell is None.

    Args:
      processes: one entry per fresh process.
      watched: as for `log_interval`.
    """
    medians = process_medians_ms(processes)
    interval = log_interval(medians, resolution=max(each.resolution_ms for each in processes), watched=watched)
    summaries = summarised(processes)
    if summaries:
        return Latency(
            p50=float(np.median(medians)),
            p90=None,
            p95=None,
            p99=None,
            minimum=min(each.minimum_ms for each in summaries),
            mean=float(np.mean([each.mean_ms for each in summaries])),
            scaled_mad=None,
            interval=interval,
        )
    samples = samples_ms(sampled(processes))
    p90, p95, p99 = percentiles(samples, [90, 95, 99])
    return Latency(
        p50=float(np.median(medians)),
        p90=p90,
        p95=p95,
        p99=p99 if sum(map(len, samples)) >= MIN_RUNS else None,
        minimum=min(float(each.min()) for each in samples),
        mean=float(np.mean([each.mean() for each in samples])),
        scaled_mad=scaled_mad(*samples),
        interval=interval,
    )


def samples_ms(processes: Sequence[ProcessSamples]) -> list[npt.NDArray[np.float64]]:
    """Returns every timed inference of each process, in milliseconds."""
    return [np.concatenate(process.blocks_ms) for process in processes]


def process_medians_ms(processes: Sequence[Process]) -> npt.NDArray[np.float64]:
    """Returns each process' median inference, in milliseconds."""
    return _checked([_median_ms(process) for process in processes])


def _median_ms(process: Process) -> float:
    if isinstance(process, ProcessSummary):
        return process.median_ms
    return float(np.median(np.concatenate(process.blocks_ms)))


def _checked(samples: Samples) -> npt.NDArray[np.float64]:
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)):
        raise DataError(
            f"received samples of shape {list(values.shape)}, {int(np.sum(~np.isfinite(values)))} of them not finite: "
            "expected a flat list of at least one finite number. Measure again."
        )
    return values
