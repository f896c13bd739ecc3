"""Measures what a training step costs: Keras' fit and Distiller, edgekd in its ways, PyTorch.

Every way runs in a fresh process of its own; the processes of one repetition take turns, so that a disturbance of the
machine meets all of them, and only one works at any time. The process is the unit of every interval; ratios are taken
within a repetition. With --cache it measures instead how filling and reading the teacher cache grows with the data.

    python tools/benchmark_training.py --pair mnist --json > mnist.json
    python tools/benchmark_training.py --torch-python /path/to/venv/bin/python
    python tools/benchmark_training.py --from mnist.json
    python tools/benchmark_training.py --cache --json > cache.json
"""

import argparse
import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgekd import environment, storage
from edgekd.bench import stats
from edgekd.errors import EdgekdError, ModelError, RecipeError
from edgekd.records import Interval

SCHEMA_VERSION = 1
FOLDER = Path(__file__).parent

SHAPES = {"mnist": (28, 28, 1), "cifar": (32, 32, 3)}
TENSORFLOW = {
    "keras_fit": "Keras fit, labels",
    "labels": "edgekd, labels",
    "cached": "edgekd, cached logits",
    "cached_maps": "edgekd, cached attention maps + logits",
    "live": "edgekd, live teacher",
    "distiller": "keras.distillation.Distiller",
}
TORCH = {"torch_known": "PyTorch eager, known logits", "torch_live": "PyTorch eager, live teacher"}
VARIANTS = TENSORFLOW | TORCH


@dataclasses.dataclass(frozen=True)
class Target:
    """What a ratio of two ways should be."""

    over: str
    under: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def bound(self) -> str:
        """The target in words."""
        return f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"

    def verdict(self, ratio: Interval) -> str:
        """Returns whether the ratio meets the target; `unclear` where the interval holds both answers."""
        if self.at_most is not None:
            met, missed = ratio.high <= self.at_most, ratio.low > self.at_most
        else:
            assert self.at_least is not None  # noqa: S101 - a target has one of the two
            met, missed = ratio.low >= self.at_least, ratio.high < self.at_least
        return "met" if met else "missed" if missed else "unclear"


TARGETS = (
    Target("cached", "labels", at_most=1.05),
    Target("labels", "keras_fit", at_most=0.7),
    Target("distiller", "cached", at_least=7.0),
    Target("torch_known", "cached", at_least=1.0),
)
OTHER_RATIOS = (
    ("cached_maps", "labels"),
    ("live", "labels"),
    ("live", "cached"),
    ("torch_live", "live"),
    ("torch_known", "labels"),
)


class Worker:
    """A process that trains when told to."""

    def __init__(self, command: list[str], log: Path, *, timeout_seconds: float) -> None:
        self._log, self._timeout = log, timeout_seconds
        variables = {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | variables,
                text=True,
            )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True).start()

    def answer(self) -> dict[str, Any]:
        """Waits for a line of JSON.

        Raises:
          ModelError: the process ended or said nothing for too long; the message has its last words.
        """
        try:
            line = self._answers.get(timeout=self._timeout)
        except queue.Empty:
            line = ""
        if not line:
            words = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
            raise ModelError("a measuring process gave no answer. Its last words:\n" + "\n".join(words))
        content: dict[str, Any] = json.loads(line)
        return content

    def turn(self, seconds: float) -> dict[str, Any]:
        """Lets the process train for a while and returns what it measured."""
        assert self._process.stdin is not None  # noqa: S101 - it was made with a pipe
        with contextlib.suppress(BrokenPipeError):  # it has ended: answer() tells its last words
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()


def _read(lines: IO[str] | None, answers: "queue.Queue[str]") -> None:
    assert lines is not None  # noqa: S101 - it was made with a pipe
    with contextlib.suppress(ValueError):  # closed while it was read: the process was ended
        for line in lines:
            answers.put(line)
    answers.put("")


