"""What a reader should know first: whether the gates held, and the few numbers that matter most."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from edgekd.records import Gate, Interval, Measurement, ModelRecord, Summary
from edgekd.report import formatting, methods, table
from edgekd.report import merit as merits
from edgekd.report.formatting import NOT_MEASURED
from edgekd.report.merit import Merit

PROVEN = "the files match the networks they were made from, within the recipe's limits"
"""What it means that all gates hold that are about files."""

SMOKE = "The numbers of a smoke run mean nothing: it shows that every stage works"
"""What to say where a run was made short."""

_ON_FILES = frozenset(
    {"accuracy_drop", "agreement", "agreement_with_int8_student", "beyond_one_lsb"}
    | {"auc_drop", "sqnr_db"}
    | {"zeros", "distinct_values_per_channel"}
)
"""The gates that hold files to networks; others ask how good they are."""

_LIMIT = (
    "Gates hold the exported files to the networks that were trained, within the limits of the recipe. They do not say "
    "that these are good: their {} do, and the warnings about the training, if there are any."
)


@dataclasses.dataclass(frozen=True)
class Fact:
    """One number with its name and what to compare it with."""

    name: str
    value: str
    note: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether the gates held, in words."""

    state: Literal["passed", "failed", "unchecked"]
    text: str


def verdict(*summaries: Summary) -> Verdict:
    """Returns the verdict on the gates of some runs; without any gate nothing has passed."""
    gates = [gate for summary in summaries for gate in summary.gates]
    failed = sum(not gate.passed for gate in gates)
    smoke = f". {SMOKE}" if any(summary.smoke for summary in summaries) else ""
    if not gates:
        return Verdict("unchecked", f"No gate was checked{smoke}")
    if failed:
        return Verdict("failed", f"{failed} of {formatting.counted(len(gates), 'gate')} failed{smoke}")
    held = "The gate held" if len(gates) == 1 else f"All {len(gates)} gates held"
    return Verdict("passed", f"{held}{proven(gates)}{smoke}")


def proven(gates: Sequence[Gate]) -> str:
    """Returns what it means that these gates hold, to be put after their number; empty where none is about files."""
    return f": {PROVEN}" if any(gate.name in _ON_FILES for gate in gates) else ""


def limit(summary: Summary) -> str:
    """Returns what it does not mean that the gates hold; empty where some ask how good files or trainings are."""
    numbers = merits.of(summary).numbers(summary)
    return _LIMIT.format(numbers) if all(gate.name in _ON_FILES for gate in summary.gates) else ""


def facts(summary: Summary) -> tuple[Fact, ...]:
    """Returns how good and large the distilled student is beside the teacher, the smallest and the fastest file."""
    merit = merits.of(summary)
    good = _worth(summary, merit) if merit.names_classes or merit.known(summary) else _error(summary, merit)
    return (good, _network(summary), _smallest(summary), _fastest(summary))


def told_apart(summary: Summary) -> str:
    """Returns in a sentence what the AUCs of a run are of; empty where there are none."""
    records = [model.reconstruction for model in summary.models.values()]
    found = next((each for each in records if each is not None and each.auc is not None), None)
    if found is None:
        return ""
    told = f"the {found.anomalous:,} that are anomalies from the {found.normal:,} that are normal"
    if found.anomalous + found.normal == summary.data.test:
        return f"It says how well the error of a network tells {told}."
    return f"Samples that belong together are judged by their mean error; it says how well that tells {told}."


def _worth(summary: Summary, merit: Merit) -> Fact:
    student = summary.models.get(table.STUDENT_DISTILLED)
    ours = merit.of_model(student) if student else None
    notes = []
    for role, words in _beside_networks(merit):
        other = summary.models.get(role)
        theirs = merit.of_model(other) if other else None
        if student and ours is not None and theirs is not None:
            paired = _paired(summary, role, merit)
            known = _inside(student, theirs, merit) if paired is None else f" ({methods.in_words(paired)})"
            notes.append(_beside(ours - theirs, words, merit) + known)
    return Fact(f"Distilled student, {merit.name}", merit.number(ours), ", ".join(notes))


