"""Holds `edgekd bench` to the runtimes' own timings, side by side: litert-benchmark, and ONNX Runtime's test tool.

    python tools/compare_latency_tools.py                       six networks, five from about 20 microseconds to 20 ms
    python tools/compare_latency_tools.py --rounds 3 --networks 2

In each round every network is measured once by each tool, in a fresh process, in shuffled order; a round is the unit of
the interval of a ratio. litert-benchmark prints hundredths of a millisecond, too coarse for the small networks: its
function is called with rounding switched off. `onnxruntime.tools.onnxruntime_test` prints averages: it is called for
many short loops, of which the median counts, with one thread.
The tools call the runtimes in different ways, litert-benchmark by names through another interface, which takes some
microseconds: a network of one multiplication shows how many, and the other tool's times are judged without them.
The ratio counts as within 5 % where its interval is, as "by the estimate" where the estimate is and the interval is too
wide, as beyond where the interval is; else nothing can be told. Exit status 1 where a network is beyond, 3 where one
cannot be told, else 0. About ten minutes; on a machine that does something else too it shows nothing.
"""

import argparse
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
from conv_stacks import Stack, export

from edgekd.bench.plan import make_plan
from edgekd.bench.stats import process_medians_ms
from edgekd.bench.targets import local
from edgekd.report.intervals import mean_interval

CALL = Stack("call", 1, 1, 1)  # next to no work: what remains is the call of the runtime from Python
STACKS = (
    CALL,
    Stack("20-us", 8, 8, 8),
    Stack("100-us", 16, 8, 12),
    Stack("500-us", 24, 16, 12),
    Stack("4-ms", 48, 32, 8),
    Stack("20-ms", 48, 64, 8),
)
MAX_DIFFERENCE = 0.05
YES, ESTIMATE, UNCLEAR, NO = "yes", "by the estimate", "cannot tell", "no"
LEAST_SECONDS = 0.5  # of each tool's timed runs
MOST_RUNS = 5000
LOOPS = 200

LITERT = """
import argparse, json, sys
from ai_edge_litert.tools import benchmark_litert_model as tool
tool.round = lambda value, digits=0: value
sys.argv = ["litert-benchmark", "--model", sys.argv[1], "--num_threads", "1",
            "--warmup_runs", sys.argv[2], "--num_runs", sys.argv[2]]
print("RESULT", json.dumps(tool.run_benchmark(tool.parse_args())["latency"]["median_ms"]))
"""
ONNXRUNTIME = """
import contextlib, io, re, statistics, sys
import onnxruntime
from onnxruntime.tools import onnxruntime_test as tool
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
tool.onnxrt.InferenceSession = lambda *positional, **named: session
feeds = tool.generate_feeds(session)
def run(iterations):
    with contextlib.redirect_stdout(io.StringIO()) as text:
        tool.run_model(sys.argv[1], iterations, feeds=feeds)
    return float(re.search("avg latency: (.*) ms", text.getvalue()).group(1))
runs = int(sys.argv[2])
run(runs)
loops = min(LOOPS, runs // 2)
print("RESULT", statistics.median(run(runs // loops) for _ in range(loops)))
""".replace("LOOPS", str(LOOPS))


def by_edgekd(path: Path, _runs: int, seed: int) -> float:
    """Returns the median of one process of edgekd's."""
    plan = make_plan(processes=1, blocks=4, min_block_ms=LEAST_SECONDS * 250, min_runs=10, seed=seed)
    ((process,),) = local.measure([path], plan)
    return float(process_medians_ms([process])[0])


def by_litert(path: Path, runs: int, _seed: int) -> float:
    """Returns litert-benchmark's median, unrounded."""
    return _result([sys.executable, "-c", LITERT, str(path), str(runs)])


def by_onnxruntime(path: Path, runs: int, _seed: int) -> float:
    """Returns the median of the averages of loops of ONNX Runtime's own tool."""
    return _result([sys.executable, "-c", ONNXRUNTIME, str(path), str(runs)])


def _result(command: list[str]) -> float:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return float(line.removeprefix("RESULT "))


def ratio_without_call(pairs: list[tuple[float, float]], call_ms: float) -> tuple[float, float, float]:
    """Returns the ratio of edgekd's medians to the other tool's with its 95 % interval, over rounds.

    Args:
      pairs: of each round edgekd's median and the other tool's, in milliseconds.
      call_ms: by how much edgekd's call of the runtime takes longer than the other tool's; may be negative.
    """
    ours, theirs = np.array(pairs).T
    logs = np.log(ours / (theirs + call_ms))
    found = mean_interval(logs.tolist())
    return math.exp(found.value), math.exp(found.low), math.exp(found.high)


def verdict(ratio: float, low: float, high: float) -> str:
    """Returns whether a ratio with its interval is within 5 %."""
    least, most = 1 - MAX_DIFFERENCE, 1 + MAX_DIFFERENCE
    if least <= low and high <= most:
        return YES
    if high < least or low > most:
        return NO
    return ESTIMATE if least <= ratio <= most else UNCLEAR


def _apart(pairs: list[tuple[float, float]]) -> float:
    """Returns by how many milliseconds edgekd's median is above the other tool's."""
    ours, theirs = np.array(pairs).T
    return float(np.median(ours - theirs))


OTHERS = {".tflite": ("litert-benchmark", by_litert), ".onnx": ("onnxruntime_test", by_onnxruntime)}


def _at_least_two(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 2")
    return int(text)


def main() -> int:
    """Measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=_at_least_two, default=10, help="how often each tool measures each network (default 10)"
    )
    parser.add_argument("--networks", type=int, default=len(STACKS), help="how many of the networks (default all)")
    parser.add_argument("--out", type=Path, default=Path("runs/latency-tools"), help="for the networks")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    paths = [export(each, arguments.out, suffix) for each in STACKS[: arguments.networks] for suffix in OTHERS]
    runs = {path: min(MOST_RUNS, max(20, round(LEAST_SECONDS * 1e3 / by_edgekd(path, 0, 0)))) for path in paths}
    generator = np.random.default_rng(0)
    found: dict[Path, list[tuple[float, float]]] = {path: [] for path in paths}
    for seed in range(arguments.rounds):
        for index in generator.permutation(len(paths)):
            path = paths[index]
            pair = [by_edgekd, OTHERS[path.suffix][1]]
            order = generator.permutation(2)
            numbers = {int(which): pair[which](path, runs[path], seed) for which in order}
            found[path].append((numbers[0], numbers[1]))
    call_ms = {path.suffix: _apart(pairs) for path, pairs in found.items() if path.stem == CALL.name}
    sys.stdout.write(
        "| network | edgekd, ms | other tool | its median, ms | ratio, without the call | 95 % interval "
        "| within 5 % |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    verdicts = set()
    for path, pairs in found.items():
        ours, theirs = np.median(np.array(pairs), axis=0)
        judged = "– | – | –"  # of the call itself
        if path.stem != CALL.name:
            ratio, low, high = ratio_without_call(pairs, call_ms[path.suffix])
            verdicts.add(verdict(ratio, low, high))
            judged = f"{ratio:.3f} | {low:.3f} to {high:.3f} | {verdict(ratio, low, high)}"
        sys.stdout.write(f"| {path.name} | {ours:.4f} | {OTHERS[path.suffix][0]} | {theirs:.4f} | {judged} |\n")
    return 1 if NO in verdicts else 3 if UNCLEAR in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
