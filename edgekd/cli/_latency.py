"""How measurements of latency read on a terminal."""

from collections.abc import Sequence

from edgekd.bench.history import Trend
from edgekd.bench.report import BenchReport
from edgekd.bench.roofline import Roofline
from edgekd.cli import _options, _tables
from edgekd.records import Interval, LatencyComparison, LatencySelfTest, Measurement, Profile, TensorSize
from edgekd.report import formatting, latency, profiles

_VERDICTS = {
    "faster": "faster",
    "slower": "SLOWER",
    "equivalent": "equivalent",
    "inconclusive": "inconclusive",
}
_OTHER_HOUR = (
    "history: another hour may be another machine load: for a decision, measure both files together with --compare"
)
_ENDED = {
    "interrupted": "interrupted: the numbers are those of the whole rounds before",
    "failed": "broken off: the numbers are those of the whole rounds before",
    "seconds": "ended when the time was up",
    "precision": "ended when the interval was narrow enough",
}


def print_report(found: BenchReport, *, details: bool = False) -> None:
    """Prints latency and memory, comparisons, trends, and each warning once below.

    Args:
      found: what was found.
      details: whether to print the cold start, further numbers and the tensors too.
    """
    _print_measurements(found.measurements)
    if details:
        _print_details(found.measurements)
        _print_tensors(found.tensors)
    if found.comparisons:
        _options.say()
        _print_comparisons(found.comparisons)
    if found.roofline is not None:
        _options.say()
        _print_roofline(found.roofline)
    for trend in found.trends:
        _print_trend(trend)
    if any(trend.previous is not None for trend in found.trends):
        _options.say(_OTHER_HOUR)
    notes: dict[str, list[str]] = {}
    for each in found.measurements:
        texts = [*_notes(each), *each.warnings]
        for text in texts:
            notes.setdefault(text, []).append(_row_of(each, found.measurements))
    for text, names in notes.items():
        _options.say(f"{', '.join(dict.fromkeys(names))}: {text}")
    for gate in found.gates:
        if gate.passed:
            _options.say(f"gate held: {gate.subject}: {gate.name} is {gate.observed:.4f}, limit {gate.limit}")
    _tables.print_failed(found.gates)


def _row_of(measurement: Measurement, among: Sequence[Measurement]) -> str:
    """Returns the file's name, with threads and batch where the file was measured with several."""
    rows = {(each.num_threads, each.batch) for each in among if each.artifact == measurement.artifact}
    if len(rows) == 1:
        return measurement.artifact
    batch = "" if measurement.batch is None else f", batch {measurement.batch}"
    return f"{measurement.artifact} ({formatting.counted(measurement.num_threads, 'thread')}{batch})"


def print_self_test(found: LatencySelfTest) -> None:
    """Prints what copies of a model say of the machine."""
    names = ", ".join(_VERDICTS[verdict].lower() for verdict in found.verdicts)
    threads = formatting.counted(found.num_threads, "thread")
    _options.say(
        f"{found.copies} copies of {found.model} ({formatting.milliseconds(found.p50_ms)} ms) in {found.rounds} rounds "
        f"on {found.target}, {found.runtime}, {threads}:"
    )
    _options.say(f"  against the first copy the others are {names}")
    if found.spread_of_processes is not None:
        _options.say(
            f"  a fresh process differs from another by {found.spread_of_processes:.1%} (standard deviation), two "
            f"copies within a round by {found.spread_of_ratios:.1%}"
        )
    if found.detectable is None:
        _options.say("  three rounds or more are needed to say which difference can be detected: raise --processes")
    else:
        _options.say(
            f"  with {found.rounds} rounds a model is found slower, four times in five, when it is "
            f"{found.detectable:.1%} slower or more (differences within {found.floor:.0%} count as equal)"
        )
    for share, rounds in found.rounds_needed.items():
        if rounds is not None:
            _options.say(f"  a difference of {share} takes {rounds} rounds (--processes {rounds})")
    missed = [share for share, rounds in found.rounds_needed.items() if rounds is None]
    if missed:
        _options.say(
            f"  a difference of {' or '.join(missed)} cannot be shown here: it is within the floor or takes more than "
            "1,000 rounds"
        )


def print_profile(found: Profile) -> None:
    """Prints the time of each operator, the longest first, and whether they add up."""
    _options.say(profiles.title(found))
    _tables.print_rows(profiles.HEADERS, profiles.rows(found))
    _options.say(profiles.total(found))


def _print_measurements(measurements: Sequence[Measurement]) -> None:
    shown = ["File", "Threads", "p50, ms", "Interval of p50, ms", "p90, ms", "p99, ms", "First, ms", "Peak memory"]
    columns = [latency.HEADERS.index(header) for header in shown]
    rows = [[latency.cells(each)[column] for column in columns] for each in measurements]
    shown.append("Size")
    for row, each in zip(rows, measurements, strict=True):
        row.append(formatting.size(each.size_bytes))
    if any(each.batch is not None for each in measurements):
        shown.insert(2, "Batch")
        for row, each in zip(rows, measurements, strict=True):
            row.insert(2, formatting.NOT_MEASURED if each.batch is None else str(each.batch))
    if any(each.gmacs_per_second for each in measurements):
        shown.append("GMAC/s")
        for row, each in zip(rows, measurements, strict=True):
            row.append(_gmacs(each))
    _tables.print_rows(shown, rows)


