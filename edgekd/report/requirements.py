"""What a run's gates ask and found, in a reader's words beside the record's names, and in its units."""

from collections.abc import Callable

from edgekd.records import Gate
from edgekd.report import formatting

_Words = Callable[[float], str]


def _percent(fraction: float) -> str:
    return f"{formatting.number(100 * fraction)} %"


def _points(fraction: float) -> str:
    number = formatting.number(100 * fraction)
    return f"{number} {'point' if number == '1' else 'points'}"


def _count(number: float) -> str:
    return formatting.count(round(number))


def _decibels(number: float) -> str:
    return f"{formatting.number(number)} dB"


_DROP = "accuracy_drop"
_KNOWN: dict[str, tuple[str, _Words]] = {
    "accuracy": ("Accuracy", _percent),
    _DROP: ("Drop of accuracy", _points),
    "agreement": ("Agreement", _percent),
    "agreement_with_int8_student": ("Agreement with the int8 student", _percent),
    "auc": ("AUC", formatting.number),
    "auc_drop": ("Drop of AUC", formatting.number),
    "beyond_one_lsb": ("Outputs beyond one LSB of the int8 student's", _percent),
    "distinct_values_per_channel": ("Distinct values of a channel", _count),
    "sqnr_db": ("Signal to noise of the outputs", _decibels),
    "training_warnings": ("Warnings about the training", _count),
    "zeros": ("Zeros in the kernels", _count),
}
_SIGNS = {"<=": "≤", ">=": "≥"}


def title(gate: Gate) -> str:
    """Returns what a gate is called; one that is not known here by its own name: `latency_ratio` is Latency ratio."""
    known = _KNOWN.get(gate.name)
    return known[0] if known else gate.name.replace("_", " ").capitalize()


def observed(gate: Gate) -> str:
    """Returns what was observed, in per cent, points or as a count."""
    if gate.observed is None:
        return "identical" if gate.name == "sqnr_db" and gate.passed else formatting.NOT_MEASURED
    return _words(gate)(gate.observed)


def counted(gate: Gate) -> str:
    """Returns the samples that an observed fraction is made of; empty where it is of none, or they are not known.

    A drop is a difference of two numbers of samples and no part of them: `36 more right, of 2,000 samples`.
    """
    if gate.samples is None or gate.observed is None:
        return ""
    found = round(gate.observed * gate.samples)
    samples = formatting.counted(gate.samples, "sample")
    if gate.name != _DROP:
        return f"{formatting.count(found)} of {samples}"
    lost = f"{formatting.count(abs(found))} {'fewer' if found > 0 else 'more'}" if found else "as many"
    return f"{lost} right, of {samples}"


def limit(gate: Gate) -> str:
    """Returns what it had to be: `≥ 98 %`."""
    return f"{_SIGNS[gate.relation]} {_words(gate)(gate.limit)}"


def _words(gate: Gate) -> _Words:
    known = _KNOWN.get(gate.name)
    return known[1] if known else formatting.number
