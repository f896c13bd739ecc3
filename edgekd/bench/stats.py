"""Statistics of latencies: pure functions of samples in milliseconds.

Inferences of one process resemble each other more than those of another process do, so the process is the unit of
every interval: pooling all inferences would promise a precision that is not there.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats as scipy_stats

from edgekd.bench.samples import Process, ProcessSamples, ProcessSummary, sampled, summarised
from edgekd.errors import DataError
from edgekd.records import Interval, Latency

NORMAL_MAD = 1.4826  # median absolute deviation of a normal distribution times this is its standard deviation
MIN_PROCESSES = 3
MIN_RUNS = 1000  # for a 99th percentile: ten samples lie beyond it
MAX_SCATTER = 0.05
MAX_SPREAD = 0.10
MAX_DRIFT = 0.05
MAX_STEAL = 0.01
MAX_TIMER = 0.05
MAX_OUTLIERS = 0.01
DRIFT_BLOCKS = 8
DRIFT_P_VALUE = 0.01
MODE_SAMPLES = 20
MODE_SHARE = 0.1
MODE_P_VALUE = 0.05
MODE_RESAMPLES = 200
MODE_GRID = 200

Samples = Sequence[float] | npt.NDArray[np.float64]


def percentile(samples: Samples, percent: float) -> float:
    """Returns a percentile by linear interpolation between order statistics (NumPy's `linear`, Hyndman-Fan type 7).

    Args:
      samples: [n] any unit, n >= 1.
      percent: 0 to 100.
    """
    return float(np.percentile(_checked(samples), percent, method="linear"))


def scaled_mad(samples: Samples) -> float:
    """Returns 1.4826 · median|x − median(x)|, which estimates the standard deviation and ignores outliers.

    References:
      Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, 1993.
    """
    values = _checked(samples)
    return float(NORMAL_MAD * np.median(np.abs(values - np.median(values))))


def outliers(samples: Samples) -> int:
    """Returns how many samples lie beyond Tukey's outer fences, three quartile ranges outside the quartiles.

    They are counted for the reader and stay in every other number.
    """
    values = _checked(samples)
    low, high = np.percentile(values, [25, 75])
    fence = 3 * (high - low)
    return int(np.sum((values < low - fence) | (values > high + fence)))


def log_interval(medians: Samples, *, confidence: float = 0.95) -> Interval | None:
    """Returns the median of process medians with a t-interval of their mean on logarithms.

    exp(mean(log m) ± t · sd(log m) / √n) with n − 1 degrees of freedom. The interval is widened where the median of
    medians, which resists one disturbed process, lies outside.

    Args:
      medians: [processes] one positive median per fresh process.
      confidence: coverage, between 0 and 1.

    Returns:
      The interval in the unit of `medians`, or None for fewer than three processes.
    """
    values = _checked(medians)
    if len(values) < MIN_PROCESSES:
        return None
    if np.any(values <= 0):
        raise DataError(f"a process median is {values.min()}: latencies must be positive. Measure again.")
    logs = np.log(values)
    half = scipy_stats.t.ppf(0.5 + confidence / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    middle = float(np.median(values))
    return Interval(
        value=middle,
        low=min(float(np.exp(logs.mean() - half)), middle),
        high=max(float(np.exp(logs.mean() + half)), middle),
        confidence=confidence,
    )


def ratio_interval(new: Sequence[Process], old: Sequence[Process], *, confidence: float = 0.95) -> Interval | None:
    """Returns how many times as long the newer of two models takes, with a t-interval, or None for too few processes.

    The unit is a round: one fresh process of each model, whose blocks were interleaved. With d the differences of the
    rounds' log medians: exp(mean(d) ± t · sd(d) / √n), n − 1 degrees of freedom.

    Args:
      new: one entry per round.
      old: of the same rounds.
      confidence: coverage, between 0 and 1.

    Raises:
      DataError: different numbers of rounds, or a median that is not positive.
    """
    logs = log_ratios(new, old)
    if len(logs) < MIN_PROCESSES:
        return None
    half = scipy_stats.t.ppf(0.5 + confidence / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
    value, low, high = (float(np.exp(each)) for each in (logs.mean(), logs.mean() - half, logs.mean() + half))
    return Interval(value=value, low=low, high=high, confidence=confidence)


@dataclasses.dataclass(frozen=True)
class TwoModes:
    """Two groups of samples with a gap between them.

    Attributes:
      low: median of the faster group.
      high: median of the slower group.
      share_high: the slower group's share of the samples.
      p_value: of the test that there is one group.
    """

    low: float
    high: float
    share_high: float
    p_value: float


def two_modes(samples: Samples) -> TwoModes | None:
    """Returns the two groups that samples fall into, or None where one explains them.

    Silverman's test on logarithms: the smallest bandwidth with which a Gaussian kernel estimate has one mode, against
    its distribution over samples from that estimate (smoothed, at the samples' own variance). The groups are
    parted at the estimate's deepest valley with a slightly smaller bandwidth. They count when p < 0.05, their medians
    differ by more than 5 % and the smaller has at least a tenth of the samples.

    Args:
      samples: [n] positive; None is returned for fewer than twenty.

    References:
      Silverman, Using Kernel Density Estimates to Investigate Multimodality, 1981. Hall and York, On the Calibration of
      Silverman's Test for Multimodality, 2001.
    """
    values = _checked(samples)
    if len(values) < MODE_SAMPLES or np.ptp(values) <= MAX_SCATTER * np.median(values):
        return None
    logs = np.sort(np.log(values))
    bandwidth = _critical_bandwidth(logs)
    generator = np.random.default_rng(0)
    shrink = 1 / np.sqrt(1 + (bandwidth / logs.std()) ** 2)
    drawn = (np.sort(_smoothed(logs, bandwidth, shrink, generator)) for _ in range(MODE_RESAMPLES))
    # More than one mode with this bandwidth: the resample's own smallest bandwidth for one mode is wider.
    p_value = float(np.mean([len(_extrema(each, bandwidth)[1]) > 1 for each in drawn]))
    valley = _valley(logs, 0.9 * bandwidth)
    if p_value >= MODE_P_VALUE or valley is None:
        return None
    below, above = np.exp(logs[logs <= valley]), np.exp(logs[logs > valley])
    share = len(above) / len(logs)
    low, high = float(np.median(below)), float(np.median(above))
    if min(share, 1 - share) < MODE_SHARE or high <= (1 + MAX_SCATTER) * low:
        return None
    return TwoModes(low, high, share, p_value)


def _smoothed(
    logs: npt.NDArray[np.float64], bandwidth: float, shrink: float, generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    drawn = generator.choice(logs, len(logs))
    mean = logs.mean()
    smoothed: npt.NDArray[np.float64] = mean + shrink * (
        drawn - mean + bandwidth * generator.standard_normal(len(logs))
    )
    return smoothed


def _critical_bandwidth(logs: npt.NDArray[np.float64]) -> float:
    """Returns the smallest bandwidth with which the kernel estimate has one mode, to a thousandth, by bisection."""
    low, high = 0.0, float(np.ptp(logs)) or 1.0
    while high - low > high / 1000:
        middle = (low + high) / 2
        if len(_extrema(logs, middle)[1]) > 1:
            low = middle
        else:
            high = middle
    return high


def _valley(logs: npt.NDArray[np.float64], bandwidth: float) -> float | None:
    grid, peaks, density = _extrema(logs, bandwidth)
    if len(peaks) < 2:
        return None
    first, last = sorted(sorted(peaks, key=lambda peak: density[peak])[-2:])
    return float(grid[first + int(np.argmin(density[first : last + 1]))])


def _extrema(
    logs: npt.NDArray[np.float64], bandwidth: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Returns a grid, the places of the estimate's modes on it, and the estimate there, unscaled."""
    grid = np.linspace(logs[0], logs[-1], MODE_GRID)
    density = np.exp(-0.5 * ((grid[:, None] - logs[None, :]) / bandwidth) ** 2).sum(axis=1)
    padded = np.concatenate([[-np.inf], density, [-np.inf]])
    peaks = np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]))
    return grid, peaks, density


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


