"""What each method gives over several seeds of one recipe: means whose intervals know of chance in training."""

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from edgekd.records import Interval
from edgekd.report import formatting, methods, table
from edgekd.report.runs import ReportedRun

HEADERS = ("Network", "Seeds", "Mean accuracy", "Mean gain over labels alone, points", "In words")
LEAST = 3
"""Of how many seeds a mean is told: two say next to nothing of how far others may be."""

_NO_GAIN = "–"


@dataclasses.dataclass(frozen=True)
class OverSeeds:
    """One network of one recipe.

    Attributes:
      recipe: its name.
      role: of the network.
      seeds: how many.
      accuracy: mean over the seeds, with its interval.
      gain: mean of the accuracy minus that of the student on labels of the same seed; None for other networks.
    """

    recipe: str
    role: str
    seeds: int
    accuracy: Interval
    gain: Interval | None


def over_seeds(runs: Sequence[ReportedRun]) -> tuple[OverSeeds, ...]:
    """Returns the networks of one recipe, data and architecture that runs with LEAST different seeds or more have.

    Of runs with one seed the first counts. Networks that are the same whatever the seed, such as a teacher from a file,
    are left out.
    """
    groups: dict[tuple[str, ...], dict[int, ReportedRun]] = collections.defaultdict(dict)
    for run in runs:
        for role in table.roles(run.summary):
            if run.summary.models[role].accuracy is not None:
                summary = run.summary
                architecture = summary.models[role].architecture
                key = (summary.name, summary.data.fingerprint, summary.taught or "", role, architecture)
                groups[key].setdefault(summary.seed, run)
    return tuple(
        _over_seeds(key[0], key[3], list(found.values()))
        for key, found in groups.items()
        if len(found) >= LEAST and len({run.summary.models[key[3]].weights_sha256 for run in found.values()}) > 1
    )


def rows(found: Sequence[OverSeeds]) -> list[tuple[str, ...]]:
    """Returns one row of texts for each, in the order of HEADERS."""
    several = len({each.recipe for each in found}) > 1
    return [
        (
            table.title(each.role) + (f", {each.recipe}" if several else ""),
            str(each.seeds),
            f"{formatting.percent(each.accuracy.value)} [{formatting.percent_interval(each.accuracy)}]",
            _NO_GAIN
            if each.gain is None
            else f"{formatting.points(each.gain.value)} [{formatting.points_interval(each.gain)}]",
            _NO_GAIN if each.gain is None else methods.in_words(each.gain),
        )
        for each in found
    ]


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """Returns the mean of some values with Student's t-interval.

    Args:
      values: two or more.
      confidence: between 0 and 1.
    """
    import scipy.stats

    count = len(values)
    mean = float(np.mean(values))
    half = float(scipy.stats.t.ppf(0.5 + confidence / 2, count - 1) * np.std(values, ddof=1)) / math.sqrt(count)
    return Interval(value=mean, low=mean - half, high=mean + half, confidence=confidence)


def _over_seeds(recipe: str, role: str, runs: Sequence[ReportedRun]) -> OverSeeds:
    accuracies = [_accuracy(run, role) for run in runs]
    baselines = [_accuracy(run, table.STUDENT_LABELS) for run in runs]
    gains = [
        accuracy - baseline
        for accuracy, baseline in zip(accuracies, baselines, strict=True)
        if accuracy is not None and baseline is not None
    ]
    told = role.startswith("student") and role != table.STUDENT_LABELS and len(gains) == len(runs)
    return OverSeeds(
        recipe=recipe,
        role=role,
        seeds=len(runs),
        accuracy=mean_interval([accuracy for accuracy in accuracies if accuracy is not None]),
        gain=mean_interval(gains) if told else None,
    )


def _accuracy(run: ReportedRun, role: str) -> float | None:
    model = run.summary.models.get(role)
    return None if model is None else model.accuracy