def measure(
    variants: Sequence[str],
    *,
    pair: str,
    repetitions: int,
    blocks: int,
    seconds: float,
    samples: int,
    batch_size: int,
    student_width: int,
    teacher_width: int,
    warmup_seconds: float,
    torch_python: Path | None,
    timeout_seconds: float = 900.0,
) -> dict[str, Any]:
    """Runs the ways in turns and returns the report.

    Args:
      variants: keys of VARIANTS.
      pair: key of SHAPES.
      repetitions: fresh processes of each way; intervals need three.
      blocks: turns of each process, in an order that is shuffled for each.
      seconds: of a turn.
      samples: in the training split.
      batch_size: of a step.
      student_width: of the ResNet-8 that learns.
      teacher_width: of the one that teaches.
      warmup_seconds: of each process.
      torch_python: a Python with torch.
      timeout_seconds: longest silence of a process.
    """
    generator = np.random.default_rng(0)
    measured: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    facts: dict[str, Any] = {}
    noise = [environment.noise()]
    with tempfile.TemporaryDirectory(prefix="edgekd-training-") as name:
        folder = Path(name)
        data = _write_data(folder / "data.npz", SHAPES[pair], samples)
        for repetition in range(repetitions):
            with contextlib.ExitStack() as alive:
                workers = {}
                for variant in variants:
                    job = {
                        "variant": variant,
                        "data": str(data),
                        "cache": str(folder / "cache"),
                        "classes": 10,
                        "batch_size": batch_size,
                        "student_width": student_width,
                        "teacher_width": teacher_width,
                        "learning_rate": 0.01,
                        "momentum": 0.9,
                        "temperature": 4.0,
                        "soft_weight": 0.9,
                        "warmup_steps": 10,
                        "warmup_seconds": warmup_seconds,
                    }
                    worker = Worker(
                        _command(job, folder, torch_python), folder / f"{variant}.log", timeout_seconds=timeout_seconds
                    )
                    workers[variant] = alive.enter_context(contextlib.closing(worker))
                    facts[variant] = worker.answer()
                turns: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
                for _ in range(blocks):
                    for variant in generator.permutation(list(variants)):
                        turns[variant].append(workers[variant].turn(seconds))
            for variant, found in turns.items():
                measured[variant].append(
                    {"blocks_ms": [turn["ms"] for turn in found], "cpu_ms": [turn["cpu_ms"] for turn in found]}
                )
            print(f"repetition {repetition + 1} of {repetitions} done", file=sys.stderr)  # noqa: T201
    noise.append(environment.noise())
    return {
        "schema_version": SCHEMA_VERSION,
        "context": {"environment": environment.describe().model_dump(mode="json"), "noise_before_after": noise},
        "settings": {
            "pair": pair,
            "input_shape": SHAPES[pair],
            "batch_size": batch_size,
            "student_width": student_width,
            "teacher_width": teacher_width,
            "samples": samples,
            "repetitions": repetitions,
            "blocks": blocks,
            "seconds": seconds,
        },
        "variants": {
            variant: _variant(VARIANTS[variant], processes, facts[variant], batch_size)
            for variant, processes in measured.items()
        },
        "ratios": _ratios(measured),
    }


def _write_data(path: Path, shape: tuple[int, int, int], samples: int) -> Path:
    """Writes random images, labels and logits: what they show costs nothing more or less."""
    generator = np.random.default_rng(0)
    np.savez(
        path,
        images=generator.integers(0, 256, (samples, *shape), dtype=np.uint8),
        labels=generator.integers(0, 10, samples),
        logits=generator.normal(size=(samples, 10)).astype(np.float32),
    )
    return path


def _command(job: dict[str, Any], folder: Path, torch_python: Path | None) -> list[str]:
    variant = job["variant"]
    path = folder / f"{variant}.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    if variant in TORCH:
        return [str(torch_python), str(FOLDER / "training_torch.py"), str(path)]
    return [sys.executable, str(FOLDER / "training_variants.py"), str(path)]


