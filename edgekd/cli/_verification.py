"""How a verification reads on a terminal."""

from collections.abc import Sequence

from edgekd.cli import _options, _tables
from edgekd.records import Comparison, OutputError, StageRow
from edgekd.report import formatting, stages
from edgekd.report import merit as merits
from edgekd.report.merit import Merit
from edgekd.verify.layers.records import LayeredVerification
from edgekd.verify.records import Pair, StageTable, Tolerance, Verdict, Verification


def print_verification(found: Verification) -> None:
    """Prints what the models were run on, how far they are apart, what was allowed and why, and each thing that failed.

    Tables hold what was measured; whether that is enough is said once, below them, and in the line of `print_outcome`.
    """
    _print_samples(found)
    if found.matrix:
        _print_matrix(found)
        _print_outputs([pair for pair in found.pairs if not pair])
    else:
        _print_pairs(found.pairs)
        _print_outputs(found.pairs)
    _print_origins(found.pairs)
    for pair in found.pairs:
        for verdict in pair.verdicts:
            if not verdict:
                _options.say(f"{verdict.status}: {_title(pair, found)}: {verdict.output}: {verdict.reason}")
        _tables.print_failed(pair.gates)


def print_outcome(found: Verification) -> None:
    """Prints the last line: how many passed, or failed."""
    what = "pair" if found.matrix else "candidate"
    line = f"{formatting.counted(len(found.pairs), what)}: {_counts([pair.status for pair in found.pairs])}"
    if isinstance(found, LayeredVerification):
        counts = [_counts([each.status for each in found.layers])] if found.layers else []
        counts += [f"{len(found.not_compared)} not compared"] if found.not_compared else []
        line += f"; operator by operator: {', '.join(counts)}"
        skipped = sum(row.passed is None for each in found.layers for row in each.rows)
        line += f" ({formatting.counted(skipped, 'operator')} not compared alone)" if skipped else ""
    _options.say(line)


def _counts(statuses: Sequence[str]) -> str:
    found = {status: statuses.count(status) for status in ("passed", "failed", "inconclusive")}
    return ", ".join(f"{count} {status}" for status, count in found.items() if count)


def print_stages(found: StageTable) -> None:
    """Prints one row for each network and file of a run."""
    merit = merits.ACCURACY if all(row.reconstruction is None for row in found.rows) else merits.AUC
    rows = [_stage_cells(row, merit) for row in found.rows]
    _options.say(f"{found.run}, on {found.samples:,} samples of {found.dataset}:")
    judged = (f"{merit.title} (95 %)", "Compared with", f"{merit.with_unit('Drop')} (95 %)")
    own = "Agreement" if merit.names_classes else "MSE"
    printed = _tables.print_rows if merit.names_classes else _print_filled  # there may be no AUCs
    printed(("Stage", "Runtime", *judged, own, "SQNR, dB"), rows)


def _stage_cells(row: StageRow, merit: Merit) -> tuple[str, ...]:
    worth, drop = merit.of_stage(row), merit.drop_of_stage(row)
    agreement = formatting.percent(row.agreement.value) if row.agreement else ""
    return (
        row.name,
        row.runtime,
        f"{merit.number(worth.value)} ({merit.interval(worth)})" if worth else "",
        row.before or "",
        f"{merit.difference(drop.value)} ({merit.difference_interval(drop)})" if drop else "",
        formatting.number(row.reconstruction.mse) if row.reconstruction else agreement,
        stages.ratio(row) or "",
    )


def _print_samples(found: Verification) -> None:
    reference = found.models[0]
    against = "every pair" if found.matrix else f"against {reference.label} ({reference.runtime})"
    _options.say(f"{against}, on {found.dataset if found.seeded else f'{found.samples:,} samples of {found.dataset}'}:")
    if found.seeded:
        _options.say(
            "made up, since no data was given: they show whether models compute the same, not how accurate they are"
        )
    for each in found.inputs:
        shape = "x".join(map(str, each.shape)) or "one number"
        values = f"{formatting.number(each.low)} to {formatting.number(each.high)}"
        _options.say(f"input {each.name}: {each.dtype} {shape}, {values} ({each.origin})")
    for model in found.models:
        if model.stateful:
            _options.say(
                f"{model.label} has a state, which was reset as --reset-every says, by default before each sample"
            )
        if model.inputs_by == "by position":
            _options.say(f"{model.label}: its inputs were paired by position, since their names differ")


