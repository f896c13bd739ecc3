"""What each method gives over several seeds of one recipe: means whose intervals know of chance in training."""

import collections
from collections.abc import Sequence
from typing import Literal

from edgekd.records import Interval, Record, Summary
from edgekd.report import formatting, intervals, methods, table
from edgekd.report import merit as merits
from edgekd.report.merit import Merit
from edgekd.report.runs import ReportedRun

LEAST = 3
"""Of how many seeds a mean is told: two say next to nothing of how far others may be."""

_NO_GAIN = "–"
_OLD = (
    "these count as one recipe where the name, the data, the losses and the architecture, parameters, MACs and epochs "
    "of every network are the same, whatever else differs."
)


class OverSeeds(Record):
    """One network of one experiment: the same recipe, data and given teachers, with several seeds.

    `runs` are those that the means are of, one for each of `seeds` seeds. `accuracy` is the mean over them with its
    t-interval, of networks that reconstruct `auc`; `gain` is that of the same minus what the student on labels, or
    alone, of the same seed has, None for other networks.
    """

    recipe: str
    role: str
    seeds: int
    runs: tuple[str, ...]
    accuracy: Interval | None
    auc: Interval | None = None
    gain: Interval | None


class LeftOut(Record):
    """A run that is in no mean over seeds, though a reader might think it is.

    Its `reason` is that fewer than three seeds have its settings (`other_settings`), that an earlier run of the report
    has its settings and seed (`repeated_seed`), or that it has neither accuracies nor AUCs (`not_verified`).
    """

    run: str
    reason: Literal["other_settings", "repeated_seed", "not_verified"]


_Key = tuple[object, ...]


def over_seeds(runs: Sequence[ReportedRun]) -> tuple[OverSeeds, ...]:
    """Returns the networks of each experiment that runs with LEAST different seeds or more have.

    Of runs with one seed the first counts. Networks that are the same whatever the seed, such as a teacher from a file,
    are left out.
    """
    found = []
    for experiment in _experiments(runs).values():
        for role in dict.fromkeys(role for run in experiment.values() for role in table.roles(run.summary)):
            having = [run for run in experiment.values() if _worth(run, role) is not None]
            weights = {run.summary.models[role].weights_sha256 for run in having}
            if len(having) >= LEAST and len(weights) > 1:
                found.append(_over_seeds(role, having))
    return tuple(found)


def left_out(runs: Sequence[ReportedRun]) -> tuple[LeftOut, ...]:
    """Returns the runs that are in no mean, though LEAST seeds or more have their recipe's name and data, and why."""
    experiments = _experiments(runs)
    named = collections.defaultdict(set)
    for run in runs:
        named[_name(run.summary)].add(run.summary.seed)
    found = []
    for run in runs:
        key = _key(run.summary)
        reason: Literal["other_settings", "repeated_seed", "not_verified"]
        if not _verified(run):
            reason = "not_verified"
        elif len(experiments[key]) < LEAST:
            reason = "other_settings"
        elif experiments[key][run.summary.seed] is not run:
            reason = "repeated_seed"
        else:
            continue
        if reason == "repeated_seed" or len(named[_name(run.summary)]) >= LEAST:
            found.append(LeftOut(run=run.label, reason=reason))
    return tuple(found)


def notes(runs: Sequence[ReportedRun]) -> tuple[str, ...]:
    """Returns in sentences which runs are in no mean and why, and which ones had to be told apart by little."""
    missing = left_out(runs)
    sentences = []
    for reason, why in (
        ("other_settings", f"fewer than {LEAST} seeds have the same settings and teacher"),
        ("repeated_seed", "of runs with the same settings and seed the first counts"),
        ("not_verified", f"there are no {merits.of(runs[0].summary).plural}"),
    ):
        labels = [each.run for each in missing if each.reason == reason]
        if labels:
            told = f"In no mean over seeds ({formatting.counted(len(labels), 'run')}), since {why}"
            sentences.append(f"{told}: {'; '.join(labels)}.")  # which have commas
    concerned = {each.run for each in missing} | {label for each in over_seeds(runs) for label in each.runs}
    old = [run.label for run in runs if run.label in concerned and run.summary.experiment_sha256 is None]
    if old:
        told = f"Made by a version that kept no hash of the settings ({formatting.counted(len(old), 'run')})"
        sentences.append(f"{told}: {_OLD}")
    return tuple(sentences)


def headers(merit: Merit) -> tuple[str, ...]:
    """Returns the titles of the columns."""
    gain = merit.with_unit(f"Mean gain over {merit.baseline}")
    return ("Network", "Seeds", f"Mean {merit.name}", gain, "In words")


def rows(found: Sequence[OverSeeds], merit: Merit) -> list[tuple[str, ...]]:
    """Returns one row of texts for each, in the order of `headers`."""
    several = len({each.recipe for each in found}) > 1
    return [
        (
            table.title(each.role, merit) + (f", {each.recipe}" if several else ""),
            str(each.seeds),
            merit.with_interval(mean),
            _NO_GAIN if each.gain is None else merit.difference_with_interval(each.gain),
            _NO_GAIN if each.gain is None else methods.in_words(each.gain),
        )
        for each in found
        if (mean := each.accuracy or each.auc) is not None
    ]


def _experiments(runs: Sequence[ReportedRun]) -> dict[_Key, dict[int, ReportedRun]]:
    """Returns the runs that have accuracies, or AUCs, by experiment and seed; of one seed the first."""
    found: dict[_Key, dict[int, ReportedRun]] = collections.defaultdict(dict)
    for run in runs:
        if _verified(run):
            found[_key(run.summary)].setdefault(run.summary.seed, run)
    return found


def _key(summary: Summary) -> _Key:
    """Returns what runs have in common if they differ by their seeds alone."""
    networks = sorted(summary.models.items())
    teachers = [(role, model) for role, model in networks if role == table.TEACHER or role.startswith("teacher_")]
    given = tuple((role, model.weights_sha256) for role, model in teachers if model.epochs is None)
    if summary.experiment_sha256 is not None:
        return (summary.experiment_sha256, summary.data.fingerprint, given)
    made = tuple((role, model.architecture, model.parameters, model.macs, model.epochs) for role, model in networks)
    return (*_name(summary), summary.taught, made, given)


def _name(summary: Summary) -> tuple[str, str]:
    return summary.name, summary.data.fingerprint


def _verified(run: ReportedRun) -> bool:
    return any(_worth(run, role) is not None for role in run.summary.models)


def _over_seeds(role: str, runs: Sequence[ReportedRun]) -> OverSeeds:
    found = [_worth(run, role) for run in runs]
    baselines = [_worth(run, table.STUDENT_LABELS) for run in runs]
    gains = [
        worth - baseline
        for worth, baseline in zip(found, baselines, strict=True)
        if worth is not None and baseline is not None
    ]
    told = role.startswith("student") and role != table.STUDENT_LABELS and len(gains) == len(runs)
    mean = intervals.mean_interval([worth for worth in found if worth is not None])
    classes = merits.of(runs[0].summary).names_classes
    return OverSeeds(
        recipe=runs[0].summary.name,
        role=role,
        seeds=len(runs),
        runs=tuple(run.label for run in runs),
        accuracy=mean if classes else None,
        auc=None if classes else mean,
        gain=intervals.mean_interval(gains) if told else None,
    )


def _worth(run: ReportedRun, role: str) -> float | None:
    model = run.summary.models.get(role)
    return None if model is None else merits.of(run.summary).of_model(model)
