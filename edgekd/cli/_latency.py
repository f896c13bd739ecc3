"""How measurements of latency read on a terminal."""

from collections.abc import Sequence

from edgekd.bench.history import Trend
from edgekd.bench.profiling.records import OperatorTime, Profile
from edgekd.bench.report import BenchReport
from edgekd.bench.roofline import Roofline
from edgekd.cli import _options, _tables
from edgekd.records import LatencyComparison, LatencySelfTest, Measurement
from edgekd.report import formatting, latency

_VERDICTS = {
    "faster": "faster",
    "slower": "SLOWER",
    "equivalent": "equivalent",
    "inconclusive": "inconclusive",
}
_ENDED = {
    "interrupted": "interrupted: the numbers are those of the whole rounds before",
    "failed": "broken off: the numbers are those of the whole rounds before",
    "seconds": "ended when the time was up",
    "precision": "ended when the interval was narrow enough",
}


def print_report(found: BenchReport) -> None:
    """Prints latency and memory, comparisons, trends, and each warning once below."""
    _print_measurements(found.measurements)
    if found.comparisons:
        _options.say()
        _print_comparisons(found.comparisons)
    if found.roofline is not None:
        _options.say()
        _print_roofline(found.roofline)
    for trend in found.trends:
        _print_trend(trend)
    notes: dict[str, list[str]] = {}
    for each in found.measurements:
        texts = [*_notes(each), *each.warnings]
        for text in texts:
            notes.setdefault(text, []).append(each.artifact)
    for text, names in notes.items():
        _options.say(f"{', '.join(dict.fromkeys(names))}: {text}")
    _tables.print_failed(found.gates)


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
    whole, plain = found.whole_us.value, found.plain_us.value
    _options.say(
        f"{found.model}, {found.runtime}, 1 thread: {whole:.0f} us a profiled inference ({plain:.0f} us without "
        f"profiling), {formatting.counted(found.processes, 'process', 'processes')}"
    )
    rows = [
        (
            each.operator,
            each.place,
            *_time_cells(each),
        )
        for each in sorted(found.operators, key=lambda each: -each.time_us.value)
    ]
    _tables.print_rows(("Operator", "Node", "Time, us", "95 % interval", "Share"), rows)
    total = (
        f"the operators add up to {found.share_of_operators:.1%} of the whole; rounding down to microseconds takes "
        f"away up to {found.share_lost_to_rounding:.1%}"
    )
    _options.say(
        total if found.adds_up else f"{total}: the rest is the profiler's own time, so that the shares mislead"
    )


def _time_cells(timed: OperatorTime) -> tuple[str, str, str]:
    """Returns an operator's time, its interval and its share; what is less than a microsecond is not known."""
    time = timed.time_us
    if time.value < 1:
        return "< 1", "", f"< {1 / time.value * timed.share:.1%}" if time.value else ""
    interval = f"{time.low:.1f} to {time.high:.1f}" if time.confidence else formatting.NOT_MEASURED
    return f"{time.value:.1f}", interval, formatting.percent(timed.share)


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
    if any(each.macs for each in measurements):
        shown.append("GMAC/s")
        for row, each in zip(rows, measurements, strict=True):
            row.append(_gmacs(each))
    _tables.print_rows(shown, rows)


def _gmacs(measurement: Measurement) -> str:
    if not measurement.macs:
        return formatting.NOT_MEASURED
    macs = measurement.macs * (measurement.batch or 1)
    return formatting.three_digits(macs / measurement.latency_ms.p50 / 1e6)


def _print_roofline(found: Roofline) -> None:
    peaks = ", ".join(f"{formatting.three_digits(each.gmacs_per_second.value)} in {each.kind}" for each in found.peaks)
    threads = formatting.counted(found.num_threads, "thread")
    _options.say(
        f"this machine with {threads}: GMAC/s {peaks} (a large matrix product in ONNX Runtime); main memory "
        f"{formatting.three_digits(found.bandwidth_gb_per_second)} GB/s"
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
        _options.say(f"history: {name}: the first entry of this file on this machine with this runtime")
        return
    when = trend.previous.time.strftime("%Y-%m-%d %H:%M")
    before = formatting.milliseconds(trend.previous.measurement.latency_ms.p50)
    unknown = ", no ratio: one of the two has fewer than three processes"
    file = ", another file" if trend.changed_file else ""
    ratio = (
        unknown
        if trend.ratio is None
        else (f", ratio {trend.ratio.value:.3f} ({trend.ratio.low:.3f} to {trend.ratio.high:.3f})")
    )
    change = "" if trend.change is None else f"; over {trend.entries} entries it changed by {trend.change:+.1%}"
    _options.say(f"history: {name}: before {before} ms on {when} UTC{file}{ratio}{change}")


def _notes(measurement: Measurement) -> list[str]:
    found = []
    if measurement.ended in _ENDED:
        found.append(
            f"{_ENDED[measurement.ended]} ({formatting.counted(measurement.processes, 'process', 'processes')})"
        )
    if measurement.late_runs:
        found.append(
            f"{measurement.late_runs:,} of {measurement.num_runs:,} runs could not start in time: one takes longer "
            f"than {measurement.interval_ms:g} ms now and then"
        )
    if measurement.mode == "sustained":
        medians = ", ".join(formatting.milliseconds(each) for each in measurement.minute_medians_ms)
        verdict = {True: "it slowed down (throttling)", False: "it did not slow down", None: "too short to tell"}
        found.append(f"medians of the minutes, ms: {medians}; {verdict[measurement.throttled]}")
    if measurement.operators is not None and measurement.delegated_operators is not None:
        found.append(f"{measurement.delegated_operators} of {measurement.operators} operators run in the delegate")
    return found