def _print_pairs(pairs: Sequence[Pair]) -> None:
    rows = []
    for pair in pairs:
        comparison = pair.comparison
        drop, agreement = comparison.accuracy_drop, comparison.agreement
        rows.append(
            (
                pair.candidate,
                "" if comparison.candidate_accuracy is None else formatting.percent(comparison.candidate_accuracy),
                f"{formatting.points(drop.value)} ({formatting.points_interval(drop)})" if drop else "",
                f"{formatting.percent(agreement.value)} (≥ {formatting.percent(agreement.low)})" if agreement else "",
            )
        )
    if any(cell for row in rows for cell in row[1:]):
        _print_filled(("Model", "Accuracy", "Drop, points (95 %)", "Agreement (95 %)"), rows)


def _least_ratio(outputs: Sequence[OutputError]) -> str:
    ratios = [error.sqnr_db for error in outputs if error.sqnr_db is not None]
    return _decibels(min(ratios)) if ratios else "identical" if outputs else ""


def _print_matrix(found: Verification) -> None:
    labels = [model.label for model in found.models]
    cells = {(pair.reference, pair.candidate): _cell(pair) for pair in found.pairs}
    numbers = {label: str(number) for number, label in enumerate(labels, start=1)}
    rows = [
        (f"{numbers[label]} {label}", *(cells.get((other, label), "") for other in labels[:-1])) for label in labels
    ]
    _tables.print_rows(("Model", *(numbers[label] for label in labels[:-1])), rows)
    _options.say("SQNR in dB; ! failed, ? inconclusive")


def _cell(pair: Pair) -> str:
    mark = {"passed": "", "failed": "! ", "inconclusive": "? "}[pair.status]
    return f"{mark}{_least_ratio(pair.comparison.outputs)}"


def _print_outputs(pairs: Sequence[Pair]) -> None:
    rows = []
    several = len({pair.reference for pair in pairs}) > 1
    for pair in pairs:
        errors = _by_output(pair.comparison)
        for verdict in pair.verdicts:
            name = f"{pair.candidate} / {pair.reference}" if several else pair.candidate
            rows.append((name, *_output_row(verdict, errors.get(verdict.candidate_output))))
    headers = ("Output of", "Output", "Largest error", "LSB", "Relative L2", "Cosine", "SQNR, dB", "Allowed")
    if rows:
        _print_filled(headers, rows)


def _print_filled(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table without the columns in which nothing stands."""
    kept = [at for at in range(len(headers)) if any(row[at] for row in rows)]
    _tables.print_rows([headers[at] for at in kept], [[row[at] for at in kept] for row in rows])


def _print_origins(pairs: Sequence[Pair]) -> None:
    """Prints where each tolerance comes from, once for all outputs that share it."""
    origins: dict[str, list[str]] = {}
    for verdict in (verdict for pair in pairs for verdict in pair.verdicts):
        origins.setdefault(verdict.tolerance.origin, []).append(f"{verdict.output} of {verdict.candidate}")
    for origin, outputs in origins.items():
        _options.say(f"allowed for {', '.join(dict.fromkeys(outputs))}: {origin}")
    for pair in pairs:
        if pair.outputs_by == "by position":
            names = ", ".join(f"{each.output} = {each.candidate_output}" for each in pair.verdicts)
            _options.say(f"{pair.candidate}: its outputs were paired by position, since their names differ: {names}")


def _output_row(verdict: Verdict, error: OutputError | None) -> tuple[str, ...]:
    allowed = _allowed(verdict.tolerance)
    if error is None:
        return (verdict.output, "", "", "", "", "", allowed)
    return (
        verdict.output,
        formatting.number(error.max_abs),
        "" if error.max_lsb is None else formatting.number(error.max_lsb),
        formatting.number(error.relative_l2),
        "all zero" if error.cosine is None else f"{error.cosine:.6f}",
        "identical" if error.sqnr_db is None else _decibels(error.sqnr_db),
        allowed,
    )


def _allowed(tolerance: Tolerance) -> str:
    parts = []
    if tolerance.max_abs is not None:
        parts.append(f"≤ {formatting.number(tolerance.max_abs)}")
    if tolerance.max_lsb is not None and tolerance.max_mismatch is not None:
        parts.append(f"≤ {100 * tolerance.max_mismatch:g} % beyond {tolerance.max_lsb:g} LSB")
    elif tolerance.max_mismatch is not None:
        parts.append(f"≤ {100 * tolerance.max_mismatch:g} % differ")
    if tolerance.min_sqnr_db is not None:
        parts.append(f"≥ {tolerance.min_sqnr_db:g} dB")
    return ", ".join(parts) or ("by accuracy" if tolerance.kind == "quantised" else "")


def _by_output(comparison: Comparison) -> dict[str, OutputError]:
    return {error.output: error for error in comparison.outputs}


def _title(pair: Pair, found: Verification) -> str:
    return f"{pair.candidate} against {pair.reference}" if found.matrix else pair.candidate


def _decibels(ratio: float) -> str:
    return f"{ratio:.1f}".replace("-", "−")
