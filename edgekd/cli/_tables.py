"""Tables on standard output: as wide as the terminal, and whole where there is none."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekd.errors import printable
from edgekd.records import Comparison, ExportCheck, Gate, Rounding, Sensitivity, Summary
from edgekd.report import estimates, formatting, parities, requirements, sparsity

if TYPE_CHECKING:
    from edgekd.distill.cache.catalogue import EntryRecord

_FILE_COLUMNS = 200


def print_sensitivity(record: Sensitivity) -> None:
    """Prints the layers, the most sensitive first, the files, and which of them is kept."""
    click.echo(
        f"{record.model}: accuracy {formatting.percent(record.float_accuracy)} in float32 on "
        f"{record.images:,} validation images of {record.dataset}"
    )
    headers = ("Layer", "Weights", "SQNR alone, dB", "Drop alone, points (95 %)", "SQNR all but it, dB")
    rows = []
    for unit in sorted(record.units, key=lambda each: each.sqnr_rank):
        alone, others = _rounding_cells(unit.alone), _rounding_cells(unit.others)
        rows.append((unit.name, formatting.count(unit.weights), *alone, *others, str(unit.accuracy_rank)))
    rows.append(("all of int8", "", "", "", *_rounding_cells(record.int8), ""))
    _print((*headers, "Drop all but it, points (95 %)", "Rank by accuracy"), rows)
    click.echo("")
    rows = []
    for file in record.files:
        drop, latency_ms = file.comparison.accuracy_drop, file.measurement.latency_ms
        rows.append(
            (
                file.name,
                ", ".join(file.exclude),
                formatting.size(file.size_bytes),
                formatting.milliseconds(latency_ms.p50),
                formatting.percent(file.comparison.candidate_accuracy),
                f"{formatting.points(drop.value)} ({formatting.points_interval(drop)})" if drop else "",
                "yes" if file.fits else "no",
            )
        )
    fits = f"Within {100 * record.max_accuracy_drop:g} points"
    _print(("File", "In float", "Size", "p50, ms", "Accuracy", "Drop, points (95 %)", fits), rows)
    click.echo(_verdict(record))
    if record.test is not None:
        click.echo(_on_test(record, record.test))


def _on_test(record: Sensitivity, test: Comparison) -> str:
    """Returns the line that says how far the numbers above can be trusted."""
    drop = test.accuracy_drop
    lost = f"drop {formatting.points(drop.value)} points ({formatting.points_interval(drop)})" if drop else "no drop"
    return (
        f"it was chosen on the same {record.images:,} validation images as it is judged on above, which flatters it; "
        f"on the {test.samples:,} samples of {test.dataset}, read once for this line: accuracy "
        f"{formatting.percent(test.candidate_accuracy)}, float32 {formatting.percent(test.reference_accuracy)}, {lost}"
    )


def _rounding_cells(rounding: Rounding) -> tuple[str, str]:
    drop = rounding.accuracy_drop
    ratio = "identical" if rounding.sqnr_db is None else f"{rounding.sqnr_db:.1f}"
    return ratio, f"{formatting.points(drop.value)} ({formatting.points_interval(drop)})"


def _verdict(record: Sensitivity) -> str:
    kept = next((file for file in record.files if file.name == record.kept), None)
    if kept is None:
        return (
            f"nothing fits: int8 loses more than {100 * record.max_accuracy_drop:g} points, and each mixed file that "
            "was tried does too, or is no smaller than the float32 file. Allow a larger drop, train the int8 student "
            "(quantize.aware), or export another scheme."
        )
    if kept.exclude == record.always_excluded:
        return f"kept: {kept.path}: full int8 fits, nothing more is left in float"
    return f"kept: {kept.path}, with {', '.join(kept.exclude)} in float"


def print_failed(gates: Iterable[Gate]) -> None:
    """Prints one line for each gate that failed."""
    for gate in gates:
        if not gate.passed:
            found, limit = formatting.told_apart(gate.observed, gate.limit)
            observed = "was not measured" if gate.observed is None else f"is {found}{_counted(gate)}"
            how = "gate inconclusive" if gate.inconclusive else "gate failed"
            click.echo(f"{how}: {gate.subject}: {gate.name} {observed}; it must be {gate.relation} {limit}")


def _counted(gate: Gate) -> str:
    """Returns the samples that a fraction is made of, in brackets: of few, one decides."""
    counted = requirements.counted(gate)
    return f" ({counted})" if counted else ""


def print_cache_entries(entries: "Sequence[EntryRecord]") -> None:
    """Prints each entry of the teacher cache; those that cannot be read have a name and a size only."""
    rows = []
    for entry in entries:
        about = entry.identity
        if about is None or entry.filled is None or entry.last_used is None:
            why = "not readable" if entry.other_version is None else "of another version"
            rows.append((entry.key[:12], why, *[""] * 6, formatting.size(entry.size_bytes), "", ""))
            continue
        rows.append(
            (
                entry.key[:12],
                about.output,
                "x".join(map(str, about.shape)),
                about.dtype,
                about.teacher_sha256[:8],
                about.dataset_fingerprint[:8],
                f"{about.view} of seed {about.seed}" if about.augmentation or about.mixup else "all alike",
                formatting.count(about.samples),
                formatting.size(entry.size_bytes),
                f"{100 * entry.filled:.0f} %",
                entry.last_used.astimezone().strftime("%Y-%m-%d %H:%M"),
            )
        )
    headers = ("Entry", "Output", "Row", "Stored as", "Teacher", "Dataset", "View", "Samples", "Size", "Filled")
    _print((*headers, "Last used"), rows)


def print_sparsity(summary: Summary) -> None:
    """Prints what sparsity was worth; nothing where there is none."""
    rows = sparsity.rows(summary)
    if rows:
        click.echo()
        _print(sparsity.HEADERS, rows)


def print_elsewhere(summary: Summary) -> None:
    """Prints what was reckoned, or compared in its outputs, for targets on which nothing is measured."""
    if summary.estimates:
        click.echo()
        _print(*estimates.table(summary.estimates))
        click.echo(estimates.EXPLANATION)
        for sentence in estimates.refusals(summary.estimates):
            click.echo(f"warning: {printable(sentence)}")
    if summary.parities:
        click.echo()
        _print(parities.HEADERS, parities.rows(summary.parities))
        click.echo(parities.EXPLANATION)


def print_check(check: ExportCheck) -> None:
    """Prints what of a model its targets cannot carry, and what else was seen."""
    if check.findings:
        rows = [
            (
                each.subject or "the model",
                ", ".join(each.targets) + (f" ({', '.join(each.schemes)})" if each.schemes else ""),
                each.problem,
                each.advice,
            )
            for each in check.findings
        ]
        _print(("Layer (operator)", "Target", "Problem", "Instead"), rows, numbers=False)
    for note in check.notes:
        click.echo(printable(note))
    found = len(check.findings)
    problems = "nothing stands in the way" if not found else f"{found} {'problem' if found == 1 else 'problems'}"
    click.echo(f"{printable(check.model)} for {', '.join(check.targets)}: {problems}")


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table of texts, the first column to the left and the others to the right."""
    _print(headers, rows)


def _print(headers: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_FILE_COLUMNS)
    table = Table(box=None, header_style="bold")
    for position, header in enumerate(headers):
        table.add_column(header, justify="right" if numbers and position else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
