"""The table of estimates: what programs reckon for chips that were not at hand. Never among the measurements."""

from collections.abc import Callable, Sequence

from edgekd.records import Estimate, Figures
from edgekd.report import formatting

TITLE = "Estimates"
EXPLANATION = "Reckoned by programs for chips that were not at hand: nothing in this table was measured on them."

_UNKNOWN = "–"


def table(estimates: Sequence[Estimate]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns the headers and rows; a column of which no estimate says anything is left out."""
    columns = {header: [cell(each.figures) if each.figures else None for each in estimates] for header, cell in _CELLS}
    shown = {header: cells for header, cells in columns.items() if any(cell is not None for cell in cells)}
    names = [(each.artifact, each.target) for each in estimates]
    rows = [(*name, *(cells[position] or _UNKNOWN for cells in shown.values())) for position, name in enumerate(names)]
    return ("File", "Target", *shown), rows


def refusals(estimates: Sequence[Estimate]) -> list[str]:
    """Returns which files cannot run on which targets, and why."""
    return [f"{each.artifact} cannot run on {each.target}: {each.refusal}" for each in estimates if each.refusal]


def notes(estimates: Sequence[Estimate]) -> list[str]:
    """Returns what each estimate was made with and what must be known of it, each sentence once, with its files."""
    found: dict[str, list[str]] = {}
    for each in estimates:
        sentences = [f"cannot run there: {each.refusal}"] if each.refusal else []
        if each.figures is not None:
            told = ", ".join(f"{key}={value}" for key, value in each.figures.configuration.items())
            sentences += [f"{each.figures.tool} ({told}).", *each.figures.notes]
            if each.figures.cpu_operators:
                sentences.append(f"Left to the CPU: {', '.join(each.figures.cpu_operators)}.")
        for sentence in sentences:
            found.setdefault(f"{each.target}: {sentence}", []).append(each.artifact)
    return [f"{', '.join(files)}, {sentence}" for sentence, files in found.items()]


def _time(figures: Figures) -> str | None:
    latency = figures.latency_ms
    if latency is None:
        return None
    value = formatting.milliseconds(latency.value)
    if latency.low is None or latency.high is None:
        return f"{value} (band not stated)"
    return f"{value} ({formatting.milliseconds(latency.low)} to {formatting.milliseconds(latency.high)})"


def _difference(figures: Figures) -> str | None:
    if figures.differing_outputs is None:
        return None
    if figures.differing_outputs == 0:
        return "none"
    largest = f"{figures.output_lsb} LSB" if figures.output_lsb is not None else f"{figures.output_max_abs:.2g}"
    return f"up to {largest}, in {100 * figures.differing_outputs:.2g} % of values"


def _left_over(figures: Figures) -> str | None:
    return None if figures.cpu_operators is None else str(len(figures.cpu_operators))


def _counted(field: str) -> Callable[[Figures], str | None]:
    def cell(figures: Figures) -> str | None:
        number = getattr(figures, field)
        return None if number is None else formatting.count(number)

    return cell


def _sized(field: str) -> Callable[[Figures], str | None]:
    def cell(figures: Figures) -> str | None:
        number = getattr(figures, field)
        return None if number is None else formatting.size(number)

    return cell


_CELLS: tuple[tuple[str, Callable[[Figures], str | None]], ...] = (
    ("Estimated time, ms (band)", _time),
    ("Cycles", _counted("cycles")),
    ("MACs", _counted("macs")),
    ("Arena", _sized("arena_bytes")),
    ("SRAM", _sized("sram_bytes")),
    ("DRAM", _sized("dram_bytes")),
    ("Flash", _sized("flash_bytes")),
    ("Operators on the CPU", _left_over),
    ("Outputs differ from LiteRT", _difference),
)
