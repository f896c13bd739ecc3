"""Where a finished run's record shows that a training went wrong: what was seen, and what to do about it.

Gates hold exported files to the network that was trained, however little that one has learned. Here it is judged, by
what the record holds alone: paired intervals where there are some, and the classes that each network names.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edgekd.records import Interval, ModelRecord, Reconstruction, Summary, TrainingWarning, TrainingWarningKind
from edgekd.report import formatting, table
from edgekd.report import merit as merits
from edgekd.report.merit import Merit
from edgekd.report.runs import ReportedRun

FEW_STEPS = 300
"""A training of fewer steps than these, over all its epochs, is called short.

The guide to a few hundred images asks for several hundred: there a student had learned little in 12 steps, and much in
360. Between these nothing was tried, so that the number is a rule of thumb. It changes words of advice alone.
"""

ONE_CLASS = 0.1
"""A network names one class for nearly everything where it names others for at most this part of the samples that are
of others: with ten classes of one size, where it names one for 91 % of all samples or more."""


GUESSED = 0.5
"""The AUC of errors that tell nothing of anomalies."""


_OF_GIVEN_CLASSES = (
    "It was given: check that its classes are in the order of the data's, and that it gets what it was trained on "
    "(teacher.outputs, teacher.layout, a first layer that undoes the scaling)."
)
_OF_GIVEN_RECONSTRUCTION = (
    "It was given: check that it gets what it was trained on, and that what it gives back is scaled as the samples are "
    "(teacher.layout, a first layer that undoes the scaling)."
)


@dataclasses.dataclass(frozen=True)
class Chance:
    """How often a network is right, and how often its most frequent class alone would be.

    Attributes:
      split: `test` or `validation`.
      samples: how many it has.
      accuracy: of the network, with its interval.
      class_name: the most frequent class of the labels.
      share: the part of the samples that are of that class.
    """

    split: str
    samples: int
    accuracy: Interval
    class_name: str
    share: float


def training_warnings(run: ReportedRun) -> tuple[TrainingWarning, ...]:
    """Returns the warnings that a run's summary holds; of an earlier version's those that can be found in it."""
    noted = run.summary.training_warnings
    return found(run) if noted is None else noted


def found(
    run: ReportedRun, *, steps: Mapping[str, int] | None = None, validated: Mapping[str, Chance] | None = None
) -> tuple[TrainingWarning, ...]:
    """Returns what went wrong, network by network, and then what one network shows of another.

    - `chance`: the interval of a network's accuracy reaches the share of the most frequent class of the labels, or lies
      below it, on the test split or, where that was not read, on the validation split. Of a network that reconstructs:
      the interval of its AUC on the test split reaches GUESSED, or lies below it.
    - `one_class`: see ONE_CLASS; on the test split.
    - `weak_teacher`: a teacher's accuracy, or AUC, minus that of the student on labels, or alone, has a paired interval
      below zero. Where that is not known, as of further teachers, the intervals of the two must be apart.
    - `worse_than_labels`: the same of the distilled student. Later students are left out: what becomes sparse or
      rounded may lose accuracy, and gates say how much.

    Nothing is said of labels of a single class, nor where a run has not noted what it takes.

    Args:
      run: the run; its predictions are asked for the classes.
      steps: how many an epoch of each network's training has, where it is known.
      validated: networks on the validation split, whose labels a summary does not hold.
    """
    return tuple(_found(run, steps or {}, validated or {}))


def together(warnings: Sequence[TrainingWarning]) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Returns what was seen and what to do, those of one advice together, so that it is read once."""
    advised: dict[str, list[str]] = {}
    for warning in warnings:
        advised.setdefault(warning.advice, []).append(warning.seen)
    return tuple((tuple(seen), advice) for advice, seen in advised.items())


