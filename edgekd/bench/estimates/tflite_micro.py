"""TensorFlow Lite for Microcontrollers on this machine: arena, operators, and outputs against LiteRT's kernels."""

import importlib.metadata
from pathlib import Path

import numpy as np

from edgekd import inspect, microcontroller, runtime
from edgekd.bench import worker
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Figures
from edgekd.runtime import Runner

SUFFIXES = (".tflite",)
MODULES = {"tflite_micro": "edgekd[microcontroller]"}

_NO_KERNEL = "TensorFlow Lite for Microcontrollers has no kernel for"


def estimate(path: Path, *, samples: int = 8, seed: int = 0) -> Figures:
    """Returns the arena that TFLM needs for a file, and how far its outputs are from those of LiteRT's kernels.

    Args:
      path: a TFLite file.
      samples: how many random inputs are compared.
      seed: of the inputs.

    Raises:
      RecipeError: fewer than one sample.
      ModelError: tflite-micro is not installed, or TFLM lacks an operator or cannot run the file.
    """
    if samples < 1:
        raise RecipeError(f"samples is {samples}: expected at least 1, or nothing is compared.")
    microcontroller.require_installed()
    inspection = inspect.inspect_model(path)
    lacking = microcontroller.lacking(each.operator for each in inspection.operators)
    if lacking:
        raise ModelError(f"{_NO_KERNEL} {', '.join(lacking)}: rebuild {path.name!r} with other layers.")
    arena_bytes = microcontroller.arena_bytes(path)
    lsb, max_abs, differing = _differences(path, samples, seed)
    return Figures(
        tool=f"TFLM {importlib.metadata.version('tflite-micro')}",
        configuration={"samples": samples, "seed": seed},
        macs=inspection.macs,
        arena_bytes=arena_bytes,
        output_lsb=lsb,
        output_max_abs=max_abs,
        differing_outputs=differing,
        notes=("The arena is that of a 64-bit machine: a microcontroller's pointers are half as long.",),
    )


def _differences(path: Path, samples: int, seed: int) -> tuple[int | None, float | None, float]:
    """Returns the largest differences of integer and of float outputs, and the share of values that differ."""
    lsb: int | None = None
    max_abs: float | None = None
    differing = compared = 0
    with (
        runtime.open_runner(path, runtime="tflite_micro") as candidate,
        runtime.open_runner(path, runtime="litert_builtin") as reference,
    ):
        for number in range(samples):
            arrays = _inputs(candidate, seed + number)
            for runner in (candidate, reference):
                runner.reset()
            for ours, theirs in zip(candidate.run(arrays), reference.run(arrays), strict=True):
                compared += ours.size
                differing += int(np.count_nonzero(ours != theirs))
                if ours.dtype.kind in "iu":
                    distance = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
                    lsb = max(lsb or 0, int(distance.max(initial=0)))
                else:
                    distance = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
                    if not np.isfinite(distance).all():
                        raise ModelError(f"{path.name!r} makes NaN or infinity of random inputs: nothing is compared.")
                    max_abs = max(max_abs or 0.0, float(distance.max(initial=0.0)))
    if not compared:
        raise ModelError(f"{path.name!r} has no outputs to compare.")
    return lsb, max_abs, differing / compared


def _inputs(runner: Runner, seed: int) -> list[np.ndarray]:
    specs = [{"name": each.name, "shape": list(each.shape), "dtype": each.dtype} for each in runner.inputs]
    try:
        return worker.make_inputs(specs, {"seed": seed})
    except worker.RefusedError as error:
        raise ModelError(f"{error}.") from error
