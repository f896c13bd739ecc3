"""All that one call of `edgekd bench` found, as one document."""

from collections.abc import Sequence
from typing import Literal

from edgekd.bench import comparing
from edgekd.bench.history import Trend
from edgekd.bench.roofline import Roofline
from edgekd.records import Estimate, Gate, LatencyComparison, Measurement, Parity, Profile, Record, TensorSize


class BenchReport(Record):
    """All that `edgekd bench` found.

    `comparisons` are empty without `--compare`, `gates` without `--max-ratio`, `trends` without `--history`, `tensors`
    without `--details`; `roofline` is None without `--roofline`. `broken_off` says what ended the measurement before it
    was whole: then numbers are those of whole rounds, and parts of a sweep may be missing.
    """

    schema_version: Literal[1] = 1
    measurements: tuple[Measurement, ...]
    comparisons: tuple[LatencyComparison, ...] = ()
    gates: tuple[Gate, ...] = ()
    trends: tuple[Trend, ...] = ()
    roofline: Roofline | None = None
    tensors: tuple[TensorSize, ...] = ()
    broken_off: str | None = None

    @property
    def status(self) -> Literal["passed", "failed", "inconclusive"]:
        """Failed where a gate did, else inconclusive where one is; passed where there is none."""
        if any(not gate.passed and not gate.inconclusive for gate in self.gates):
            return "failed"
        return "inconclusive" if any(gate.inconclusive for gate in self.gates) else "passed"


class ProfileReport(Record):
    """All that `edgekd bench --profile` found."""

    schema_version: Literal[1] = 1
    profiles: tuple[Profile, ...]


class EstimateReport(Record):
    """All that `edgekd bench` found for a target that is reckoned for instead of measured on."""

    schema_version: Literal[1] = 1
    estimates: tuple[Estimate, ...]


class ParityReport(Record):
    """All that `edgekd bench` found for a target whose outputs are compared with this machine's. No time is in it."""

    schema_version: Literal[1] = 1
    parities: tuple[Parity, ...]


def gates(comparisons: Sequence[LatencyComparison], max_ratio: float) -> tuple[Gate, ...]:
    """Returns one gate for each comparison: its whole interval must be within the limit, or beyond it, to be judged.

    All of them are one family, see `comparing.gate`.
    """
    found = []
    for each in comparisons:
        held = comparing.gate(each, max_ratio, family=len(comparisons))
        found.append(
            Gate(
                name="latency_ratio",
                passed=held is True,
                observed=None if each.ratio is None else each.ratio.value,
                limit=max_ratio,
                relation="<=",
                subject=_subject(each),
                inconclusive=held is None,
            )
        )
    return tuple(found)


def _subject(comparison: LatencyComparison) -> str:
    batch = "" if comparison.batch is None else f", batch {comparison.batch}"
    return f"{comparison.artifact} ({comparison.target}, threads {comparison.num_threads}{batch})"