def drift(block_medians: Samples) -> float | None:
    """Returns the relative change from the first to the last block, or None where there is no clear trend.

    Theil and Sen's slope times the number of steps, divided by the median; a trend is clear when Kendall's test gives
    p < 0.01.

    Args:
      block_medians: [blocks] in the order of time; None is returned for fewer than eight.
    """
    values = _checked(block_medians)
    if len(values) < DRIFT_BLOCKS or np.all(values == values[0]):
        return None
    times = np.arange(len(values))
    if scipy_stats.kendalltau(times, values).pvalue >= DRIFT_P_VALUE:
        return None
    slope = scipy_stats.theilslopes(values, times).slope
    return float(slope * (len(values) - 1) / np.median(values))


def summarise(processes: Sequence[Process]) -> Latency:
    """Returns the percentiles over all processes' timed inferences, in milliseconds, and the interval of p50.

    `p50` and `interval.value` differ a little: the first pools all inferences, the second is the median of process
    medians. Where processes gave statistics and no samples, nothing can be pooled: `p50` is the median of medians, the
    mean weighs each process by its runs, and what only samples tell is None.
    """
    medians = process_medians_ms(processes)
    summaries = summarised(processes)
    if summaries:
        return Latency(
            p50=float(np.median(medians)),
            p90=None,
            p95=None,
            p99=None,
            minimum=min(each.minimum_ms for each in summaries),
            mean=float(np.average([each.mean_ms for each in summaries], weights=[each.num_runs for each in summaries])),
            scaled_mad=None,
            interval=log_interval(medians),
        )
    pooled = pooled_ms(sampled(processes))
    return Latency(
        p50=percentile(pooled, 50),
        p90=percentile(pooled, 90),
        p95=percentile(pooled, 95),
        p99=percentile(pooled, 99) if len(pooled) >= MIN_RUNS else None,
        minimum=float(pooled.min()),
        mean=float(pooled.mean()),
        scaled_mad=scaled_mad(pooled),
        interval=log_interval(medians),
    )