def _error(summary: Summary, merit: Merit) -> Fact:
    """Returns the mean squared error of a student that reconstructs, where nothing says how well it finds anomalies."""
    student, *others = (
        (words, summary.models[role].reconstruction if role in summary.models else None)
        for role, words in ((table.STUDENT_DISTILLED, ""), *_beside_networks(merit))
    )
    value = formatting.number(student[1].mse if student[1] else None)
    notes = [f"{words}: {formatting.number(found.mse)}" for words, found in others if found]
    return Fact("Distilled student, mean squared error", value, ", ".join(notes))


def _beside_networks(merit: Merit) -> tuple[tuple[str, str], ...]:
    """Returns the roles that the distilled student is held to, and what they are called."""
    return (table.STUDENT_LABELS, f"the student {merit.alone}"), (table.TEACHER, "the teacher")


def _paired(summary: Summary, role: str, merit: Merit) -> Interval | None:
    """Returns what the distilled student has more than another network on the same samples, or None if not known."""
    if role == table.STUDENT_LABELS and table.STUDENT_DISTILLED in summary.gains:
        return summary.gains[table.STUDENT_DISTILLED]
    for row in summary.stages:
        drop = merit.drop_of_stage(row)
        if row.name == table.STUDENT_DISTILLED and row.before == role and drop is not None:
            return drop.model_copy(update={"value": -drop.value, "low": -drop.high, "high": -drop.low})
    return None


def _beside(difference: float, words: str, merit: Merit) -> str:
    told = merit.difference(abs(difference)).removeprefix("+")
    if told == merit.difference(0.0):
        return f"equal to {words}"
    return f"{told}{merit.unit} {'above' if difference > 0 else 'below'} {words}"


def _inside(student: ModelRecord, worth: float, merit: Merit) -> str:
    """Returns a remark where a difference is no larger than the student's own uncertainty, and nothing is paired."""
    interval = merit.interval_of_model(student)
    return " (inside its interval)" if interval and interval.low <= worth <= interval.high else ""


def _network(summary: Summary) -> Fact:
    # Of a shrunk student there are fewer.
    student = summary.models.get(table.STUDENT_SPARSE, summary.models.get(table.STUDENT_DISTILLED))
    teacher = summary.models.get(table.TEACHER)
    if student is None:
        return Fact("Parameters", NOT_MEASURED, "")
    note = ""
    if teacher and student.parameters and student.macs and teacher.parameters and teacher.macs:
        parameters, macs = _few(student.parameters, teacher.parameters), _few(student.macs, teacher.macs)
        note = f"{parameters} {'than' if parameters.endswith('fewer') else 'as'} the teacher, {macs} MACs"
    return Fact("Parameters", formatting.count(student.parameters), note)


def _few(number: int, other: int) -> str:
    """Returns how a number compares with another: `15.6 times fewer`, `as many`, `1.5 times as many`."""
    if number == other:
        return "as many"
    if number < other:
        return f"{formatting.three_digits(other / number)} times fewer"
    return f"{formatting.three_digits(number / other)} times as many"


def _smallest(summary: Summary) -> Fact:
    if not summary.artifacts:
        return Fact("Smallest file", NOT_MEASURED, "")
    smallest = min(summary.artifacts, key=lambda artifact: artifact.size_bytes)
    return Fact("Smallest file", formatting.size(smallest.size_bytes), smallest.name)


def _fastest(summary: Summary) -> Fact:
    if not summary.measurements:
        return Fact("Fastest file", NOT_MEASURED, "")
    names = dict.fromkeys(measurement.artifact for measurement in summary.measurements)
    shown = [found for name in names if (found := table.latency_of(name, summary.measurements))]
    fewest = min(each.num_threads for each in shown)
    fastest, *others = sorted(
        (each for each in shown if each.num_threads == fewest), key=lambda each: each.latency_ms.p50
    )
    threads = formatting.counted(fastest.num_threads, "thread")
    value = f"{formatting.milliseconds(fastest.latency_ms.p50)} ms"
    note = f"{fastest.artifact}, {fastest.target}, {threads}"
    close = [each.artifact for each in others if _may_be_as_fast(fastest, each)]
    return Fact("Fastest file, p50", value, f"{note}; {formatting.listed(close)} may be as fast" if close else note)


def _may_be_as_fast(fastest: Measurement, other: Measurement) -> bool:
    """Says so where the intervals overlap, or where one is not known."""
    ours, theirs = fastest.latency_ms.interval, other.latency_ms.interval
    return ours is None or theirs is None or theirs.low <= ours.high
