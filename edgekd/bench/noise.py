"""Warnings: what makes a measurement doubtful, each with its cause and what to do; nothing is dropped because of it."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgekd.bench import modes, stats
from edgekd.bench.samples import Process, ProcessSamples, ProcessSummary, sampled, summarised

MAX_SCATTER = 0.05
MAX_SPREAD = 0.10
MAX_DRIFT = 0.05
MAX_STEAL = 0.01
MAX_TIMER = 0.05
MAX_OUTLIERS = 0.01
MAX_CLOCK_CHANGE = 0.05
MAX_SWITCHES_PER_SECOND = 20.0  # a time slice is a few milliseconds: more cost several per cent


@dataclasses.dataclass(frozen=True)
class _Timed:
    """Processes with their blocks' samples in milliseconds, converted once."""

    processes: tuple[ProcessSamples, ...]
    blocks_ms: tuple[tuple[npt.NDArray[np.float64], ...], ...]

    @classmethod
    def of(cls, processes: Sequence[ProcessSamples]) -> "_Timed":
        return cls(tuple(processes), tuple(process.blocks_ms for process in processes))

    @property
    def all_blocks(self) -> list[npt.NDArray[np.float64]]:
        return [block for blocks in self.blocks_ms for block in blocks]

    @property
    def num_runs(self) -> int:
        return sum(map(len, self.all_blocks))

    @property
    def block_medians(self) -> list[npt.NDArray[np.float64]]:
        return [np.array([np.median(block) for block in blocks]) for blocks in self.blocks_ms]

    @property
    def medians(self) -> npt.NDArray[np.float64]:
        return np.array([np.median(np.concatenate(blocks)) for blocks in self.blocks_ms])


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
        medians = stats.process_medians_ms(summaries)
        found = [few, _spread(medians), _drift(medians), _placement(medians), _resolution(summaries)]
    else:
        timed = _Timed.of(with_samples)
        medians = timed.medians
        found = [
            few,
            _few_runs(timed),
            _scatter(timed),
            _spread(medians),
            _drift(medians),
            _drift_within(timed),
            _placement(medians),
            _two_rates(timed),
            _clock(timed),
            _governor(timed),
            _unsteady(timed),
            _timer(timed),
            _load(timed, logical_cores),
            _steal(timed),
            _switches(timed),
            _outliers(timed),
        ]
    return tuple(sentence for sentence in found if sentence is not None)


def outliers_of(processes: Sequence[ProcessSamples]) -> int:
    """Returns how many runs are outliers of their block: the difference between two processes is none."""
    return sum(stats.outliers(block) for process in processes for block in process.blocks_ms)


def loop_ms(processes: Sequence[ProcessSamples]) -> float | None:
    """Returns the median time of a short inference in a loop without a clock, or None where none was looped."""
    looped = [
        block.loop_ns_per_run for process in processes for block in process.blocks if block.loop_ns_per_run is not None
    ]
    return float(np.median(looped)) / 1e6 if looped else None


def _few_processes(processes: Sequence[Process]) -> str | None:
    if len(processes) >= stats.MIN_PROCESSES:
        return None
    return (
        f"Fresh processes that measured this model: {len(processes)}, too few for an interval. Use at least "
        f"{stats.MIN_PROCESSES}."
    )


def _few_runs(timed: _Timed) -> str | None:
    runs = timed.num_runs
    if runs >= stats.MIN_RUNS:
        return None
    return (
        f"Timed runs: {runs}, too few for a 99th percentile. Use at least {stats.MIN_RUNS} (min_runs, blocks, "
        "processes)."
    )


def _scatter(timed: _Timed) -> str | None:
    ratios = [stats.scaled_mad(block) / float(np.median(block)) for block in timed.all_blocks]
    scatter = float(np.median(ratios))
    if scatter <= MAX_SCATTER:
        return None
    return (
        f"Runs of one block scatter by {scatter:.1%} (scaled MAD / median, limit {MAX_SCATTER:.0%}): other work "
        "disturbs this machine or its clock rate varies. Close other programs and measure again."
    )


def _spread(medians: npt.NDArray[np.float64]) -> str | None:
    spread = float((medians.max() - medians.min()) / np.median(medians))
    if spread <= MAX_SPREAD:
        return None
    return (
        f"Process medians spread by {spread:.1%} of their median (limit {MAX_SPREAD:.0%}): memory placement or other "
        "work differs from process to process. Use more processes and rely on the interval."
    )


def _drift(medians: npt.NDArray[np.float64]) -> str | None:
    """Judges by process medians alone: the blocks of a process are not independent of each other."""
    change = stats.drift(medians)
    if change is None or abs(change) <= MAX_DRIFT:
        return None
    return (
        f"The model became {abs(change):.1%} {_way(change)} from the first process to the last (limit "
        f"{MAX_DRIFT:.0%}): the processor heats up, its clock rate changes, or other work began or ended. Let it cool, "
        "fix the clock rate and measure again."
    )


def _drift_within(timed: _Timed) -> str | None:
    medians = timed.block_medians
    change = stats.drift(medians[0]) if len(medians) == 1 else stats.drift_within(medians)
    if change is None or abs(change) <= MAX_DRIFT:
        return None
    return (
        f"The model became {abs(change):.1%} {_way(change)} from the first block of a process to its last (limit "
        f"{MAX_DRIFT:.0%}): the processor heats up while it runs, its clock rate changes, or the warm-up was too "
        "short. Let it cool, fix the clock rate or raise min_warmup_seconds, and measure again."
    )