def pooled_ms(processes: Sequence[ProcessSamples]) -> npt.NDArray[np.float64]:
    """Returns every timed inference of every process, in milliseconds."""
    return _checked([sample for process in processes for block in process.blocks_ms for sample in block])


def process_medians_ms(processes: Sequence[Process]) -> npt.NDArray[np.float64]:
    """Returns each process' median inference, in milliseconds."""
    return _checked([_median_ms(process) for process in processes])


def _median_ms(process: Process) -> float:
    if isinstance(process, ProcessSummary):
        return process.median_ms
    return float(np.median(np.concatenate(process.blocks_ms)))


def warnings(processes: Sequence[Process], *, logical_cores: int, single: bool = False) -> tuple[str, ...]:
    """Returns plain sentences on what makes a measurement doubtful, each with its cause and what to do.

    Args:
      processes: one entry per fresh process, in the order of time.
      logical_cores: of the machine that measured.
      single: whether one process is all that was asked for.
    """
    few = None if single else _few_processes(processes)
    summaries, with_samples = summarised(processes), sampled(processes)
    if summaries:
        medians = process_medians_ms(summaries)
        found = [few, _spread(summaries), _drift(medians, "process"), _resolution(summaries)]
    else:
        blocks = [float(np.median(block)) for process in with_samples for block in process.blocks_ms]
        found = [
            few,
            _few_runs(with_samples),
            _scatter(with_samples),
            _spread(with_samples),
            _drift(blocks, "block"),
            _modes(with_samples),
            _unsteady(with_samples),
            _timer(with_samples),
            _load(with_samples, logical_cores),
            _steal(with_samples),
            _outliers(with_samples),
        ]
    return tuple(sentence for sentence in found if sentence is not None)


def _few_processes(processes: Sequence[Process]) -> str | None:
    if len(processes) >= MIN_PROCESSES:
        return None
    return (
        f"Fresh processes that measured this model: {len(processes)}, too few for an interval. Use at least "
        f"{MIN_PROCESSES}."
    )


def _few_runs(processes: Sequence[ProcessSamples]) -> str | None:
    runs = len(pooled_ms(processes))
    if runs >= MIN_RUNS:
        return None
    return f"Timed runs: {runs}, too few for a 99th percentile. Use at least {MIN_RUNS} (min_runs, blocks, processes)."


def _scatter(processes: Sequence[ProcessSamples]) -> str | None:
    ratios = [scaled_mad(block) / float(np.median(block)) for process in processes for block in process.blocks_ms]
    scatter = float(np.median(ratios))
    if scatter <= MAX_SCATTER:
        return None
    return (
        f"Runs of one block scatter by {scatter:.1%} (scaled MAD / median, limit {MAX_SCATTER:.0%}): other work "
        "disturbs this machine or its clock rate varies. Close other programs and measure again."
    )


def _spread(processes: Sequence[Process]) -> str | None:
    medians = process_medians_ms(processes)
    spread = float((medians.max() - medians.min()) / np.median(medians))
    if spread <= MAX_SPREAD:
        return None
    return (
        f"Process medians spread by {spread:.1%} of their median (limit {MAX_SPREAD:.0%}): memory placement or other "
        "work differs from process to process. Use more processes and rely on the interval."
    )


