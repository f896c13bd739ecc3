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
