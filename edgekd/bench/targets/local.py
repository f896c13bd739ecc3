"""This machine: fresh processes, and the models' blocks shuffled so that a disturbance meets all of them alike."""

import contextlib
import itertools
import json
import math
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import numpy as np
import pydantic

from edgekd import child_process, storage
from edgekd.bench import worker
from edgekd.bench.samples import ProcessSamples
from edgekd.errors import ModelError, RecipeError

# What a Python process needs to start and to find the same packages; all else could change what is measured.
_KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "SYSTEMROOT",
    "TMPDIR",
    "VIRTUAL_ENV",
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_LINES_KEPT = 20

_Thing = TypeVar("_Thing")


def measure(
    paths: Sequence[Path],
    *,
    num_threads: int = 1,
    processes: int = 5,
    blocks: int = 4,
    min_runs: int = 25,
    min_block_ms: float = 50.0,
    min_warmup_seconds: float = 0.5,
    max_warmup_seconds: float = 5.0,
    timeout_seconds: float = 120.0,
    seed: int = 0,
    inputs: str | None = None,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> tuple[tuple[ProcessSamples, ...], ...]:
    """Returns, per model, what each of its fresh processes measured.

    One round starts one process per model, warms each up, then runs their blocks in an order that is shuffled anew for
    every block. Only one process works at any time. There are as many rounds as `processes`.

    Args:
      paths: .tflite and .onnx files.
      num_threads: of the runtime, >= 1.
      processes: fresh processes per model; an interval needs three.
      blocks: timed blocks per process.
      min_runs: least runs of a block.
      min_block_ms: least duration of a block, milliseconds.
      min_warmup_seconds: least warm-up of each process.
      max_warmup_seconds: most warm-up, where the model does not become steady.
      timeout_seconds: longest time that one step of a process may take.
      seed: of the order of the blocks and of the random inputs.
      inputs: .npz file with one array per input name, instead of random inputs.
      on_progress: called with (steps done, steps in all, what was done); a step is a warm-up or a block.

    Raises:
      RecipeError: a setting is out of range, or a model is named twice.
      StorageError: there is no such input file.
      ModelError: a model cannot be measured; the message has the runtime's own words.
    """
    _check(num_threads=num_threads, processes=processes, blocks=blocks, min_runs=min_runs)
    _check_times(min_block_ms, min_warmup_seconds, max_warmup_seconds, timeout_seconds)
    if not paths or len(set(paths)) < len(paths):
        raise RecipeError(
            f"received {len(paths)} models, {len(set(paths))} of them different: name at least one, once."
        )
    if inputs is not None:
        storage.require_file(Path(inputs), "input file")
    job = {
        "num_threads": num_threads,
        "seed": seed,
        "inputs": inputs,
        "blocks": None,
        "min_runs": min_runs,
        "min_block_ms": min_block_ms,
        "min_warmup_seconds": min_warmup_seconds,
        "max_warmup_seconds": max_warmup_seconds,
    }
    generator = np.random.default_rng(seed)
    rounds = []
    steps, total = itertools.count(1), processes * len(paths) * (1 + blocks)

    def report(path: Path, what: str) -> None:
        if on_progress is not None:
            on_progress(next(steps), total, f"{what} {path.name}")

    for _ in range(processes):
        with contextlib.ExitStack() as alive:
            workers = {}
            for path in _shuffled(paths, generator):
                workers[path] = alive.enter_context(_started(path, job, timeout_seconds))
                workers[path].ask("warm-up")
                report(path, "warmed up")
            for _ in range(blocks):
                for path in _shuffled(paths, generator):
                    workers[path].ask("block")
                    report(path, "measured")
            rounds.append([workers[path].finish() for path in paths])
    return tuple(zip(*rounds, strict=True))


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise RecipeError(f"{name} is {count!r}: expected a whole number of at least 1.")


def _check_times(min_block_ms: float, min_warmup_seconds: float, max_warmup_seconds: float, timeout: float) -> None:
    times = (min_block_ms, min_warmup_seconds, max_warmup_seconds, timeout)
    numbers = all(
        isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time) for time in times
    )
    if not numbers or min(times) < 0 or min_warmup_seconds > max_warmup_seconds or timeout == 0:
        raise RecipeError(
            f"received min_block_ms={min_block_ms!r}, min_warmup_seconds={min_warmup_seconds!r}, max_warmup_seconds="
            f"{max_warmup_seconds!r}, timeout_seconds={timeout!r}: expected times that are not negative, a timeout "
            "above 0 and a least warm-up that is not above the most."
        )


