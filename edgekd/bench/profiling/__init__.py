"""Where the time of an inference goes, operator by operator, by the runtimes' own profilers.

`profile_model` runs a file in fresh child processes, since LiteRT's profiler is reached through its C interface. What a
runtime fuses is one operator here, with the name that the runtime gives it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts are imported when they are used

from edgekd import external_data, storage
from edgekd.child_process import Child, Limits
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Interval, OperatorTime, Profile

__all__ = ["SUFFIXES", "OperatorTime", "Profile", "profile_model"]

SUFFIXES = (".tflite", ".onnx")
MAX_DIFFERENCE = 0.10
_PROBE = "edgekd.bench.profiling.probe"
_CONFIDENCE = 0.95


def profile_model(
    path: Path | str,
    *,
    processes: int = 5,
    runs: int = 100,
    seed: int = 0,
    inputs: Path | str | None = None,
    batch: int | None = None,
    limits: Limits | None = None,
) -> Profile:
    """Returns the time of each operator of a `.tflite` or `.onnx` file, on one thread of this machine.

    Args:
      path: the file.
      processes: fresh processes; an interval needs at least two.
      runs: profiled inferences of each, after as many that are not.
      seed: of the random inputs.
      inputs: an .npz file with one array for each input, as `edgekd.bench.measure` takes it, instead of random inputs.
        Sizes that the model leaves open are those of its arrays.
      batch: size of the first dimension of every input; None: as the model says, 1 where it may vary.
      limits: of each process; by default `child_process.default_limits`.

    Raises:
      RecipeError: a number below 1.
      StorageError: a file does not exist.
      ModelError: the suffix is another, the inputs do not fit, or the runtime cannot run the file or its profiler gives
        no events.
    """
    path = Path(path)
    for name, value in (("processes", processes), ("runs", runs), *(() if batch is None else (("batch", batch),))):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RecipeError(f"{name} is {value!r}: expected a whole number of at least 1.")
    storage.require_file(path, "model")
    if path.suffix.lower() not in SUFFIXES:
        raise ModelError(f"{str(path)!r} cannot be profiled: expected a file that ends in {' or '.join(SUFFIXES)}.")
    given = None if inputs is None else str(storage.require_file(Path(inputs), "input file").resolve())
    job = {"model": str(path.resolve()), "seed": seed, "inputs": given, "batch": batch}
    measured = [_asked(path, job, runs, limits) for _ in range(processes)]
    first = measured[0]
    keys = [[(each["name"], each["in_delegate"]) for each in one["operators"]] for one in measured]
    if any(each != keys[0] for each in keys):
        raise ModelError(f"{str(path)!r} runs other operators in another process: it cannot be profiled.")
    times = np.array([[each["mean_us"] for each in one["operators"]] for one in measured])  # [processes, operators]
    whole = np.array([one["whole_us"] for one in measured])
    parts = float(times.sum(axis=1).mean() / whole.mean())
    lost = len(keys[0]) * first["resolution_us"] / float(whole.mean())
    return Profile(
        model=path.name,
        sha256=external_data.sha256(path, external_data.beside(path)),
        runtime=first["runtime"],
        processes=processes,
        runs=runs,
        whole_us=_interval(whole),
        plain_us=_interval(np.array([one["plain_us"] for one in measured])),
        operators=_operators(first["operators"], times, float(whole.mean())),
        share_of_operators=parts,
        share_lost_to_rounding=lost,
        adds_up=_adds_up(parts, lost, len(keys[0])),
    )


def _adds_up(share: float, lost: float, operators: int) -> bool | None:
    """Returns whether operators add up to the whole within 10 %, None where rounding hides that.

    Rounding down takes half a step from an operator on average, with the standard deviation of a uniform distribution.

    Args:
      share: the operators' sum over the whole.
      lost: the most that rounding takes, a step of every operator, over the whole.
      operators: how many there are.
    """
    expected, deviation = lost / 2, lost / math.sqrt(12 * operators)
    if expected > MAX_DIFFERENCE:
        return None
    return abs(share + expected - 1) <= MAX_DIFFERENCE + 2 * deviation


def _asked(path: Path, job: dict[str, Any], runs: int, limits: Limits | None) -> dict[str, Any]:
    child = Child(_PROBE, limits=limits)
    try:
        answer, _ = child.ask({"job": job, "runs": runs}, path=path, doing="profiled", hint="Use fewer runs.")
    finally:
        child.close()
    found: dict[str, Any] = answer
    return found


def _operators(
    described: Sequence[dict[str, Any]], times: npt.NDArray[np.float64], whole_us: float
) -> tuple[OperatorTime, ...]:
    return tuple(
        OperatorTime(
            number=number,
            operator=each["name"],
            place=each["place"],
            in_delegate=each["in_delegate"],
            time_us=_interval(times[:, number]),
            share=float(times[:, number].mean() / whole_us),
        )
        for number, each in enumerate(described)
    )


def _interval(values: npt.NDArray[np.float64]) -> Interval:
    """Returns the mean of process means with a t-interval; a time that is often 0 has no logarithm."""
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(value=mean, low=mean, high=mean, confidence=0.0)
    half = float(
        scipy.special.stdtrit(len(values) - 1, (1 + _CONFIDENCE) / 2) * values.std(ddof=1) / math.sqrt(len(values))
    )
    return Interval(value=mean, low=max(mean - half, 0.0), high=mean + half, confidence=_CONFIDENCE)