def _found(run: ReportedRun, steps: Mapping[str, int], validated: Mapping[str, Chance]) -> Iterator[TrainingWarning]:
    summary = run.summary
    merit = merits.of(summary)
    tested = _tested(run)
    unlearned = set()
    for role in table.roles(summary):
        seen: dict[TrainingWarningKind, str] = {
            "chance": _by_chance(tested.get(role, validated.get(role)))
            or _by_guessing(summary.models[role].reconstruction),
            "one_class": _one_class(run, role),
        }
        for kind, words in seen.items():
            if words:
                unlearned.add(role)
                advice = _advice(summary, role, steps.get(role))
                seen_of = f"{table.title(role, merit)}: {words}."
                yield TrainingWarning(kind=kind, network=role, seen=seen_of, advice=advice)
    weak = list(_weak_teachers(summary, steps, merit))
    yield from weak
    worse = _worse_than_labels(summary, merit)
    if worse:
        advice = _teaching_advice(summary, steps, begin_with_teacher=bool(weak) or table.TEACHER in unlearned)
        yield TrainingWarning(kind="worse_than_labels", network=table.STUDENT_DISTILLED, seen=worse, advice=advice)


def _tested(run: ReportedRun) -> dict[str, Chance]:
    """Returns each network beside the most frequent class of the test split, where its labels are known."""
    if run.predictions is None or not len(run.predictions.labels):
        return {}
    counts = np.bincount(run.predictions.labels)
    samples, most = int(counts.sum()), int(counts.argmax())
    name, share = run.summary.data.class_names[most], int(counts[most]) / samples
    return {
        role: Chance("test", samples, model.accuracy_interval, name, share)
        for role, model in run.summary.models.items()
        if model.accuracy_interval is not None
    }


def _by_chance(chance: Chance | None) -> str:
    """Returns what was seen where a network is no better than its most frequent class; empty where it is."""
    if chance is None or chance.share == 1 or chance.accuracy.low > chance.share:
        return ""
    return (
        f"{formatting.percent(chance.accuracy.value)} of the {chance.samples:,} {chance.split} samples are named right "
        f"[{formatting.percent_interval(chance.accuracy)}], which is not known to be better than always naming "
        f"“{chance.class_name}”: {formatting.percent(chance.share)}"
    )


def _by_guessing(found: Reconstruction | None) -> str:
    """Returns what was seen where a network's error finds anomalies no better than a guess; empty where it does."""
    if found is None or found.auc is None or found.auc.low > GUESSED:
        return ""
    return (
        f"its error tells the {found.anomalous:,} anomalies of the test split from the {found.normal:,} that are "
        f"normal with an AUC of {merits.AUC.with_interval(found.auc)}, which is not known to be better than a guess: "
        f"{merits.AUC.number(GUESSED)}"
    )


def _one_class(run: ReportedRun, role: str) -> str:
    """Returns what was seen where a network names one class for nearly everything; empty where it does not."""
    if run.predictions is None or role not in run.predictions.classes:
        return ""
    labels, named = run.predictions.labels, run.predictions.classes[role]
    if not len(labels):
        return ""
    counts = np.bincount(named)
    most = int(counts.argmax())
    of_others, as_others = int(np.sum(labels != most)), len(named) - int(counts[most])
    if len(np.unique(labels)) < 2 or as_others > ONE_CLASS * of_others:
        return ""
    name = run.summary.data.class_names[most]
    return (
        f"{int(counts[most]):,} of the {len(named):,} test samples are named “{name}”, of which "
        f"{len(labels) - of_others:,} are"
    )


def _weak_teachers(summary: Summary, steps: Mapping[str, int], merit: Merit) -> Iterator[TrainingWarning]:
    for role in table.roles(summary):
        if not _is_teacher(role):
            continue
        words = _weaker_than_labels(summary, role, merit)
        if words:
            advice = (
                f"Such a teacher has little to teach. {_advice(summary, role, steps.get(role))} Or give a stronger "
                "one: a wider network, or one that exists (teacher.model)."
            )
            yield TrainingWarning(
                kind="weak_teacher", network=role, seen=f"{table.title(role, merit)}: {words}.", advice=advice
            )


