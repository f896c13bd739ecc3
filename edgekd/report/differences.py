"""What makes numbers of several runs hard to compare."""

from collections.abc import Sequence

from edgekd.report import formatting, table
from edgekd.report.runs import ReportedRun


def differences(runs: Sequence[ReportedRun]) -> tuple[str, ...]:
    """Returns in sentences what the runs do not share: data, seeds, and what the shown latencies were measured on."""
    found = []
    if len({run.summary.data.fingerprint for run in runs}) > 1:
        found.append("These runs have different data: their accuracies cannot be compared.")
    shown = [
        measurement
        for run in runs
        for artifact in run.summary.artifacts
        if (measurement := table.latency_of(artifact.name, run.summary.measurements)) is not None
    ]
    targets = formatting.listed(sorted({each.target for each in shown}))
    threads = formatting.listed(sorted({str(each.num_threads) for each in shown}))
    for what, values in (
        ("on different machines", {each.machine for each in shown}),
        (f"on different targets, {targets}", {each.target for each in shown}),
        (f"with different numbers of threads, {threads}", {each.num_threads for each in shown}),
    ):
        if len(values) > 1:
            found.append(f"Latencies were measured {what}: they cannot be compared.")
    if len({run.summary.seed for run in runs}) > 1:
        found.append("These runs have different seeds.")
    return tuple(found)
