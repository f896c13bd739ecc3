"""The report as GitHub-flavoured Markdown, for a repository, a pull request or a terminal."""

from collections.abc import Sequence

from edgekd.records import Summary
from edgekd.report import (
    anatomy,
    caveats,
    confusion,
    disagreements,
    estimates,
    exactness,
    formatting,
    headline,
    latency,
    layers,
    methods,
    parities,
    profiles,
    provenance,
    requirements,
    seeds,
    soundness,
    sparsity,
    stages,
    table,
    tensors,
    tradeoff,
    training,
)
from edgekd.report import merit as merits
from edgekd.report.differences import differences
from edgekd.report.markdown_table import of_markdown, text
from edgekd.report.markdown_table import table as table_of
from edgekd.report.runs import ReportedRun
from edgekd.report.terms import terms

_TENSORS = 5  # of each file


def render(runs: Sequence[ReportedRun]) -> str:
    """Returns the report of one run, or of several side by side; the same runs give the same text."""
    found = methods.methods(runs)
    if len(runs) == 1:
        sections = [_head(runs[0]), _results(runs[0].summary), _fronts(runs), _methods(found), *_details(runs[0])]
    else:
        sections = [_together(runs), _fronts(runs), _methods(found), _seeds(runs)]
        for run in runs:
            sections += [_head(run), *_details(run)]
    return "\n\n".join(section for section in (*sections, _terms(runs)) if section) + "\n"


def _details(run: ReportedRun) -> list[str]:
    summary = run.summary
    return [
        _sparsity(summary),
        _gates(summary),
        _training(summary),
        _predictions(run),
        _stages(summary),
        _latency(summary),
        _profiles(summary),
        _estimates(summary),
        _parities(summary),
        _exactness(summary),
        _layers(summary),
        _anatomy(summary),
        _seconds(summary),
        _files(summary),
        _provenance(summary),
    ]


def _head(run: ReportedRun) -> str:
    summary = run.summary
    facts = [
        f"- {fact.name}: **{text(fact.value)}**" + (f" ({text(fact.note)})" if fact.note else "")
        for fact in headline.facts(summary)
    ]
    parts = [f"# {text(run.label)}", f"**{headline.verdict(summary).text}.**", _warnings(run), "\n".join(facts)]
    return "\n\n".join(filter(None, parts))


def _warnings(run: ReportedRun) -> str:
    """Says where a training went wrong, and what to do; empty where nothing shows it."""
    found = soundness.training_warnings(run)
    lines = [f"- {text(' '.join(seen))} *{text(advice)}*" for seen, advice in soundness.together(found)]
    counted = formatting.counted(len(found), "warning")
    return f"**{counted} about the training:**\n\n" + "\n".join(lines) if found else ""


def _together(runs: Sequence[ReportedRun]) -> str:
    summaries = [run.summary for run in runs]
    verdict = headline.verdict(*summaries)
    titles = table.headers(*summaries)
    body = [(run.label, *table.cells(row, titles)) for run in runs for row in table.rows(run.summary)]
    results = f"## Results\n\n{table_of(('Run', *titles), body)}\n\n{table.legend(*summaries)}"
    notes = "\n".join(f"- {text(note)}" for note in differences(runs))
    return "\n\n".join(filter(None, [f"# {len(runs)} runs side by side", f"**{verdict.text}.**", notes, results]))


def _fronts(runs: Sequence[ReportedRun]) -> str:
    """Names the files that no other one that they can be held to beats in how good it is and a cost."""
    merit = merits.of(runs[0].summary)
    lines = [
        f"- {cost.title(merit)}{text(f', {each.name}') if each.name else ''}: "
        f"{text(tradeoff.in_words(runs, each.points))}"
        for cost in tradeoff.COSTS
        for each in tradeoff.fronts(runs, cost)
    ]
    return (
        f"No {tradeoff.others(runs)} is better in both, {tradeoff.BY_ESTIMATES}:\n\n" + "\n".join(lines)
        if lines
        else ""
    )


def _methods(found: Sequence[methods.Method]) -> str:
    if not found:
        return ""
    merit = found[0].merit
    return f"## {merit.title} by method\n\n{table_of(methods.headers(merit), methods.rows(found))}"


def _seeds(runs: Sequence[ReportedRun]) -> str:
    merit = merits.of(runs[0].summary)
    found = seeds.rows(seeds.over_seeds(runs), merit)
    notes = "\n".join(f"- {text(note)}" for note in seeds.notes(runs))
    parts = ["### Over seeds", table_of(seeds.headers(merit), found) if found else "", notes]
    return "\n\n".join(filter(None, parts)) if found or notes else ""


def _predictions(run: ReportedRun) -> str:
    if not merits.of(run.summary).names_classes:
        return ""
    headers, rows = confusion.table_of(run)
    counts = disagreements.counts(run)
    parts = ["## Predictions"]
    if run.predictions is None:
        parts.append(text(run.no_predictions))
    if rows:
        parts.append(f"The most frequent confusions, in test samples:\n\n{table_of(headers, rows)}")
    if counts:
        parts.append(text(f"{counts}."))
    return "\n\n".join(parts)


def _stages(summary: Summary) -> str:
    found = stages.rows(summary)
    title = f"{merits.of(summary).tested(summary)} stage by stage"
    return f"## {title}\n\n{table_of(stages.headers(summary), found)}" if found else ""


