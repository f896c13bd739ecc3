"""What Google's `benchmark_model` takes and prints: a pure reader of its text.

References:
  google-ai-edge/LiteRT, tflite/tools/benchmark: benchmark_model.cc (`Run`, `OnBenchmarkEnd`), benchmark_tflite_model.cc
  (`Init`), and tsl/util/stats_calculator.h (`StatWithPercentiles`).
"""

import dataclasses
import re

from edgekd.bench.plan import Plan
from edgekd.errors import ModelError, TargetError, said_in

RESOLUTION_MS = 1e-3  # its clock is NowMicros

_BYTES_PER_MB = 1 << 20
_NUMBER = r"[0-9.e+]+"
_SEVERITY = re.compile(r"^(?:INFO|WARN|WARNING|ERROR|FATAL|VERBOSE): ")
# One for the warm-up and one for the runs after it. Where all took equally long there is only their time.
_STATISTICS = re.compile(
    rf"^count=(?P<count>\d+)(?: first=\d+)? curr=(?P<last>\d+)(?:\(all same\))?"
    rf"(?: min=(?P<min>\d+) max=(?P<max>\d+) avg=(?P<avg>{_NUMBER}) std={_NUMBER})?"
    r"(?P<percentiles> p5=(?P<p5>\d+) median=(?P<median>\d+) p95=(?P<p95>\d+))?\s*$"
)
_TIMINGS = re.compile(
    rf"^Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}\s*$"
)
_PEAK = re.compile(rf"^Overall peak memory footprint \(MB\) via periodic monitoring: (?P<peak>{_NUMBER})\s*$")
_APPLIED = re.compile(r"^Explicitly applied (?P<name>\w+) delegate")
_NOT_APPLIED = re.compile(r"^Though (?P<name>\w+) delegate is explicitly applied, the model graph will not be executed")
_BY_DEFAULT = "Created TensorFlow Lite XNNPACK delegate for CPU"
_UNKNOWN = re.compile(r"^Unconsumed cmdline flags:\s*(?P<flags>.+)$")
_LAST_WORDS = "Benchmarking failed."


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the program said of one of its runs; times in milliseconds, as it rounds them.

    Attributes:
      num_runs: inferences after the warm-up.
      warmup_runs: inferences before.
      median_ms: the upper one of two middle times, as are the percentiles: it does not interpolate.
      mean_ms: of all.
      minimum_ms: the shortest.
      maximum_ms: the longest.
      p5_ms: 5th percentile.
      p95_ms: 95th percentile.
      first_inference_ms: the first of the warm-up.
      ready_ms: loading the model, building the interpreter, applying delegates, allocating tensors.
      peak_memory_bytes: by its monitor; None where that was not asked for.
      delegate: that was applied, as asked for or by the program's own choice.
    """

    num_runs: int
    warmup_runs: int
    median_ms: float
    mean_ms: float
    minimum_ms: float
    maximum_ms: float
    p5_ms: float
    p95_ms: float
    first_inference_ms: float
    ready_ms: float
    peak_memory_bytes: int | None
    delegate: str | None


def options(plan: Plan, *, graph: str, peak_memory: bool) -> list[str]:
    """Returns the program's options for a plan.

    Args:
      plan: how to measure.
      graph: the model's path there.
      peak_memory: whether a thread of the program watches its memory, which may disturb the inferences.
    """
    found = [
        f"--graph={graph}",
        f"--num_threads={plan.num_threads}",
        f"--num_runs={plan.min_runs}",
        f"--min_secs={plan.min_block_ms / 1e3:g}",
        "--warmup_runs=1",
        f"--warmup_min_secs={plan.min_warmup_seconds:g}",
        # Otherwise it would stop by itself after 150 s, with fewer runs than were asked for.
        f"--max_secs={plan.timeout_seconds:g}",
    ]
    if plan.delegate is not None:
        found.append(f"--use_xnnpack={'true' if plan.delegate == 'xnnpack' else 'false'}")
    if peak_memory:
        found.append("--report_peak_memory_footprint=true")
    return found


def read(output: str, *, subject: str) -> Findings:
    """Returns what the program says.

    Args:
      output: all that it printed.
      subject: the model and where it ran, for messages.

    Raises:
      TargetError: it is not the output of such a program, or of one that is too old to print medians or does not know
        an option.
      ModelError: the delegate that was asked for takes no operator, or an inference is too short for its clock.
    """
    lines = [_SEVERITY.sub("", line.strip()) for line in output.splitlines()]
    unknown = _matched(_UNKNOWN, lines)
    if unknown:
        raise TargetError(
            f"measuring {subject}: this benchmark_model does not know {unknown[0]['flags'].strip()}, and would measure "
            "something else: leave that setting out, or take another build."
        )
    refused = _matched(_NOT_APPLIED, lines)
    if refused:
        raise ModelError(
            f"the delegate {refused[0]['name']} takes no operator of {subject}: leave out --delegate, or choose none."
        )
    statistics, timings = _matched(_STATISTICS, lines), _matched(_TIMINGS, lines)
    if len(statistics) != 2 or len(timings) != 1:
        raise TargetError(
            f"measuring {subject}: the program's output is not understood (lines of statistics: {len(statistics)}, "
            f"expected 2; lines of timings: {len(timings)}, expected 1{_ending(lines)}). Expected that of Google's "
            "benchmark_model."
        )
    warmup, runs = statistics
    if runs["percentiles"] is None:
        raise TargetError(
            f"measuring {subject}: this benchmark_model prints no median ({runs[0].strip()}), as those of TensorFlow "
            "2.15 do: take a newer one."
        )
    times = {name: float(runs[name] or runs["last"]) / 1e3 for name in ("avg", "min", "max", "p5", "median", "p95")}
    if not times["median"] > 0:
        raise ModelError(
            f"an inference of {subject} takes less than 1 µs, and benchmark_model counts whole microseconds: it cannot "
            "be measured so."
        )
    peaks = _matched(_PEAK, lines)
    applied = [each["name"] for each in _matched(_APPLIED, lines)]
    if any(line.startswith(_BY_DEFAULT) for line in lines):
        applied.append("XNNPACK")
    return Findings(
        num_runs=int(runs["count"]),
        warmup_runs=int(warmup["count"]),
        median_ms=times["median"],
        mean_ms=times["avg"],
        minimum_ms=times["min"],
        maximum_ms=times["max"],
        p5_ms=times["p5"],
        p95_ms=times["p95"],
        first_inference_ms=float(timings[0]["first"]) / 1e3,
        ready_ms=float(timings[0]["init"]) / 1e3,
        peak_memory_bytes=round(float(peaks[-1]["peak"]) * _BYTES_PER_MB) if peaks else None,
        delegate=applied[0] if applied else None,
    )


def failure(output: str) -> str:
    """Returns why the program gave up, as ` (its words)`: its last error, or else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "FATAL"))]
    told = [each for each in errors if _LAST_WORDS not in each] or [each for each in lines if _LAST_WORDS not in each]
    return said_in(_SEVERITY.sub("", told[-1])) if told else ""


def _matched(pattern: re.Pattern[str], lines: list[str]) -> list[re.Match[str]]:
    return [found for found in map(pattern.match, lines) if found is not None]


def _ending(lines: list[str]) -> str:
    last = next((line for line in reversed(lines) if line), None)
    return "; it printed nothing" if last is None else f"; its last line is {last[:200]!r}"
