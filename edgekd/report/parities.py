"""The table of what other processors' kernels compute. Never among the measurements: no time is in it."""

from collections.abc import Sequence

from edgekd.records import OutputParity, Parity
from edgekd.report import formatting

TITLE = "Outputs on other processors"
EXPLANATION = "Outputs of other processors' kernels under emulation, against those here. Emulation tells no time."
HEADERS = ("File", "Target", "Output", "Values that differ", "Largest difference", "Beyond 1 LSB", "Agreement")

_UNKNOWN = "–"


def rows(parities: Sequence[Parity]) -> list[tuple[str, ...]]:
    """Returns one row for each output, in the order of HEADERS; one without numbers for a file that was refused."""
    found: list[tuple[str, ...]] = []
    for each in parities:
        if each.findings is None:
            found.append((each.artifact, each.target, *[_UNKNOWN] * (len(HEADERS) - 2)))
        else:
            found += [(each.artifact, each.target, *_cells(output)) for output in each.findings.outputs]
    return found


def notes(parities: Sequence[Parity]) -> list[str]:
    """Returns what ran each file there and here, each sentence once, with its files."""
    said: dict[str, list[str]] = {}
    for each in parities:
        said.setdefault(f"{each.target}: {_sentence(each)}", []).append(each.artifact)
    return [f"{', '.join(files)}, {sentence}" for sentence, files in said.items()]


def _sentence(parity: Parity) -> str:
    it = parity.findings
    if it is None:
        return f"cannot be run there: {parity.refusal}"
    delegate = f" ({it.delegate})" if it.delegate else ""
    return (
        f"{it.runtime}{delegate} on Python {it.python} with NumPy {it.numpy}, {it.emulator} as {it.cpu}, against "
        f"{it.reference}, {formatting.counted(it.samples, 'random input')}."
    )


def _cells(output: OutputParity) -> tuple[str, ...]:
    largest = f"{output.max_lsb} LSB" if output.max_lsb is not None else f"{output.max_abs:.3g}"
    return (
        f"{output.output} ({output.dtype})",
        "none" if output.differing == 0 else f"{100 * output.differing:.3g} % of {output.elements:,}",
        largest if output.differing else "0",
        _UNKNOWN if output.beyond_one_lsb is None else f"{100 * output.beyond_one_lsb:.3g} %",
        _UNKNOWN if output.agreement is None else formatting.percent(output.agreement),
    )