def _medians(processes: Sequence[dict[str, Any]]) -> list[float]:
    return [float(np.median(np.concatenate(process["blocks_ms"]))) for process in processes]


def _variant(name: str, processes: list[dict[str, Any]], facts: dict[str, Any], batch_size: int) -> dict[str, Any]:
    medians = _medians(processes)
    interval = stats.log_interval(medians)
    median = float(np.median(medians))
    return {
        "name": name,
        **facts,
        "ms_per_step": median,
        "interval_ms": None if interval is None else interval.model_dump(mode="json"),
        "images_per_second": 1e3 * batch_size / median,
        "cpu_ms_per_step": float(np.median([np.median(process["cpu_ms"]) for process in processes])),
        "steps": sum(len(block) for process in processes for block in process["blocks_ms"]),
        "processes": processes,
    }


def _ratios(measured: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    pairs: list[tuple[str, str, Target | None]] = [(each.over, each.under, each) for each in TARGETS]
    pairs += [(over, under, None) for over, under in OTHER_RATIOS]
    found = []
    for over, under, target in pairs:
        if over not in measured or under not in measured:
            continue
        quotients = [a / b for a, b in zip(_medians(measured[over]), _medians(measured[under]), strict=True)]
        interval = stats.log_interval(quotients)
        found.append(
            {
                "over": over,
                "under": under,
                "ratio": float(np.median(quotients)),
                "interval": None if interval is None else interval.model_dump(mode="json"),
                "target": target.bound if target else None,
                "verdict": target.verdict(interval) if target and interval else None,
            }
        )
    return found


def table(report: dict[str, Any]) -> str:
    """Returns the report as Markdown."""
    lines = [
        "| training step | ms | 95 % interval | images/s | processor ms |",
        "|---|---|---|---|---|",
    ]
    for each in report["variants"].values():
        cells = [
            each["name"],
            f"{each['ms_per_step']:.1f}",
            _between(each["interval_ms"], 1),
            f"{each['images_per_second']:.0f}",
            f"{each['cpu_ms_per_step']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| ratio | value | 95 % interval | target | |", "|---|---|---|---|---|"]
    for each in report["ratios"]:
        name = f"{VARIANTS[each['over']]} / {VARIANTS[each['under']]}"
        cells = [name, f"{each['ratio']:.2f}", _between(each["interval"], 2), each["target"] or "–"]
        lines.append(f"| {' | '.join(cells)} | {each['verdict'] or '–'} |")
    return "\n".join(lines)


def _between(interval: dict[str, float] | None, digits: int) -> str:
    return "–" if interval is None else f"{interval['low']:.{digits}f}–{interval['high']:.{digits}f}"


def measure_cache(sizes: Sequence[int], *, repetitions: int, timeout_seconds: float = 3600.0) -> dict[str, Any]:
    """Measures filling and reading of the teacher cache in a fresh process for every size and repetition."""
    runs = []
    for _ in range(repetitions):
        for samples in sizes:
            with tempfile.TemporaryDirectory(prefix="edgekd-cache-") as folder:
                found = json.loads(
                    subprocess.run(
                        [sys.executable, str(FOLDER / "cache_scaling.py"), folder, str(samples)],
                        check=True,
                        stdout=subprocess.PIPE,
                        text=True,
                        timeout=timeout_seconds,
                    ).stdout
                )
            runs.append(found)
            print(f"{samples} samples done", file=sys.stderr)  # noqa: T201
    return {
        "schema_version": SCHEMA_VERSION,
        "context": {"environment": environment.describe().model_dump(mode="json")},
        "runs": runs,
    }


def cache_table(report: dict[str, Any]) -> str:
    """Returns the medians over repetitions as Markdown."""
    columns = {
        "fill_seconds": ("fill, s", "{:.2f}", 1.0),
        "fill_us_per_sample": ("fill, µs a sample", "{:.1f}", 1.0),
        "read_seconds": ("read an epoch, s", "{:.2f}", 1.0),
        "read_us_per_sample": ("read, µs a sample", "{:.2f}", 1.0),
        "fill_peak_mib": ("filling adds, MiB", "{:.1f}", 1.0),
        "read_peak_mib": ("reading adds, MiB", "{:.1f}", 1.0),
        "disk_mib": ("disk, MiB", "{:.1f}", 1.0),
    }
    lines = [f"| samples | {' | '.join(title for title, *_ in columns.values())} |", "|---" * (len(columns) + 1) + "|"]
    for samples in sorted({run["samples"] for run in report["runs"]}):
        runs = [run for run in report["runs"] if run["samples"] == samples]
        cells = [form.format(np.median([run[key] for run in runs])) for key, (_, form, _) in columns.items()]
        lines.append(f"| {samples:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=tuple(SHAPES), default="mnist", help="28x28x1 or 32x32x3 images")
    parser.add_argument("--variants", default="", help=f"comma-separated, of {', '.join(VARIANTS)}; all by default")
    parser.add_argument(
        "--torch-python", type=Path, help="a Python with torch and NumPy; else the PyTorch ways are left out"
    )
    parser.add_argument("--repetitions", type=int, default=5, help="fresh processes of each way (default 5)")
    parser.add_argument("--blocks", type=int, default=4, help="turns of each process (default 4)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn (default 3)")
    parser.add_argument("--warmup-seconds", type=float, default=2.0, help="of each process (default 2)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--samples", type=int, default=12_800, help="training samples (default 12800)")
    parser.add_argument("--student-width", type=int, default=8, help="of its ResNet-8: 8 has 20 k parameters")
    parser.add_argument("--teacher-width", type=int, default=60, help="of its ResNet-8: 60 has 1.09 M parameters")
    parser.add_argument("--cache", action="store_true", help="measure the teacher cache instead")
    parser.add_argument("--cache-samples", default="10000,100000,1000000", help="comma-separated numbers of samples")
    parser.add_argument("--from", type=Path, dest="earlier", help="print the tables of JSON that was printed before")
    parser.add_argument("--json", action="store_true", help="print JSON with every sample instead of tables")
    return parser.parse_args(words)


def _chosen(options: argparse.Namespace) -> tuple[str, ...]:
    names = tuple(filter(None, options.variants.split(","))) or tuple(
        variant for variant in VARIANTS if options.torch_python or variant not in TORCH
    )
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise RecipeError(f"unknown variants {', '.join(unknown)}. Known: {', '.join(VARIANTS)}.")
    if not options.torch_python and any(name in TORCH for name in names):
        raise RecipeError("the PyTorch ways need --torch-python, a Python in which torch and NumPy are installed.")
    return names


def main(words: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    options = _arguments(words)
    if options.earlier:
        report = json.loads(storage.require_file(options.earlier, "report").read_text(encoding="utf-8"))
        print(cache_table(report) if "runs" in report else table(report))  # noqa: T201
        return
    if options.cache:
        sizes = [int(size) for size in options.cache_samples.split(",")]
        report = measure_cache(sizes, repetitions=options.repetitions)
        print(json.dumps(report) if options.json else cache_table(report))  # noqa: T201
        return
    report = measure(
        _chosen(options),
        pair=options.pair,
        repetitions=options.repetitions,
        blocks=options.blocks,
        seconds=options.seconds,
        samples=options.samples,
        batch_size=options.batch_size,
        student_width=options.student_width,
        teacher_width=options.teacher_width,
        warmup_seconds=options.warmup_seconds,
        torch_python=options.torch_python,
    )
    print(json.dumps(report) if options.json else table(report))  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except EdgekdError as error:
        sys.exit(f"benchmark_training: {error}")
