"""What a run trained, in sentences that are true of its way to teach."""

from collections.abc import Iterator

from edgekd.records import EpochRecord, Summary
from edgekd.report import formatting, table
from edgekd.report import merit as merits
from edgekd.report.merit import Merit

_BASELINE = "the baseline that distillation must beat"


def sentences(summary: Summary) -> tuple[str, ...]:
    """Returns how the networks of a run came to be; nothing of those that it does not have."""
    return (*_teachers(summary), *_student(summary), *_later_students(summary))


def headers(merit: Merit) -> tuple[str, ...]:
    """Returns the titles of the columns of what an epoch came to."""
    if merit.names_classes:
        return ("Accuracy", "Validation loss", "Validation accuracy")
    return ("Validation loss",)


def judged(row: EpochRecord, merit: Merit) -> tuple[str, ...]:
    """Returns what an epoch came to, in texts, in the order of `headers`."""
    loss = formatting.number(row.validation_loss)
    if merit.names_classes:
        return (formatting.percent(row.accuracy), loss, formatting.percent(row.validation_accuracy))
    return (loss,)


def _teachers(summary: Summary) -> Iterator[str]:
    teachers = [role for role in summary.models if role == table.TEACHER or role.startswith(f"{table.TEACHER}_")]
    trained = [role for role in teachers if summary.curves.get(role)]
    how = "trained on labels" if merits.of(summary).names_classes else "trained to reconstruct"
    for number, words in ((len(trained), how), (len(teachers) - len(trained), "given")):
        if number:
            yield f"{_the(number, 'teacher')} {'is' if number == 1 else 'are'} {words}."


def _student(summary: Summary) -> Iterator[str]:
    alone, distilled = (bool(summary.curves.get(role)) for role in (table.STUDENT_LABELS, table.STUDENT_DISTILLED))
    generations = 1 + sum(role.startswith("generation_") for role in summary.models)
    if alone and distilled:
        times = "twice" if generations == 1 else f"{1 + generations} times"
        yield f"The student is trained {times}: {_baseline(summary)}, and {_taught(summary, generations)}."
    elif alone:
        yield f"The student is trained {_baseline(summary)}."
    elif distilled:
        yield f"The student is {_taught(summary, generations)}."
    if distilled and generations > 1:
        yield "Its curves are those of the last generation."


def _taught(summary: Summary, generations: int) -> str:
    """Returns who taught the distilled student; a summary's `taught` begins with the way."""
    way = (summary.taught or "").partition(":")[0]
    if way == "born again" and generations == 1:
        return "taught by that one, from other weights"
    if way == "born again":
        return f"taught in {generations} generations, the first by that one and each further one by the one before"
    if way == "online":
        peers = sum(role.startswith("peer_") for role in summary.models)
        return f"taught by {formatting.counted(peers, 'peer')}, while it teaches {'it' if peers == 1 else 'them'}"
    if way == "self":
        return f"taught by its own {'logits' if merits.of(summary).names_classes else 'outputs'}, at early exits"
    teachers = sum(role == table.TEACHER or role.startswith(f"{table.TEACHER}_") for role in summary.models)
    return f"taught by {_the(teachers, 'teacher').lower()}" if teachers else "taught"


def _later_students(summary: Summary) -> Iterator[str]:
    source = table.STUDENT_DISTILLED
    for role, how in ((table.STUDENT_SPARSE, "as it becomes sparse"), (table.STUDENT_QUANTIZED, "with rounding")):
        if summary.curves.get(role):
            merit = merits.of(summary)
            yield f"The {_called(role, merit)} is the {_called(source, merit)}, trained on {how}."
        if role in summary.models:
            source = role


def _baseline(summary: Summary) -> str:
    merit = merits.of(summary)
    return f"{'on labels alone' if merit.names_classes else 'alone'}, {_BASELINE}"


def _called(role: str, merit: Merit) -> str:
    title = table.title(role, merit)
    return title[0].lower() + title[1:]


def _the(number: int, noun: str) -> str:
    return f"The {noun}" if number == 1 else formatting.counted(number, noun).capitalize()
