"""What makes numbers of several runs hard to compare."""

from collections.abc import Sequence

from edgekd.records import Measurement
from edgekd.report import formatting, table
from edgekd.report import merit as merits
from edgekd.report.runs import ReportedRun

_TIMES = "at different times"


def differences(runs: Sequence[ReportedRun]) -> tuple[str, ...]:
    """Returns in sentences what the runs do not share: data, seeds, and how the shown latencies were measured.

    Latencies of two runs are never comparable: each run measures its own files in turns, at a time of its own.
    """
    found = []
    if len({run.summary.data.fingerprint for run in runs}) > 1:
        summaries = [run.summary for run in runs]
        numbers = merits.of(summaries[0]).numbers(*summaries)
        found.append(f"These runs have different data: their {numbers} cannot be compared.")
    shown = [each for run in runs if (each := _shown(run))]
    together = [each for measurements in shown for each in measurements]
    ways = [*([_TIMES, *_machines(together)] if len(shown) > 1 else []), *_ways(together)]
    if ways:
        # Of what else differs, such as machines, no measuring together is a remedy.
        advice = " edgekd bench --compare measures files together." if ways == [_TIMES] else ""
        found.append(f"Latencies were measured {formatting.listed(ways)}: they cannot be compared.{advice}")
    if len({run.summary.seed for run in runs}) > 1:
        found.append("These runs have different seeds.")
    return tuple(found)


def measured_alike(run: ReportedRun) -> bool:
    """Returns whether the shown latencies of one run were all measured in one way, as a recipe has it."""
    return not _ways(_shown(run))


def _machines(shown: Sequence[Measurement]) -> list[str]:
    """Returns whether these are several, or not known to be one.

    A machine is its processor: the same one has another system after an update, and other memory as a virtual one.
    """
    machines = [each.machine for each in shown]
    if len({(each.cpu, each.architecture, each.logical_cores) for each in machines if each is not None}) > 1:
        return ["on different machines"]
    return ["on machines that are not all known"] if None in machines else []


def _ways(shown: Sequence[Measurement]) -> list[str]:
    """Returns in what else than their machines measurements differ."""
    batches = {"the file's own" if each.batch is None else f"{each.batch:,}" for each in shown}
    modes = {each.mode if each.interval_ms is None else f"{each.mode} by {each.interval_ms:g} ms" for each in shown}
    return [
        *_unlike("on different targets", {each.target for each in shown}),
        *_unlike("with different numbers of threads", {f"{each.num_threads:,}" for each in shown}),
        *_unlike("with different batches", batches),
        *_unlike("in different modes", {mode.replace("_", " ") for mode in modes}),
    ]


def _unlike(words: str, values: set[str]) -> list[str]:
    return [f"{words} ({formatting.listed(sorted(values))})"] if len(values) > 1 else []


def _shown(run: ReportedRun) -> list[Measurement]:
    found = [table.latency_of(artifact.name, run.summary.measurements) for artifact in run.summary.artifacts]
    return [each for each in found if each is not None]
