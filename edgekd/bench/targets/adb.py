"""An Android phone, reached by adb://SERIAL: Google's benchmark_model, which you supply, measures there."""

import itertools
import re
import shlex
import signal
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekd import storage
from edgekd.bench import adb_device, benchmark_model, rounds
from edgekd.bench.adb_device import Device
from edgekd.bench.connection import UNWRITABLE_STATUS
from edgekd.bench.plan import Plan, make_plan
from edgekd.bench.samples import ProcessSummary
from edgekd.errors import ModelError, RecipeError, StorageError, TargetError, said_in
from edgekd.records import Machine

ALSO_TAKES = "edgekd.bench.plan.make_plan"
MODULES = {"adbutils": "edgekd[android]"}

# The program has its own inputs, runs them in one go, and starts on all cores.
_REFUSED = ("batch", "blocks", "inputs", "cores", "interval_ms", "minutes")
_WHERE_TO_GET = (
    "Google's benchmark_model for the phone's processor (https://developers.google.com/edge/litert/models/measurement, "
    "native benchmark binary)"
)
_CANNOT_RUN = (126, 127)  # a shell's exit statuses for a program that it cannot execute or that is not there
_CANNOT_LINK = "CANNOT LINK EXECUTABLE"  # words of Android's loader
_SIGNALLED = 128  # to which adbd adds the signal that ended a command


def measure(
    paths: Sequence[Path],
    plan: Plan,
    *,
    address: str = "",
    binary: str | None = None,
    peak_memory: bool = False,
    on_progress: rounds.OnProgress | None = None,
) -> Generator[rounds.Round, None, None]:
    """Yields what one run of benchmark_model for each model said, round after round.

    The program and the models are pushed to a new temporary folder on the phone. A round runs a fresh process of each
    model, in random order. The program gives statistics of its inferences, and no samples.

    Args:
      paths: .tflite files.
      plan: how to measure them. A process is one block of at least `min_runs` inferences and `min_block_ms`, after a
        warm-up of `min_warmup_seconds`.
      address: the serial number of the phone, as `adb devices` shows it.
      binary: the file of benchmark_model on this machine, built for the phone.
      peak_memory: whether the program watches its memory, in a thread that may disturb the inferences.
      on_progress: called with (steps done, steps in all, what was done); a step is a process.

    Raises:
      RecipeError: no serial number, no binary, or a setting that the program does not have.
      StorageError: a file is missing here, or cannot be written there.
      TargetError: the phone cannot be reached, cannot run the program, or its output is not understood.
      ModelError: a model cannot be measured; the message has the program's own words.
    """
    if not address.strip():
        raise RecipeError("'adb://' names no device: expected adb://SERIAL, with a serial number of `adb devices`.")
    if binary is None:
        raise RecipeError(
            f"target 'adb' needs {_WHERE_TO_GET}: download or build it, and give its file by the setting binary, such "
            "as --set binary=android_aarch64_benchmark_model."
        )
    _check(paths, plan)
    program = storage.require_file(Path(binary), "benchmark_model binary")
    return _rounds(paths, plan, address, program, peak_memory=peak_memory, on_progress=on_progress)


def _check(paths: Sequence[Path], plan: Plan) -> None:
    rounds.check(paths)
    defaults = make_plan()
    for name in _REFUSED:
        if getattr(plan, name) != getattr(defaults, name):
            raise RecipeError(
                f"target 'adb' does not take {name}={getattr(plan, name)!r}: benchmark_model has no such setting. It "
                "takes num_threads, processes, min_runs, min_block_ms, min_warmup_seconds, delegate and peak_memory."
            )
    for path in paths:
        if path.suffix.lower() != ".tflite":
            raise ModelError(f"{str(path)!r} cannot be measured by benchmark_model: it takes .tflite files.")


def _rounds(
    paths: Sequence[Path],
    plan: Plan,
    serial: str,
    program: Path,
    *,
    peak_memory: bool,
    on_progress: rounds.OnProgress | None,
) -> Generator[rounds.Round, None, None]:
    generator = np.random.default_rng(plan.seed)
    done, total = itertools.count(1), plan.processes * len(paths)
    with adb_device.connected(serial) as device:
        machine = device.machine()
        version = storage.sha256_file(program)[:12]
        there = device.write("benchmark_model", program, mode=0o755)
        graphs = {
            path: device.write(f"{index}-{re.sub(r'[^A-Za-z0-9._-]+', '-', path.name)}", path)
            for index, path in enumerate(paths)
        }
        commands = {
            path: shlex.join([there, *benchmark_model.options(plan, graph=graph, peak_memory=peak_memory)])
            for path, graph in graphs.items()
        }
        for _ in range(plan.processes):
            found: Mapping[Path, ProcessSummary] = {}
            for path in rounds.shuffled(paths, generator):
                found = {**found, path: _process(device, path, plan, commands[path], version=version, machine=machine)}
                if on_progress is not None:
                    on_progress(next(done), total, f"measured {path.name}")
            yield tuple(found[path] for path in paths)


def _process(device: Device, path: Path, plan: Plan, command: str, *, version: str, machine: Machine) -> ProcessSummary:
    """Runs the program once on one model."""
    subject = f"{str(path)!r} on {device.name}"
    # Noted for the keeper, which ends the process with the measurement.
    noted = f'echo >{shlex.quote(device.folder)}/"$$".pid || exit {UNWRITABLE_STATUS}; exec {command} 2>&1'
    status, output = device.run(noted, seconds=plan.timeout_seconds)
    if status == UNWRITABLE_STATUS:
        raise StorageError(
            f"cannot start benchmark_model on {device.name}: its temporary folder cannot be written"
            f"{said_in(output)}. Free space there and measure again."
        )
    if status in _CANNOT_RUN or _CANNOT_LINK in output:
        raise TargetError(
            f"{device.name} cannot run the given benchmark_model{benchmark_model.failure(output)}: take the one for "
            f"its processor, {machine.architecture}."
        )
    words = benchmark_model.failure(output)
    if status > _SIGNALLED:
        raise ModelError(
            f"cannot measure {subject}: benchmark_model was ended by {_signal(status - _SIGNALLED)}{words}. The file "
            "may be damaged, or need more memory than there is."
        )
    if status != 0:
        raise ModelError(
            f"cannot measure {subject}: benchmark_model failed{words}. Check that it is a "
            "whole .tflite file, of operators that this benchmark_model has."
        )
    found = benchmark_model.read(output, subject=subject)
    return ProcessSummary(
        schema_version=1,
        runtime="benchmark_model",
        runtime_version=version,
        delegate=found.delegate,
        num_threads=plan.num_threads,
        num_runs=found.num_runs,
        warmup_runs=found.warmup_runs,
        median_ms=found.median_ms,
        mean_ms=found.mean_ms,
        minimum_ms=found.minimum_ms,
        maximum_ms=found.maximum_ms,
        p5_ms=found.p5_ms,
        p95_ms=found.p95_ms,
        resolution_ms=benchmark_model.RESOLUTION_MS,
        first_inference_ms=found.first_inference_ms,
        ready_ms=found.ready_ms,
        peak_memory_bytes=found.peak_memory_bytes,
        machine=machine,
        command=command,
        output=output,
    )


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
