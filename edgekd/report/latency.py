"""The table of every measurement, one row per file, target and number of threads."""

import itertools

from edgekd.records import Measurement
from edgekd.report import formatting

HEADERS = (
    "File",
    "Target",
    "Threads",
    "p50, ms",
    "Interval of p50, ms",
    "p90, ms",
    "p95, ms",
    "p99, ms",
    "Least, ms",
    "First, ms",
    "Load, ms",
    "Peak memory",
    "Runs",
    "Processes",
    "Runtime",
)
_BELOW = {"File": ("Target", "Runtime"), "p50, ms": ("Interval of p50, ms",), "Runs": ("Processes",)}
COLUMNS = tuple(
    (header, _BELOW.get(header, ()))
    for header in HEADERS
    if header not in itertools.chain.from_iterable(_BELOW.values())
)
"""The headers of a narrower table, each with those of what stands below its text in small print."""


def notes(measurement: Measurement) -> tuple[str, ...]:
    """Returns sentences on how it was measured where that is out of the ordinary, and what it found besides latency."""
    found = []
    if measurement.mode == "periodic":
        found.append(f"Periodic: a run started every {measurement.interval_ms:g} ms.")
    cores = measurement.settings.get("cores")
    if isinstance(cores, tuple):
        found.append(f"Pinned to {'cores' if len(cores) > 1 else 'core'} {', '.join(map(str, cores))}.")
    if measurement.late_runs:
        found.append(
            f"{measurement.late_runs:,} of {measurement.num_runs:,} runs could not start in time: one takes longer "
            f"than {measurement.interval_ms:g} ms now and then."
        )
    if measurement.mode == "sustained":
        medians = ", ".join(formatting.milliseconds(each) for each in measurement.minute_medians_ms)
        verdict = {True: "it slowed down (throttling)", False: "it did not slow down", None: "too short to tell"}
        found.append(f"Medians of the minutes, ms: {medians}; {verdict[measurement.throttled]}.")
    return tuple(found)


def cells(measurement: Measurement) -> tuple[str, ...]:
    """Returns a measurement's texts in the order of HEADERS."""
    latency = measurement.latency_ms
    return (
        measurement.artifact,
        measurement.target,
        str(measurement.num_threads),
        formatting.milliseconds(latency.p50),
        formatting.milliseconds_interval(latency.interval) if latency.interval else formatting.TOO_FEW_PROCESSES,
        formatting.milliseconds(latency.p90),
        formatting.milliseconds(latency.p95),
        formatting.percentile_99(latency),
        formatting.milliseconds(latency.minimum),
        formatting.milliseconds(measurement.first_inference_ms),
        formatting.milliseconds(measurement.load_ms),
        formatting.size(measurement.peak_memory_bytes),
        formatting.count(measurement.num_runs),
        formatting.count(measurement.processes),
        measurement.runtime,
    )


def columns(measurement: Measurement) -> tuple[tuple[str, str], ...]:
    """Returns a measurement's texts in the order of COLUMNS, each with what stands below it in small print."""
    texts = dict(zip(HEADERS, cells(measurement), strict=True))
    return tuple((texts[header], ", ".join(texts[each] for each in below)) for header, below in COLUMNS)
