"""What makes numbers of several runs hard to compare."""

from collections.abc import Sequence

from edgekd.records import Measurement
from edgekd.report import formatting, table
from edgekd.report.runs import ReportedRun


def differences(runs: Sequence[ReportedRun]) -> tuple[str, ...]:
    """Returns in sentences what the runs do not share: data, seeds, and what the shown latencies were measured on."""
    found = []
    if len({run.summary.data.fingerprint for run in runs}) > 1:
        found.append("These runs have different data: their accuracies cannot be compared.")
    found += [f"Latencies were measured {how}: they cannot be compared." for how in _measured_differently(runs)]
    if len({run.summary.seed for run in runs}) > 1:
        found.append("These runs have different seeds.")
    return tuple(found)


def measured_alike(runs: Sequence[ReportedRun]) -> bool:
    """Returns whether all shown latencies are of one machine, one target and one number of threads."""
    return not _measured_differently(runs)


def _measured_differently(runs: Sequence[ReportedRun]) -> tuple[str, ...]:
    shown = _shown(runs)
    targets = formatting.listed(sorted({each.target for each in shown}))
    threads = formatting.listed([f"{each:,}" for each in sorted({each.num_threads for each in shown})])
    ways = (
        ("on different machines", {each.machine for each in shown}),
        (f"on different targets, {targets}", {each.target for each in shown}),
        (f"with different numbers of threads, {threads}", {each.num_threads for each in shown}),
    )
    return tuple(how for how, values in ways if len(values) > 1)


def _shown(runs: Sequence[ReportedRun]) -> list[Measurement]:
    found = [
        table.latency_of(artifact.name, run.summary.measurements) for run in runs for artifact in run.summary.artifacts
    ]
    return [each for each in found if each is not None]
