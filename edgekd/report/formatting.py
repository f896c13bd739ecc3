"""Numbers as a reader wants them: a few digits, a unit, and words where nothing was measured."""

import math
from collections.abc import Sequence

from edgekd.records import Interval, Latency, Preprocessing

NOT_MEASURED = "not measured"
TOO_FEW_RUNS = "too few runs"
TOO_FEW_PROCESSES = "too few processes"
IDENTICAL = "identical"
_MINUS = "−"


def percent(fraction: float | None) -> str:
    """Returns a fraction as a percentage with two decimals: 0.8993 is `89.93 %`."""
    return NOT_MEASURED if fraction is None else f"{100 * fraction:.2f} %"


def percent_interval(interval: Interval) -> str:
    """Returns an interval of fractions: `89.3 to 90.5 %`."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def share(fraction: float) -> str:
    """Returns a part of a whole as a percentage with one decimal: 0.3247 is `32.5 %`."""
    return f"{100 * fraction:.1f} %"


def shape(sizes: Sequence[int | None] | None) -> str:
    """Returns a tensor's shape: `3 × 3 × 8`, with `any` for an open size."""
    if sizes is None:
        return "unknown"
    return " × ".join("any" if size is None else str(size) for size in sizes) or "scalar"


def points(fraction: float | None) -> str:
    """Returns a difference of fractions in percentage points with its sign: 0.0035 is `+0.35`."""
    return NOT_MEASURED if fraction is None else _signed(100 * fraction)


def points_interval(interval: Interval) -> str:
    """Returns an interval of differences in percentage points: `−0.10 to +0.80`."""
    return f"{_signed(100 * interval.low)} to {_signed(100 * interval.high)}"


def fraction(value: float | None) -> str:
    """Returns a fraction that is no percentage, such as an AUC, with three decimals: `0.947`."""
    return NOT_MEASURED if value is None else f"{value:.3f}"


def fraction_interval(interval: Interval) -> str:
    """Returns an interval of such fractions: `0.901 to 0.973`."""
    return f"{interval.low:.3f} to {interval.high:.3f}"


def difference(value: float | None) -> str:
    """Returns a difference of such fractions with its sign: `−0.012`."""
    return NOT_MEASURED if value is None else _signed(value, decimals=3)


def difference_interval(interval: Interval) -> str:
    """Returns an interval of such differences: `−0.004 to +0.021`."""
    return f"{_signed(interval.low, decimals=3)} to {_signed(interval.high, decimals=3)}"


def count(number: int | None) -> str:
    """Returns a whole number with thousands separated: `19,834`."""
    return NOT_MEASURED if number is None else f"{number:,}"


def short_count(number: int | None) -> str:
    """Returns a whole number with three digits and k, M or G: 12,501,632 is `12.5 M`."""
    if number is None:
        return NOT_MEASURED
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor * 0.9995:
            return f"{three_digits(number / factor)} {letter}"
    return str(number)


def size(number: int | None) -> str:
    """Returns a number of bytes in bytes, KiB, MiB or GiB: 98,496 is `96.2 KiB`."""
    if number is None:
        return NOT_MEASURED
    if number < 1024:
        return f"{number} bytes"
    if number < 1024**2:
        return f"{three_digits(number / 1024)} KiB"
    if number < 1024**3:
        return f"{three_digits(number / 1024**2)} MiB"
    return f"{three_digits(number / 1024**3)} GiB"


def milliseconds(number: float | None) -> str:
    """Returns milliseconds with three significant digits and no unit: `0.102`."""
    return NOT_MEASURED if number is None else three_digits(number)


def milliseconds_interval(interval: Interval) -> str:
    """Returns an interval of milliseconds: `0.098 to 0.106`."""
    return f"{three_digits(interval.low)} to {three_digits(interval.high)}"


def percentile_99(latency: Latency) -> str:
    """Returns p99 in milliseconds; where other percentiles are known and it is not, the timed runs were too few."""
    return TOO_FEW_RUNS if latency.p99 is None and latency.p90 is not None else milliseconds(latency.p99)


def duration(seconds: float | None) -> str:
    """Returns seconds as a person says them: `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def number(value: float | None) -> str:
    """Returns a number of unknown size with four significant digits."""
    return NOT_MEASURED if value is None else f"{value:.4g}".replace("-", _MINUS)


def decibels(ratio: float | None) -> str:
    """Returns a signal-to-noise ratio in decibels with one decimal; without one, there is no noise: `identical`."""
    return IDENTICAL if ratio is None else f"{ratio:.1f}".replace("-", _MINUS)


def three_digits(value: float) -> str:
    """Returns a number with three significant digits, never with an exponent: 1234.5 is `1,234`, 0.1018 is `0.102`."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{decimals}f}".replace("-", _MINUS)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a number with its noun: `1 thread`, `2 threads`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def told_apart(one: float | None, other: float) -> tuple[str, str]:
    """Returns two numbers with four significant digits, or with as many as it takes to tell them apart."""
    if one is None:
        return "", f"{other:.4g}"
    texts = [(_digits(one, digits), _digits(other, digits)) for digits in range(4, 18)]
    return next((each for each in texts if one == other or each[0] != each[1]), texts[-1])


def _digits(number: float, digits: int) -> str:
    return str(round(number)) if float(number).is_integer() else f"{number:.{digits}g}"


def listed(names: Sequence[str]) -> str:
    """Returns names as a sentence has them: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _signed(value: float, *, decimals: int = 2) -> str:
    text = f"{value:+.{decimals}f}"
    return f"{0:.{decimals}f}" if float(text) == 0 else text.replace("-", _MINUS)


def preprocessing(record: Preprocessing) -> str:
    """Returns in one sentence what became of the preprocessing of an input, and what its caller has to do."""
    formula = f"{record.input} · {_numbers(record.factor)} + {_numbers(record.shift)}"
    if record.placement == "outside":
        return f"{record.input}: give it preprocessed values, {formula}"
    if record.placement == "input_scale":
        return f"{record.input}: give it bytes as they are (less 128 for int8); its scale and zero point are {formula}"
    if record.placement == "first_layer":
        return f"{record.input}: {formula} is in the weights of {record.layer}"
    return (
        f"{record.input}: of {formula} the factor is in the weights of {record.layer}, which pads zeros; the shift is "
        "still added"
    )


def _numbers(values: tuple[float, ...]) -> str:
    shown = [f"{value:.9g}" for value in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
