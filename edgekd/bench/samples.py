"""Raw measurements as records: what a worker prints and what is kept beside a Measurement."""

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from edgekd.errors import TargetError
from edgekd.records import Machine, Record, TensorSpec

SCHEMA_VERSION: Literal[1] = 1
Ended = Literal["processes", "precision", "seconds", "interrupted", "failed"]


class Cold(Record):
    """One fresh process before any warm-up; `allocate_ms` is None where loading includes it."""

    import_ms: float
    load_ms: float
    allocate_ms: float | None
    first_inference_ms: float

    @property
    def ready_ms(self) -> float:
        """Milliseconds from an imported runtime to a model that can be called."""
        return self.load_ms + (self.allocate_ms or 0.0)


class Block(Record):
    """One timed block, from `begin_ns` to `end_ns` after its process started.

    All its threads together used the processor for `cpu_ns`. `untimed_runs` are those of a sustained measurement of a
    short model between the timed ones. `clock_khz` and `max_clock_khz` are the clock rate at its end, and the highest
    possible, of the core that it ran on; None where the system does not show them. `loop_ns_per_run` is a short
    inference's time in a loop that holds no timer. `late_runs` counts, where runs start at fixed times, those that
    could not because the one before took too long.
    """

    samples_ns: tuple[int, ...] = pydantic.Field(min_length=1)
    begin_ns: int = 0
    end_ns: int | None = None
    untimed_runs: int = 0
    clock_khz: int | None = None
    max_clock_khz: int | None = None
    cpu_ns: int | None = None
    late_runs: int | None = None
    loop_ns_per_run: float | None
    voluntary_context_switches: int
    involuntary_context_switches: int


class SystemState(Record):
    """The machine at one moment, each None where the system does not show it; ticks count since it started."""

    load_1min: float
    steal_ticks: int | None
    total_ticks: int | None
    governor: str | None


class ProcessSamples(Record):
    """Everything that one worker process measured of one model; nothing is dropped.

    `operators` are the model's own, `delegated_operators` those of them that the delegate took, in
    `delegate_partitions` runs; None where the runtime does not say.
    """

    schema_version: Literal[1]
    runtime: str
    runtime_version: str
    delegate: str | None
    delegate_partitions: int | None = None
    operators: int | None = None
    delegated_operators: int | None = None
    num_threads: int
    inputs: tuple[TensorSpec, ...]
    cold: Cold
    warmup_runs: int
    warmup_seconds: float
    steady: bool | None
    blocks: tuple[Block, ...] = pydantic.Field(min_length=1)
    timer_overhead_ns: float
    peak_memory_bytes: int
    peak_memory_source: str
    memory_before_load_bytes: int | None
    machine: Machine
    python: str
    affinity_cores: tuple[int, ...] | None
    system_before: SystemState
    system_after: SystemState

    @property
    def first_inference_ms(self) -> float:
        """Milliseconds of the first inference."""
        return self.cold.first_inference_ms

    @property
    def ready_ms(self) -> float:
        """Milliseconds until the model could be called."""
        return self.cold.ready_ms

    @property
    def num_runs(self) -> int:
        """How many inferences were timed."""
        return sum(len(block.samples_ns) for block in self.blocks)

    @property
    def resolution_ms(self) -> float:
        """The step that samples are rounded to."""
        return 1e-6

    @property
    def blocks_ms(self) -> tuple[npt.NDArray[np.float64], ...]:
        """The samples of each block in milliseconds, one array [runs] each."""
        return tuple(np.array(block.samples_ns) / 1e6 for block in self.blocks)


class ProcessSummary(Record):
    """What a program that is not edgekd's says of one of its processes: statistics of its own, and no samples.

    Times are the program's, of `num_runs` inferences after the warm-up, and no finer than `resolution_ms`. What it does
    not say is None, and `output` is all that it printed. `runtime_version` tells builds of the program apart.
    """

    schema_version: Literal[1]
    runtime: str
    runtime_version: str
    delegate: str | None
    operators: int | None = None
    delegated_operators: int | None = None
    num_threads: int
    num_runs: int = pydantic.Field(ge=1)
    warmup_runs: int
    median_ms: float
    mean_ms: float
    minimum_ms: float
    maximum_ms: float
    p5_ms: float
    p95_ms: float
    resolution_ms: float
    first_inference_ms: float
    ready_ms: float
    peak_memory_bytes: int | None
    machine: Machine
    command: str
    output: str


Process = ProcessSamples | ProcessSummary
"""What is known of one process of one model. All processes of a measurement are of one kind."""


def sampled(processes: Sequence[Process]) -> tuple[ProcessSamples, ...]:
    """Returns the processes that kept their samples: all of a measurement, or none."""
    return tuple(each for each in processes if isinstance(each, ProcessSamples))


def summarised(processes: Sequence[Process]) -> tuple[ProcessSummary, ...]:
    """Returns the processes of which only statistics are known: all of a measurement, or none."""
    return tuple(each for each in processes if isinstance(each, ProcessSummary))


class RawSamples(Record):
    """The file that a Measurement's `samples_path` names: one model on one target, process by process."""

    schema_version: Literal[1] = SCHEMA_VERSION
    artifact: str
    sha256: str
    target: str
    num_threads: int
    batch: int | None = None
    settings: dict[str, bool | int | float | str | tuple[int, ...] | None]
    ended: Ended = "processes"
    processes: tuple[Process, ...] = pydantic.Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _of_one_thing(self) -> Self:
        """Raises TargetError where a process ran elsewhere or otherwise: their numbers are not those of one thing."""
        first = self.processes[0]
        for each in self.processes[1:]:
            for what, other in _identity(each).items():
                if other != (expected := _identity(first)[what]):
                    raise TargetError(
                        f"the processes that measured {self.artifact!r} on {self.target!r} differ in their {what}: "
                        f"{expected} and {other}. Measure again, with nothing installed or changed meanwhile."
                    )
        return self


def _identity(process: Process) -> dict[str, object]:
    """Returns what must be the same for all processes of a measurement."""
    machine = process.machine
    return {
        "machine": f"{machine.cpu}, {machine.architecture}, {machine.logical_cores} cores",
        "system": machine.system,
        "runtime": f"{process.runtime} {process.runtime_version}",
        "delegate": process.delegate,
        "number of operators in the delegate": process.delegated_operators,
        "number of threads": process.num_threads,
    }
