"""The table of every measurement, one row per file, target and number of threads."""

from edgekd.records import Measurement
from edgekd.report import formatting
from edgekd.report.formatting import NOT_MEASURED

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
        formatting.milliseconds_interval(latency.interval) if latency.interval else NOT_MEASURED,
        formatting.milliseconds(latency.p90),
        formatting.milliseconds(latency.p95),
        formatting.milliseconds(latency.p99),
        formatting.milliseconds(latency.minimum),
        formatting.milliseconds(measurement.first_inference_ms),
        formatting.milliseconds(measurement.load_ms),
        formatting.size(measurement.peak_memory_bytes),
        formatting.count(measurement.num_runs),
        formatting.count(measurement.processes),
        measurement.runtime,
    )