def _way(change: float) -> str:
    return "slower" if change > 0 else "faster"


def _placement(medians: npt.NDArray[np.float64]) -> str | None:
    found = modes.two_modes(medians)
    if found is None:
        return None
    return (
        f"The processes fall into two groups, around {found.low:.3g} ms and around {found.high:.3g} ms "
        f"({found.share_high:.0%} of them): no single number describes this model here. Memory is placed in two ways, "
        "or the processes run on two kinds of cores: pin them to one core."
    )


def _two_rates(timed: _Timed) -> str | None:
    found = modes.within_processes(timed.block_medians)
    if found is None:
        return None
    return (
        f"Within a process some blocks take {found.high / found.low - 1:.0%} longer than others, with a gap between "
        "the two groups: the processor changes between two clock rates, or other work comes and goes. Fix the clock "
        "rate and close other programs."
    )


def _clock(timed: _Timed) -> str | None:
    rates = [block.clock_khz for process in timed.processes for block in process.blocks if block.clock_khz is not None]
    if not rates or max(rates) - min(rates) <= MAX_CLOCK_CHANGE * max(rates):
        return None
    return (
        f"The processor's clock rate was between {min(rates) / 1e6:.2f} and {max(rates) / 1e6:.2f} GHz at the ends of "
        "the blocks: it saves power, heats up, or its cores differ. Fix the clock rate or pin the processes to one "
        "core."
    )


def _governor(timed: _Timed) -> str | None:
    names = {each.system_before.governor for each in timed.processes} - {None, "performance"}
    if not names:
        return None
    return (
        f"The clock rate is chosen by the governor {' and '.join(repr(each) for each in sorted(map(str, names)))}, "
        "which may lower it between blocks: for equal conditions set the governor 'performance' (`cpupower "
        "frequency-set -g performance`)."
    )


def _unsteady(timed: _Timed) -> str | None:
    count = sum(process.steady is not True for process in timed.processes)
    if count == 0:
        return None
    return (
        f"In {count} of {len(timed.processes)} processes the warm-up ended before two blocks agreed within 2 %: allow "
        "a longer warm-up (max_warmup_seconds)."
    )


def _timer(timed: _Timed) -> str | None:
    share = max(process.timer_overhead_ns for process in timed.processes) / 1e6 / float(np.median(timed.medians))
    if share <= MAX_TIMER:
        return None
    looped = loop_ms(timed.processes)
    instead = "" if looped is None else f" In a loop without the clock one takes {looped * 1e3:.3g} µs."
    return (
        f"Reading the clock takes {share:.0%} of one inference (limit {MAX_TIMER:.0%}): the model is too short to time "
        f"run by run.{instead}"
    )


def _resolution(processes: Sequence[ProcessSummary]) -> str | None:
    step = max(process.resolution_ms for process in processes)
    share = step / float(np.median(stats.process_medians_ms(processes)))
    if share <= MAX_TIMER:
        return None
    return (
        f"The program that measured counts time in steps of {step * 1e3:g} µs, {share:.0%} of one inference (limit "
        f"{MAX_TIMER:.0%}): the model is too short for it. Intervals narrower than a step mean nothing."
    )


def _load(timed: _Timed, logical_cores: int) -> str | None:
    load = max(process.system_before.load_1min for process in timed.processes)
    if load <= logical_cores:
        return None
    return (
        f"The machine's load was {load:.1f} with {logical_cores} logical cores: other programs compete for them. "
        "Stop them and measure again."
    )


def _steal(timed: _Timed) -> str | None:
    first, last = timed.processes[0].system_before, timed.processes[-1].system_after
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


def _switches(timed: _Timed) -> str | None:
    threads = timed.processes[0].num_threads
    blocks = [block for process in timed.processes for block in process.blocks if block.end_ns is not None]
    seconds = sum((block.end_ns or 0) - block.begin_ns for block in blocks) / 1e9
    count = sum(block.involuntary_context_switches for block in blocks)
    if not seconds or count <= MAX_SWITCHES_PER_SECOND * threads * seconds:
        return None
    cores = timed.processes[0].affinity_cores
    if cores is not None and threads > len(cores):
        return (
            f"{threads} threads share {len(cores)} cores, so they take the processor from each other "
            f"({count / seconds:.0f} times a second): use at most {len(cores)} threads."
        )
    return (
        f"The processor was taken away {count / seconds:.0f} times a second (involuntary context switches, limit "
        f"{MAX_SWITCHES_PER_SECOND:.0f} for a thread): other programs run on the same cores. Stop them, use fewer "
        "threads, or pin the processes to free cores."
    )


def _outliers(timed: _Timed) -> str | None:
    runs = timed.num_runs
    count = outliers_of(timed.processes)
    if count <= runs * MAX_OUTLIERS:
        return None
    return (
        f"{count} of {runs} runs are outliers of their block (beyond Tukey's outer fences); they are kept in every "
        "number. Something interrupts this machine now and then: see p90 and p99."
    )
