"""How a target measures latency: the settings that all of them share, checked once."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from edgekd import storage
from edgekd.errors import RecipeError

Mode = Literal["back_to_back", "periodic", "sustained"]
DELEGATES = ("xnnpack", "none")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_MS_PER_MINUTE = 60_000.0
_MOST_COUNT = 2**31 - 1  # what the runtimes' interfaces take
_BLOCK_MS, _SUSTAINED_BLOCK_MS, _SUSTAINED_BLOCKS = 50.0, 1000.0, 20
_MOST_MINUTES = 1440.0
_MOST_SAMPLES = 2_000_000  # of a sustained measurement: half a gigabyte in the memory of whoever reads them
_MOST_SAMPLES_PER_BLOCK = 1000  # of those, for the 99th percentile of a second
_MOST_SECONDS = 1e6  # eleven days; the system's waiting functions take no number of seconds whatever


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `make_plan` takes, checked; see there."""

    num_threads: int
    processes: int
    blocks: int
    min_runs: int
    min_block_ms: float
    min_warmup_seconds: float
    max_warmup_seconds: float
    timeout_seconds: float
    seed: int
    inputs: str | None
    batch: int | None
    cores: tuple[int, ...] | None
    delegate: str | None
    interval_ms: float | None
    minutes: float | None

    @property
    def mode(self) -> Mode:
        """How the timed runs follow each other."""
        if self.minutes is not None:
            return "sustained"
        return "back_to_back" if self.interval_ms is None else "periodic"

    def shortest(self) -> "Plan":
        """Returns the plan that only shows whether the models can be measured so."""
        return dataclasses.replace(
            self,
            processes=1,
            blocks=1,
            min_runs=1,
            min_block_ms=0.0,
            min_warmup_seconds=0.0,
            max_warmup_seconds=0.0,
            interval_ms=None,
            minutes=None,
        )

    def variables(self) -> dict[str, str]:
        """Returns the environment variables that a worker gets, wherever it runs."""
        threads = dict.fromkeys(_THREAD_VARIABLES, str(self.num_threads))
        # The worker's folder must not be searched for modules: a neighbour could hide a package of the same name.
        return {**threads, "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

    def job(self) -> dict[str, Any]:
        """Returns the worker's job, without the model."""
        most_runs = None
        if self.minutes is not None:
            blocks = max(self.minutes * _MS_PER_MINUTE / max(self.min_block_ms, 1.0), 1.0)
            most_runs = max(self.min_runs, min(_MOST_SAMPLES_PER_BLOCK, int(_MOST_SAMPLES / blocks)))
        return {
            "num_threads": self.num_threads,
            "seed": self.seed,
            "inputs": self.inputs,
            "batch": self.batch,
            "cores": None if self.cores is None else list(self.cores),
            "delegate": self.delegate,
            "interval_ms": self.interval_ms,
            "blocks": None,
            "min_runs": self.min_runs,
            "min_block_ms": self.min_block_ms,
            "most_runs": most_runs,
            "min_warmup_seconds": self.min_warmup_seconds,
            "max_warmup_seconds": self.max_warmup_seconds,
        }


def make_plan(
    *,
    num_threads: int = 1,
    processes: int = 5,
    blocks: int = 4,
    min_runs: int = 25,
    min_block_ms: float | None = None,
    min_warmup_seconds: float = 0.5,
    max_warmup_seconds: float = 5.0,
    timeout_seconds: float = 120.0,
    seed: int = 0,
    inputs: str | None = None,
    batch: int | None = None,
    cores: Sequence[int] | None = None,
    delegate: str | None = None,
    interval_ms: float | None = None,
    minutes: float | None = None,
) -> Plan:
    """Returns the checked settings of a measurement.

    Args:
      num_threads: of the runtime, >= 1.
      processes: fresh processes per model; an interval needs three. A sustained measurement uses one.
      blocks: timed blocks per process.
      min_runs: least runs of a block.
      min_block_ms: least duration of a block, milliseconds; by default 50, of a sustained measurement 1000.
      min_warmup_seconds: least warm-up of each process.
      max_warmup_seconds: most warm-up, where the model does not become steady.
      timeout_seconds: longest time that one step of a process may take.
      seed: of the order of the blocks and of the random inputs.
      inputs: .npz file with one array per input name, instead of random inputs.
      batch: size of the first dimension of every input, or None: as the model says, 1 where it may vary.
      cores: the processor cores that the workers are pinned to, or None.
      delegate: for LiteRT: `xnnpack` (refused where it takes no operator), `none`, or None for LiteRT's own choice,
        which is XNNPACK where it helps.
      interval_ms: a run starts every so many milliseconds (periodic), as with a camera; None: one after the other.
      minutes: measure each model for so long in one process, to see whether it slows down (sustained); at most a day.
        Of a short model's runs about a thousand a second are timed.

    Raises:
      RecipeError: a setting is out of range, or two exclude each other.
      StorageError: there is no such input file.
    """
    _check_counts(num_threads=num_threads, processes=processes, blocks=blocks, min_runs=min_runs)
    if batch is not None:
        _check_counts(batch=batch)
    if min_block_ms is None:
        share = (
            _BLOCK_MS if minutes is None or not _is_finite(minutes) else minutes * _MS_PER_MINUTE / _SUSTAINED_BLOCKS
        )
        min_block_ms = min(max(share, _BLOCK_MS), _SUSTAINED_BLOCK_MS)
    _check_times(min_block_ms, min_warmup_seconds, max_warmup_seconds, timeout_seconds)
    _check_cores(cores)
    if delegate is not None and delegate not in DELEGATES:
        raise RecipeError(f"delegate is {delegate!r}: expected {' or '.join(map(repr, DELEGATES))}.")
    for name, value in (("interval_ms", interval_ms), ("minutes", minutes)):
        if value is not None and not (_is_finite(value) and value > 0):
            raise RecipeError(f"{name} is {value!r}: expected a number above 0.")
    if minutes is not None and minutes > _MOST_MINUTES:
        raise RecipeError(f"minutes is {minutes:g}: at most {_MOST_MINUTES:g} are measured, which is a day.")
    if interval_ms is not None and max((min_runs + 4) * interval_ms, min_block_ms) > timeout_seconds * 1e3:
        raise RecipeError(
            f"a block of {min_runs} runs every {interval_ms:g} ms takes longer than timeout_seconds="
            f"{timeout_seconds:g}: lower min_runs or raise the timeout."
        )
    if minutes is not None and interval_ms is not None:
        raise RecipeError("minutes and interval_ms exclude each other: measure sustained or periodic.")
    if minutes is not None and min_block_ms > minutes * _MS_PER_MINUTE:
        raise RecipeError(f"min_block_ms={min_block_ms:g} is longer than minutes={minutes:g}: lower it.")
    if inputs is not None:
        storage.require_file(Path(inputs), "input file")
    return Plan(
        num_threads=num_threads,
        processes=processes if minutes is None else 1,
        blocks=blocks,
        min_runs=min_runs,
        min_block_ms=min_block_ms,
        min_warmup_seconds=min_warmup_seconds,
        max_warmup_seconds=max_warmup_seconds,
        timeout_seconds=timeout_seconds,
        seed=seed,
        inputs=inputs,
        batch=batch,
        cores=None if cores is None else tuple(cores),
        delegate=delegate,
        interval_ms=interval_ms,
        minutes=minutes,
    )


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise RecipeError(f"{name} is {count!r}: expected a whole number of at least 1.")
        if count > _MOST_COUNT:
            raise RecipeError(f"{name} is {count!r}: expected at most {_MOST_COUNT:,}.")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_times(min_block_ms: float, min_warmup_seconds: float, max_warmup_seconds: float, timeout: float) -> None:
    times = (min_block_ms, min_warmup_seconds, max_warmup_seconds, timeout)
    if (
        not all(_is_finite(time) for time in times)
        or min(times) < 0
        or min_warmup_seconds > max_warmup_seconds
        or not 0 < timeout <= _MOST_SECONDS
    ):
        raise RecipeError(
            f"received min_block_ms={min_block_ms!r}, min_warmup_seconds={min_warmup_seconds!r}, max_warmup_seconds="
            f"{max_warmup_seconds!r}, timeout_seconds={timeout!r}: expected times that are not negative, a timeout "
            "above 0 (at most 1e6) and a least warm-up that is not above the most."
        )


def _check_cores(cores: Sequence[int] | None) -> None:
    if cores is None:
        return
    whole = all(isinstance(core, int) and not isinstance(core, bool) and core >= 0 for core in cores)
    if not cores or not whole or len(set(cores)) < len(cores):
        raise RecipeError(f"cores is {list(cores)}: expected different core numbers from 0, at least one.")
