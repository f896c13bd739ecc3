"""Measurements in the formats of other tools."""

import csv
import datetime
import functools
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.bench import stats
from edgekd.bench.samples import Process, RawSamples, sampled
from edgekd.records import LatencyComparison, Measurement

MS_PER_SECOND = 1e3
NS_PER_MS = 1e6
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

CSV_COLUMNS = (
    "artifact",
    "target",
    "runtime",
    "num_threads",
    "batch",
    "mode",
    "interval_ms",
    "processes",
    "num_runs",
    "ended",
    "p50_ms",
    "p50_low_ms",
    "p50_high_ms",
    "p90_ms",
    "p95_ms",
    "p99_ms",
    "minimum_ms",
    "mean_ms",
    "scaled_mad_ms",
    "first_inference_ms",
    "load_ms",
    "import_ms",
    "allocate_ms",
    "peak_memory_bytes",
    "size_bytes",
    "macs",
    "run_macs",
    "gmacs_per_second",
    "operators",
    "delegated_operators",
    "delegate_partitions",
    "outliers",
    "unsteady_processes",
    "loop_ms",
    "governor",
    "late_runs",
    "throttled",
    "sha256",
    "baseline",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
    "warnings",
    "cpu",
    "architecture",
    "logical_cores",
    "memory_bytes",
    "system",
)


def to_csv(measurements: Sequence[Measurement], comparisons: Sequence[LatencyComparison] = ()) -> str:
    """Returns one row per measurement with a header, CSV_COLUMNS; what was not measured is empty (RFC 4180).

    A text that a spreadsheet would take for a formula, such as the name of a file `=1+1.tflite`, has an apostrophe
    before it.

    References:
      OWASP, CSV Injection.
    """
    verdicts = {(each.artifact, each.target, each.num_threads, each.batch): each for each in comparisons}
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS)
    writer.writeheader()
    for measurement in measurements:
        key = (measurement.artifact, measurement.target, measurement.num_threads, measurement.batch)
        writer.writerow(_csv_row(measurement, verdicts.get(key)))
    return text.getvalue()


