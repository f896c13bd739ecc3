"""Checks what `edgekd bench --compare` says of copies, and of networks with a little more work, on this machine.

    python tools/check_latency_verdicts.py                      20 trials with a copy, 5 each with 5 and 10 % more work
    python tools/check_latency_verdicts.py --trials 3 --slower-trials 1 --seconds 10

A stack of forty equal convolutions is measured against a copy of its file, and against stacks of forty-two and
forty-four. A copy may be called slower or faster in one trial of twenty; that it is inconclusive is allowed, and the
table counts it. The longer stacks must be called slower. Exit status 0 where that holds, else 1. About half an hour.
"""

import argparse
import collections
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from conv_stacks import Stack, export

from edgekd import bench
from edgekd.records import LatencyComparison

LAYERS = 40
STEP = (
    2  # layers, 5 % of the work: with an odd number the last array lies in another buffer, which changes the time too
)
COPY = "copy"
ALLOWED_SHARE = 0.05  # of the trials with a copy
QUICK: dict[str, Any] = {"min_warmup_seconds": 0.2, "blocks": 4}


def stack(more: int) -> Stack:
    """Returns the base network with more layers."""
    return Stack(f"{LAYERS + more}-convolutions", 16, 16, LAYERS + more)


def trial(base: Path, other: Path, *, seconds: float, seed: int) -> LatencyComparison:
    """Measures two files once, as `edgekd bench BASE OTHER --compare --seconds SECONDS` does, but warms up for less."""
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder, "samples")
        found = bench.measure([base, other], raw_folder=samples, seconds=seconds, of_ratios=True, seed=seed, **QUICK)
        (comparison,) = bench.compare(found, samples.parent)
    return comparison


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 0")
    return int(text)


def main() -> int:
    """Runs the trials and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=_count, default=20, help="with a copy (default 20)")
    parser.add_argument("--slower-trials", type=_count, default=5, help="with each longer stack (default 5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of one trial (default 60)")
    parser.add_argument("--suffix", default=".tflite", choices=[".tflite", ".onnx"], help="what to measure")
    parser.add_argument("--out", type=Path, default=Path("runs/latency-verdicts"), help="for networks and results")
    arguments = parser.parse_args()
    if not arguments.trials + arguments.slower_trials:
        parser.error("--trials 0 --slower-trials 0: nothing to try")
    arguments.out.mkdir(parents=True, exist_ok=True)
    base = export(stack(0), arguments.out, arguments.suffix)
    copy = Path(shutil.copyfile(base, arguments.out / f"{COPY}{arguments.suffix}"))
    others = [(COPY, copy, arguments.trials)]
    for more in (STEP, 2 * STEP):
        path = export(stack(more), arguments.out, arguments.suffix)
        others.append((f"{more / LAYERS:.0%} more work", path, arguments.slower_trials))
    results: list[dict[str, object]] = []
    good = True
    sys.stdout.write("| second file | trials | slower | faster | equivalent | inconclusive | mean ratio | rounds |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|---|\n")
    for name, path, trials in others:
        if not trials:
            continue
        found = [trial(base, path, seconds=arguments.seconds, seed=seed) for seed in range(trials)]
        counts = collections.Counter(each.verdict for each in found)
        ratios = [each.ratio.value for each in found if each.ratio is not None]
        row = (name, trials, *(counts[key] for key in ("slower", "faster", "equivalent", "inconclusive")))
        mean = sum(ratios) / len(ratios) if ratios else float("nan")
        rounds = sum(each.rounds for each in found) / len(found)
        sys.stdout.write(f"| {' | '.join(map(str, row))} | {mean:.3f} | {rounds:.0f} |\n")
        sys.stdout.flush()
        wrong = counts["slower"] + counts["faster"] if name == COPY else trials - counts["slower"]
        good &= wrong <= (ALLOWED_SHARE * trials if name == COPY else 0)
        results += [{"file": name, **each.model_dump(mode="json")} for each in found]
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