def _layers(summary: Summary) -> str:
    found, notes = layers.rows(summary), layers.notes(summary)
    if not summary.layers:
        return ""
    parts = [table_of(layers.HEADERS, found)] if found else []
    parts += [text(note) for note in notes]
    return "## Error layer by layer\n\n" + "\n\n".join(parts)


def _results(summary: Summary) -> str:
    titles = table.headers(summary)
    body = [table.cells(row, titles) for row in table.rows(summary)]
    return f"## Results\n\n{table_of(titles, body)}\n\n{table.legend(summary)}"


def _sparsity(summary: Summary) -> str:
    found = sparsity.rows(summary)
    return f"## Sparsity\n\n{table_of(sparsity.HEADERS, found)}" if found else ""


def _gates(summary: Summary) -> str:
    if not summary.gates:
        return ""
    body = [
        (
            "held" if gate.passed else "**failed**",
            text(gate.subject),
            text(f"{requirements.title(gate)} ({gate.name})"),
            " ".join(filter(None, [requirements.observed(gate), _in_brackets(requirements.counted(gate))])),
            requirements.limit(gate),
        )
        for gate in summary.gates
    ]
    found = of_markdown(("Result", "Subject", "Gate", "Observed", "Limit"), body)
    return "\n\n".join(filter(None, ["## Gates", found, headline.limit(summary)]))


def _in_brackets(words: str) -> str:
    return f"({words})" if words else ""


def _training(summary: Summary) -> str:
    merit = merits.of(summary)
    parts = []
    for role, curve in summary.curves.items():
        if curve:
            found = sorted({term for row in curve for term in row.terms})
            body = [
                (
                    str(row.epoch),
                    formatting.number(row.loss),
                    *(formatting.number(row.terms.get(term)) for term in found),
                    *training.judged(row, merit),
                )
                for row in curve
            ]
            headers = ("Epoch", "Loss", *found, *training.headers(merit))
            parts.append(f"### {text(table.title(role, merit))}\n\n{table_of(headers, body)}")
    told = text(" ".join(training.sentences(summary)))
    return "\n\n".join(["## Training", told, *parts]) if parts else ""


def _latency(summary: Summary) -> str:
    if not summary.measurements:
        return ""
    section = f"## Latency\n\n{table_of(latency.HEADERS, [latency.cells(found) for found in summary.measurements])}"
    sentences = [
        f"- {text(each.of)}: {text(each.text)}" + (f" ({text('; '.join(each.each))})" if each.each else "")
        for each in caveats.remarks(summary.measurements)
    ]
    return section + ("\n\nWarnings of the measurements:\n\n" + "\n".join(sentences) if sentences else "")


def _estimates(summary: Summary) -> str:
    if not summary.estimates:
        return ""
    sentences = "\n".join(f"- {text(note)}" for note in estimates.notes(summary.estimates))
    body = table_of(*estimates.table(summary.estimates))
    return f"## {estimates.TITLE}\n\n{estimates.EXPLANATION}\n\n{body}\n\n{sentences}"


def _profiles(summary: Summary) -> str:
    parts = [
        f"### {text(profiles.title(each))}\n\n{table_of(profiles.HEADERS, profiles.rows(each))}\n\n"
        f"{text(profiles.total(each))}."
        for each in summary.profiles
    ]
    return "## Time by operator\n\n" + "\n\n".join(parts) if parts else ""


def _parities(summary: Summary) -> str:
    if not summary.parities:
        return ""
    sentences = "\n".join(f"- {text(note)}" for note in parities.notes(summary.parities))
    body = table_of(parities.HEADERS, parities.rows(summary.parities))
    return f"## {parities.TITLE}\n\n{parities.EXPLANATION}\n\n{body}\n\n{sentences}"


def _exactness(summary: Summary) -> str:
    if not summary.comparisons:
        return ""
    return f"## Exactness of the files\n\n{table_of(exactness.HEADERS, exactness.rows(summary))}"


def _anatomy(summary: Summary) -> str:
    found, sizes = anatomy.rows(summary), tensors.rows(summary, most=_TENSORS)
    parts = [f"## Size and memory of the files\n\n{table_of(anatomy.HEADERS, found)}"] if found else []
    parts += [f"### Size by tensor\n\n{table_of(tensors.HEADERS, sizes)}"] if sizes else []
    return "\n\n".join(parts)


def _seconds(summary: Summary) -> str:
    if not summary.seconds:
        return ""
    body = [(stage, formatting.duration(seconds)) for stage, seconds in summary.seconds.items()]
    body.append(("together", formatting.duration(sum(summary.seconds.values()))))
    return f"## Time\n\n{table_of(('Stage', 'Wall time'), body)}"


def _files(summary: Summary) -> str:
    if not summary.artifacts:
        return ""
    body = [
        (artifact.path, table.kind_of_file(artifact), f"{artifact.size_bytes:,}", artifact.sha256)
        for artifact in summary.artifacts
    ]
    return f"## Files\n\n{table_of(('Path', 'Kind', 'Bytes', 'SHA-256'), body)}"


def _provenance(summary: Summary) -> str:
    return f"## Provenance\n\n{table_of(('What', 'Value'), provenance.entries(summary))}"


def _terms(runs: Sequence[ReportedRun]) -> str:
    found = terms(*(run.summary for run in runs))
    return "## Terms\n\n" + "\n".join(f"- **{name}**: {text(meaning)}" for name, meaning in found)
