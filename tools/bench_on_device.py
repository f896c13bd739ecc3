"""Measures exported files on this machine and on boards, into one table, and holds them to a limit.

    python tools/bench_on_device.py exported/*.tflite
    python tools/bench_on_device.py exported/*.tflite --targets local ssh://pi@raspberrypi.local --max-ms 5

`edgekd bench` does more (`--compare`, `--profile`, `--history`); this is the Python interface to copy and change. A
board needs Python, NumPy and the files' runtime (docs/raspberry-pi.md). Exit status 1 where a file is surely slower
than --max-ms on a target, 3 where that cannot be told, 2 where one could not be measured.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edgekd
from edgekd.records import Measurement

COLUMNS = ("target", "file", "processor", "runtime", "p50_ms", "low_ms", "high_ms", "p99_ms", "memory_kib", "bytes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table as CSV, and says whether the limit holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help=".tflite and .onnx files")
    parser.add_argument("--targets", nargs="+", default=["local"], help="as `edgekd list targets` has them")
    parser.add_argument("--processes", type=int, default=10, help="fresh ones for each file (default: 10)")
    parser.add_argument("--max-ms", type=float, help="the median that no file may exceed")
    parser.add_argument("--python", help="of the boards (default: python3)")
    parser.add_argument("--out", type=Path, default=Path("latency"), help="folder of the raw samples")
    options = parser.parse_args(arguments)
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    table.writeheader()
    found = set()
    for number, target in enumerate(options.targets):
        try:
            measured = edgekd.bench_models(
                options.files, raw_folder=options.out / str(number), target=target, **_settings(options, target)
            )
        except edgekd.EdgekdError as error:  # the other targets are measured all the same
            sys.stderr.write(f"{target}: {error}\n")
            found.add(2)
            continue
        for each in measured:
            table.writerow(_row(each, target))
            for warning in each.warnings:
                sys.stderr.write(f"{target}, {each.artifact}: {warning}\n")
            found.add(_held(each, options.max_ms))
    return next(status for status in (2, 1, 3, 0) if status in found)  # the worst of them


def _settings(options: argparse.Namespace, target: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"processes": options.processes}
    if options.python is not None and target.startswith("ssh:"):
        settings["python"] = options.python
    return settings


def _row(measured: Measurement, target: str) -> dict[str, Any]:
    latency, memory = measured.latency_ms, measured.peak_memory_bytes
    return {
        "target": target,
        "file": measured.artifact,
        "processor": measured.machine.cpu if measured.machine else None,
        "runtime": measured.runtime,
        "p50_ms": latency.p50,
        "low_ms": latency.interval.low if latency.interval else None,
        "high_ms": latency.interval.high if latency.interval else None,
        "p99_ms": latency.p99,
        "memory_kib": None if memory is None else memory // 1024,
        "bytes": measured.size_bytes,
    }


def _held(measured: Measurement, limit_ms: float | None) -> int:
    """Returns 0 where the median is surely within the limit, 1 where it is surely beyond, else 3."""
    interval = measured.latency_ms.interval
    if limit_ms is None or (interval is not None and interval.high <= limit_ms):
        return 0
    return 1 if interval is not None and interval.low > limit_ms else 3


if __name__ == "__main__":
    sys.exit(main())