def _drift(medians: Samples, of: str) -> str | None:
    change = drift(medians)
    if change is None or abs(change) <= MAX_DRIFT:
        return None
    way = "slower" if change > 0 else "faster"
    return (
        f"The model became {abs(change):.1%} {way} from the first {of} to the last (limit {MAX_DRIFT:.0%}): the "
        "processor heats up or its clock rate changes. Let it cool, fix the clock rate and measure again."
    )


def _modes(processes: Sequence[ProcessSamples]) -> str | None:
    found = two_modes([float(np.median(block)) for process in processes for block in process.blocks_ms])
    if found is None:
        return None
    middle = (found.low + found.high) / 2
    for is_slow in (False, True):  # one odd process is a spread of processes, which has a sentence of its own
        if sum(any((np.median(each) > middle) == is_slow for each in process.blocks_ms) for process in processes) < 2:
            return None
    return (
        f"The blocks fall into two groups, around {found.low:.3g} ms and around {found.high:.3g} ms "
        f"({found.share_high:.0%} of them): no single number describes this model here. The processor changes between "
        "two clock rates, or memory is placed in two ways; pin the processes to one core and fix the clock rate."
    )


def _unsteady(processes: Sequence[ProcessSamples]) -> str | None:
    count = sum(process.steady is not True for process in processes)
    if count == 0:
        return None
    return (
        f"In {count} of {len(processes)} processes the warm-up ended before two blocks agreed within 2 %: allow a "
        "longer warm-up (max_warmup_seconds)."
    )


def _timer(processes: Sequence[ProcessSamples]) -> str | None:
    share = max(process.timer_overhead_ns for process in processes) / 1e6 / float(np.median(pooled_ms(processes)))
    if share <= MAX_TIMER:
        return None
    return (
        f"Reading the clock takes {share:.0%} of one inference (limit {MAX_TIMER:.0%}): the model is too short to time "
        "run by run. Use loop_ns_per_run of the raw samples."
    )


def _resolution(processes: Sequence[ProcessSummary]) -> str | None:
    step = max(process.resolution_ms for process in processes)
    share = step / float(np.median(process_medians_ms(processes)))
    if share <= MAX_TIMER:
        return None
    return (
        f"The program that measured counts time in steps of {step * 1e3:g} us, {share:.0%} of one inference (limit "
        f"{MAX_TIMER:.0%}): the model is too short for it. Intervals narrower than a step mean nothing."
    )


def _load(processes: Sequence[ProcessSamples], logical_cores: int) -> str | None:
    load = max(process.system_before.load_1min for process in processes)
    if load <= logical_cores:
        return None
    return (
        f"The machine's load was {load:.1f} with {logical_cores} logical cores: other programs compete for them. "
        "Stop them and measure again."
    )


def _steal(processes: Sequence[ProcessSamples]) -> str | None:
    first, last = processes[0].system_before, processes[-1].system_after
    if None in (first.steal_ticks, first.total_ticks, last.steal_ticks, last.total_ticks):
        return None
    ticks = (last.total_ticks or 0) - (first.total_ticks or 0)
    share = ((last.steal_ticks or 0) - (first.steal_ticks or 0)) / ticks if ticks > 0 else 0.0
    if share <= MAX_STEAL:
        return None
    return (
        f"The host took {share:.1%} of the processor time away (steal, limit {MAX_STEAL:.0%}): this virtual machine "
        "shares its cores. Measure on another machine or at another time."
    )


def _outliers(processes: Sequence[ProcessSamples]) -> str | None:
    runs = len(pooled_ms(processes))
    # Block by block: the difference between two processes is no outlier.
    count = sum(outliers(block) for process in processes for block in process.blocks_ms)
    if count <= runs * MAX_OUTLIERS:
        return None
    return (
        f"{count} of {runs} runs are outliers of their block (beyond Tukey's outer fences); they are kept in every "
        "number. Something interrupts this machine now and then: see p90 and p99."
    )


def _checked(samples: Samples) -> npt.NDArray[np.float64]:
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)):
        raise DataError(
            f"received samples of shape {list(values.shape)}, {int(np.sum(~np.isfinite(values)))} of them not finite: "
            "expected a flat list of at least one finite number. Measure again."
        )
    return values