def _shuffled(things: Sequence[_Thing], generator: np.random.Generator) -> list[_Thing]:
    return [things[index] for index in generator.permutation(len(things))]


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[bytes], path: Path, timeout_seconds: float) -> None:
        self._process = process
        self._commands = cast(IO[str], process.stdin)
        self._lines = cast(IO[str], process.stdout)
        self._errors = errors
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, command: str) -> dict[str, Any]:
        """Sends one command and returns its answer."""
        # A worker that has died cannot be written to: answer() then says what it died of.
        with contextlib.suppress(BrokenPipeError):
            self._commands.write(command + "\n")
            self._commands.flush()
        return self.answer(command)

    def answer(self, step: str) -> dict[str, Any]:
        """Waits for the next answer.

        Raises:
          ModelError: the worker died, or did not answer in time.
        """
        try:
            line = self._answers.get(timeout=self._timeout_seconds)
        except queue.Empty:
            raise ModelError(
                f"measuring {str(self._path)!r} did not end within {self._timeout_seconds:g} s (step {step!r}): the "
                "model hangs or is very slow. Raise timeout_seconds, or lower min_runs."
            ) from None
        if not line:
            raise ModelError(self._cause_of_death(step))
        received: dict[str, Any] = json.loads(line)
        return received

    def finish(self) -> ProcessSamples:
        """Returns the worker's whole document."""
        document = self.ask("finish")
        try:
            return ProcessSamples.model_validate(document)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise ModelError(
                f"measuring {str(self._path)!r} gave an unexpected value for {first['loc']}: {first['msg']}. "
                "Install edgekd anew: its worker and its library do not fit together."
            ) from error

    def close(self) -> None:
        """Ends the process if it still runs, and frees what belongs to it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._commands, self._lines):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _read(self) -> None:
        for line in self._lines:
            self._answers.put(line)
        self._answers.put("")

    def _cause_of_death(self, step: str) -> str:
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines()[-_LINES_KEPT:]]
        last = next((line for line in reversed(lines) if line), "no message")
        if status < 0:
            return (
                f"cannot measure {str(self._path)!r}: its process was killed by {signal.Signals(-status).name} in step "
                f"{step!r} (last message: {last}). The file may be damaged, or need more memory than a "
                "child process may use: export it again."
            )
        if status == worker.REFUSED_STATUS:
            return f"cannot measure {str(self._path)!r}: {last.removesuffix('.')}."
        return (
            f"cannot measure {str(self._path)!r}: {last.removesuffix('.')}. Check that it is a whole .tflite or .onnx "
            "file of built-in operators, or export it again."
        )


@contextlib.contextmanager
def _started(path: Path, job: dict[str, Any], timeout_seconds: float) -> Iterator[_Worker]:
    """Yields a worker that has loaded its model and run it once; it is gone when the block ends, however it ends."""
    with tempfile.TemporaryDirectory(prefix="edgekd-bench-") as folder, tempfile.TemporaryFile() as errors:
        job_path = Path(folder, "job.json")
        job_path.write_text(json.dumps({**job, "model": str(path.resolve())}), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(Path(worker.__file__).resolve()), str(job_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(job["num_threads"]),
            text=True,
            encoding="utf-8",
            start_new_session=True,  # the terminal's Ctrl-C goes to this process alone, which ends its workers
        )
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            child_process.limit_memory(process.pid)
        with contextlib.closing(_Worker(process, errors, path, timeout_seconds)) as started:
            started.answer("load")
            yield started


def _environment(num_threads: int) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    threads = dict.fromkeys(_THREAD_VARIABLES, str(num_threads))
    # The worker's folder must not be searched for modules: a neighbour there could hide a package of the same name.
    return {**kept, **threads, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