def _csv_row(measurement: Measurement, comparison: LatencyComparison | None) -> dict[str, Any]:
    latency = measurement.latency_ms
    interval = latency.interval
    row: dict[str, Any] = {name: getattr(measurement, name) for name in CSV_COLUMNS if name in Measurement.model_fields}
    row |= {
        "p50_ms": latency.p50,
        "p90_ms": latency.p90,
        "p95_ms": latency.p95,
        "p99_ms": latency.p99,
        "minimum_ms": latency.minimum,
        "mean_ms": latency.mean,
        "scaled_mad_ms": latency.scaled_mad,
        "warnings": " ".join(measurement.warnings),
    }
    if interval is not None:
        row |= {"p50_low_ms": interval.low, "p50_high_ms": interval.high}
    if comparison is not None:
        row |= {"baseline": comparison.baseline, "verdict": comparison.verdict}
        if comparison.ratio is not None:
            ratio = comparison.ratio
            row |= {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
    if measurement.machine is not None:
        row |= measurement.machine.model_dump()
    return {key: _no_formula(value) for key, value in row.items()}


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def to_google_benchmark(measurements: Sequence[Measurement], samples: Sequence[RawSamples], *, version: str) -> str:
    """Returns google-benchmark's JSON: each process is a repetition, with mean, median and standard deviation of them.

    `real_time` is a process' median inference and `cpu_time` the processor time of all its threads for one, both in
    nanoseconds, since readers of the format print whole numbers; there is no `cpu_time` where the target does not tell.
    `host_name` is the target.

    Args:
      measurements: what was measured.
      samples: their raw samples, in the same order.
      version: of edgekd.

    References:
      google/benchmark, docs/user_guide.md, section "Output formats" (JSON).
    """
    benchmarks: list[dict[str, Any]] = []
    for family, (measurement, raw) in enumerate(zip(measurements, samples, strict=True)):
        name = _name(measurement)
        common = {
            "family_index": family,
            "per_family_instance_index": 0,
            "run_name": name,
            "repetitions": len(raw.processes),
            "threads": measurement.num_threads,
            "time_unit": "ns",
        }
        times_ns = {"real_time": stats.process_medians_ms(raw.processes) * NS_PER_MS}
        told = [ns for process in raw.processes if (ns := _cpu_ns(process)) is not None]
        if len(told) == len(raw.processes):
            times_ns["cpu_time"] = np.array(told)
        for index, process in enumerate(raw.processes):
            times = {"iterations": process.num_runs, **{key: float(values[index]) for key, values in times_ns.items()}}
            benchmarks.append({"name": name, **common, "run_type": "iteration", "repetition_index": index, **times})
        aggregates: dict[str, Callable[[npt.NDArray[np.float64]], np.floating]] = {
            "mean": np.mean,
            "median": np.median,
            "stddev": functools.partial(np.std, ddof=1),
        }
        for aggregate, function in aggregates.items() if len(raw.processes) > 1 else ():
            benchmarks.append(
                {
                    "name": f"{name}_{aggregate}",
                    **common,
                    "run_type": "aggregate",
                    "aggregate_name": aggregate,
                    "aggregate_unit": "time",
                    "iterations": len(raw.processes),
                    **{key: float(function(values)) for key, values in times_ns.items()},
                }
            )
    machine = samples[0].processes[0].machine
    context: dict[str, Any] = {
        "date": _now().isoformat(timespec="seconds"),
        "host_name": measurements[0].target,
        "cpu": machine.cpu,
        "executable": f"edgekd bench {version}",
        "num_cpus": machine.logical_cores,
        "load_avg": [each.system_before.load_1min for each in sampled(samples[0].processes)[:1]],
        "library_build_type": "release",
    }
    governor = measurements[0].governor
    if governor is not None:  # else the format's own library leaves it out too
        context["cpu_scaling_enabled"] = governor != "performance"
    return json.dumps({"context": context, "benchmarks": benchmarks}, indent=2) + "\n"


def to_pytest_benchmark(measurements: Sequence[Measurement], samples: Sequence[RawSamples], *, version: str) -> str:
    """Returns pytest-benchmark's JSON, for `pytest-benchmark compare`: a round is a process' median, in seconds.

    Args:
      measurements: what was measured.
      samples: their raw samples, in the same order.
      version: of edgekd.

    References:
      pytest-benchmark, `stats.py` and `storage/file.py`: the fields of a saved run.
    """
    benchmarks = []
    for measurement, raw in zip(measurements, samples, strict=True):
        seconds = stats.process_medians_ms(raw.processes) / MS_PER_SECOND
        benchmarks.append(
            {
                "group": f"{measurement.target}, {measurement.num_threads} threads",
                "name": _name(measurement),
                "fullname": _name(measurement),
                "params": None,
                "param": None,
                "extra_info": measurement.model_dump(mode="json"),
                "options": {
                    "timer": "perf_counter_ns" if sampled(raw.processes) else raw.processes[0].runtime,
                    "warmup": True,
                },
                "stats": _seconds_stats(seconds),
            }
        )
    document = {
        "machine_info": samples[0].processes[0].machine.model_dump(mode="json"),
        "commit_info": {},
        "benchmarks": benchmarks,
        "datetime": _now().isoformat(),
        "version": version,
    }
    return json.dumps(document, indent=2) + "\n"


def _seconds_stats(seconds: Any) -> dict[str, Any]:
    q1, median, q3 = (float(each) for each in np.percentile(seconds, [25, 50, 75]))
    iqr, mean = q3 - q1, float(seconds.mean())
    deviation = float(seconds.std(ddof=1)) if len(seconds) > 1 else 0.0
    low, high = q1 - 1.5 * iqr, q3 + 1.5 * iqr
    beyond = int(np.sum((seconds < low) | (seconds > high)))
    deviant = int(np.sum(np.abs(seconds - mean) > deviation))
    return {
        "min": float(seconds.min()),
        "max": float(seconds.max()),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(seconds),
        "median": median,
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": beyond,
        "stddev_outliers": deviant,
        "outliers": f"{deviant};{beyond}",
        "ld15iqr": float(seconds[seconds >= low].min()),
        "hd15iqr": float(seconds[seconds <= high].max()),
        "ops": 1 / mean,
        "total": float(seconds.sum()),
        "data": [float(each) for each in seconds],
        "iterations": 1,
    }


def _cpu_ns(process: Process) -> float | None:
    told = [
        (block.cpu_ns, len(block.samples_ns) + block.untimed_runs)
        for each in sampled([process])
        for block in each.blocks
        if block.cpu_ns is not None
    ]
    runs = sum(count for _, count in told)
    return sum(nanoseconds for nanoseconds, _ in told) / runs if runs else None


def _name(measurement: Measurement) -> str:
    parts = [measurement.artifact, measurement.target, f"threads:{measurement.num_threads}"]
    if measurement.batch is not None:
        parts.append(f"batch:{measurement.batch}")
    return "/".join(parts)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