def _weaker_than_labels(summary: Summary, role: str, merit: Merit) -> str:
    ours, theirs = summary.models.get(role), summary.models.get(table.STUDENT_LABELS)
    if ours is None or theirs is None or merit.of_model(ours) is None or merit.of_model(theirs) is None:
        return ""
    words = f"{_told(summary, role, merit)}, weaker than the student {merit.alone} with "
    words += _told(summary, table.STUDENT_LABELS, merit)
    row = next((row for row in summary.stages if row.name == table.STUDENT_LABELS and row.before == role), None)
    drop = None if row is None else merit.drop_of_stage(row)
    if drop is not None:
        return f"{words}, {_difference(drop, merit)}" if drop.high < 0 else ""
    one, other = merit.interval_of_model(ours), merit.interval_of_model(theirs)
    return f"{words}: their 95 % intervals are apart" if one and other and one.high < other.low else ""


def _worse_than_labels(summary: Summary, merit: Merit) -> str:
    gain = summary.gains.get(table.STUDENT_DISTILLED)
    if gain is None or gain.high >= 0:
        return ""
    ours, theirs = (_told(summary, role, merit) for role in (table.STUDENT_DISTILLED, table.STUDENT_LABELS))
    title = table.title(table.STUDENT_DISTILLED, merit)
    return f"{title}: {ours}, worse than the same student {merit.alone} with {theirs}, {_difference(gain, merit)}."


def _told(summary: Summary, role: str, merit: Merit) -> str:
    """Returns how good a network is: `89.93 %`, or `an AUC of 0.947`."""
    model = summary.models.get(role)
    return merit.within(None if model is None else merit.of_model(model))


def _difference(interval: Interval, merit: Merit) -> str:
    difference = f"{merit.difference(interval.value)}{merit.unit} [{merit.difference_interval(interval)}]"
    return f"{difference} on the same test samples"


def _advice(summary: Summary, role: str, steps: int | None) -> str:
    """Returns what to do about a network that has learned too little."""
    model = summary.models[role]
    if _is_teacher(role):
        if model.epochs is None:
            return _OF_GIVEN_CLASSES if merits.of(summary).names_classes else _OF_GIVEN_RECONSTRUCTION
        return _longer("teacher", model, steps)
    if role in (table.STUDENT_SPARSE, table.STUDENT_QUANTIZED):
        section = "sparsify" if role == table.STUDENT_SPARSE else "quantize.aware"
        return (
            "It was made from the distilled student: begin with that one where it is warned of, too; else train it on "
            f"for longer ({section}.epochs)."
        )
    return _longer("student", model, steps)


def _teaching_advice(summary: Summary, steps: Mapping[str, int], *, begin_with_teacher: bool) -> str:
    """Returns what to do about a student that teaching has made worse: where its steps are few, more of them first."""
    role = table.STUDENT_DISTILLED
    own = "labels" if merits.of(summary).names_classes else "inputs"
    weights = (
        f"Give the teaching terms smaller weights (distill.losses) or the {own} a larger one (distill.labels_weight), "
        "or teach in another way (docs/choose-a-loss.md)."
    )
    model, of_epoch = summary.models.get(role), steps.get(role)
    training = _longer("student", model, of_epoch) if model is not None else ""
    few = model is not None and _few(model, of_epoch)
    order = (training, weights) if few else (weights, training)
    return " ".join(filter(None, ("Begin with the teacher, see above." if begin_with_teacher else "", *order)))


def _longer(section: str, model: ModelRecord, steps: int | None) -> str:
    """Returns which settings train a network better, beginning with how long it was trained."""
    few = _few(model, steps)
    told = ""
    if model.epochs is not None:
        told = f"It was trained for {formatting.counted(model.epochs, 'epoch')}"
        if steps is not None:
            told += f" of {formatting.counted(steps, 'step')}, {model.epochs * steps:,} in all"
            told += ", which is few" if few else ""
        told += ". "
    more = f"more epochs ({section}.epochs)"
    smaller = "smaller batches (data.batch_size), which make more steps" if few else "smaller batches (data.batch_size)"
    order = (smaller, more) if few else (more, smaller)
    return f"{told}Try {order[0]}, {order[1]}, or a lower learning rate ({section}.learning_rate)."


def _few(model: ModelRecord, steps: int | None) -> bool:
    return steps is not None and model.epochs is not None and model.epochs * steps < FEW_STEPS


def _is_teacher(role: str) -> bool:
    return role == table.TEACHER or role.startswith(f"{table.TEACHER}_")