def _print_details(measurements: Sequence[Measurement]) -> None:
    headers = (
        *("File", "Threads", "Import, ms", "Load, ms", "Allocate, ms", "First, ms"),
        *("Least, ms", "Mean, ms", "p95, ms", "Scaled MAD, ms"),
    )
    rows = []
    for each in measurements:
        latency_ms = each.latency_ms
        numbers = (
            *(each.import_ms, each.load_ms, each.allocate_ms, each.first_inference_ms),
            *(latency_ms.minimum, latency_ms.mean, latency_ms.p95, latency_ms.scaled_mad),
        )
        rows.append((each.artifact, str(each.num_threads), *map(formatting.milliseconds, numbers)))
    _options.say()
    _options.say("before any warm-up, medians of the processes (loading includes allocating), and further numbers:")
    _tables.print_rows(headers, rows)


def _print_tensors(tensors: Sequence[TensorSize]) -> None:
    rows = [
        (
            each.artifact,
            each.tensor,
            each.role,
            formatting.shape(each.shape),
            each.dtype,
            "unknown" if each.size_bytes is None else formatting.count(each.size_bytes),
        )
        for each in tensors
    ]
    _options.say()
    _options.say("bytes of each tensor, a batch of 1 where it is open:")
    _tables.print_rows(("File", "Tensor", "Role", "Shape", "Type", "Bytes"), rows)


def _gmacs(measurement: Measurement) -> str:
    if measurement.gmacs_per_second is None:
        return formatting.NOT_MEASURED
    return formatting.three_digits(measurement.gmacs_per_second)


def _print_roofline(found: Roofline) -> None:
    peaks = ", ".join(f"{formatting.three_digits(each.gmacs_per_second.value)} in {each.kind}" for each in found.peaks)
    threads = formatting.counted(found.num_threads, "thread")
    _options.say(
        f"this machine with {threads}: GMAC/s {peaks} (a large matrix product in ONNX Runtime); main memory "
        f"{formatting.three_digits(found.bandwidth_gb_per_second)} GB/s{_range(found.bandwidth_interval)}"
    )
    rows = [
        (
            each.artifact,
            each.kind,
            formatting.three_digits(each.gmacs_per_second),
            formatting.three_digits(each.macs_per_byte),
            formatting.three_digits(each.limit_gmacs_per_second),
            each.bound,
            f"{each.share:.0%}",
        )
        for each in found.points
    ]
    _tables.print_rows(("File", "Numbers", "GMAC/s", "MAC/byte", "Limit, GMAC/s", "Bound by", "Reached"), rows)


def _range(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f" ({formatting.three_digits(interval.low)} to {formatting.three_digits(interval.high)})"


def _print_comparisons(comparisons: Sequence[LatencyComparison]) -> None:
    rows = []
    for each in comparisons:
        ratio = each.ratio
        rows.append(
            (
                each.artifact,
                str(each.num_threads) + ("" if each.batch is None else f", batch {each.batch}"),
                formatting.NOT_MEASURED if ratio is None else f"{ratio.value:.3f}",
                formatting.NOT_MEASURED if ratio is None else f"{ratio.low:.3f} to {ratio.high:.3f}",
                formatting.NOT_MEASURED if each.p_differs is None else f"{each.p_differs:.3g}",
                _VERDICTS[each.verdict],
            )
        )
    first = comparisons[0]
    _options.say(f"time over that of {first.baseline}, in {first.rounds} rounds; within {first.floor:.0%} is equal:")
    _tables.print_rows(("File", "Threads", "Ratio", "95 % interval", "p", "Verdict"), rows)


def _print_trend(trend: Trend) -> None:
    name = f"{trend.artifact}, {formatting.counted(trend.num_threads, 'thread')}"
    if trend.previous is None:
        if trend.other_entries:
            others = formatting.counted(trend.other_entries, "entry", "entries")
            _options.say(
                f"history: {name}: the first entry of its kind; {others} of this file name with other settings or "
                f"elsewhere: {', '.join(trend.differing)}"
            )
        else:
            _options.say(f"history: {name}: the first entry of this file on this machine with this runtime")
        return
    when = trend.previous.time.strftime("%Y-%m-%d %H:%M")
    before = formatting.milliseconds(trend.previous.measurement.latency_ms.p50)
    unknown = ", no ratio: one of the two has fewer than three processes"
    file = ", another file of this name" if trend.changed_file else ", the same file"
    ratio = (
        unknown
        if trend.ratio is None
        else (f", ratio {trend.ratio.value:.3f} ({trend.ratio.low:.3f} to {trend.ratio.high:.3f})")
    )
    change = "" if trend.change is None else f"; over {trend.entries} entries it changed by {trend.change:+.1%}"
    _options.say(f"history: {name}: before {before} ms on {when} UTC{file}{ratio}{change}")


def _notes(measurement: Measurement) -> list[str]:
    found = []
    if measurement.ended == "interrupted" and measurement.mode == "sustained":
        found.append("interrupted: the numbers are those of the blocks until then")
    elif measurement.ended in _ENDED:
        found.append(
            f"{_ENDED[measurement.ended]} ({formatting.counted(measurement.processes, 'process', 'processes')})"
        )
    found += latency.notes(measurement)
    if measurement.operators is not None and measurement.delegated_operators is not None:
        found.append(
            f"{measurement.delegated_operators} of {measurement.operators} operators run in the delegate, "
            f"in {formatting.counted(measurement.delegate_partitions or 0, 'partition')}"
        )
    return found
