"""Arm's kernels under QEMU's emulation: outputs against this machine's, and never a time."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any, cast

from edgekd import runtime
from edgekd.bench import differing, worker
from edgekd.errors import ModelError, RecipeError
from edgekd.records import ParityFindings
from edgekd.runtime.qemu_aarch64 import QemuRunner
from edgekd.runtime.runner import Array, Runner

SUFFIXES = (".tflite", ".onnx")
PROGRAMS = {"qemu-aarch64|qemu-aarch64-static": "QEMU's user-mode emulation, Debian: qemu-user"}
FOLDERS = {"sysroot": ("EDGEKD_AARCH64_SYSROOT", "an Arm Python with NumPy and a runtime, see docs/bench-targets.md")}

_PACKAGES = {".tflite": "ai-edge-litert", ".onnx": "onnxruntime"}
_DELEGATES = {None: None, "xnnpack": True, "none": False}


def compare(
    path: Path,
    *,
    sysroot: str | None = None,
    python: str | None = None,
    cpu: str = "cortex-a76",
    delegate: str | None = None,
    samples: int = 8,
    seed: int = 0,
) -> ParityFindings:
    """Returns how far a file's outputs in an Arm Python are from those of the same kind of kernels here.

    Args:
      path: a TFLite or ONNX file.
      sysroot: a folder with the Arm Python and its libraries; by default what EDGEKD_AARCH64_SYSROOT names.
      python: the interpreter in that folder; by default the newest in `usr/bin`.
      cpu: the processor, as `qemu-aarch64 -cpu help` names them; it decides which kernels a runtime chooses.
      delegate: for a TFLite file: `xnnpack`, `none` for the built-in kernels, or None for the runtimes' own choice.
      samples: how many random inputs are compared.
      seed: of the inputs.

    Raises:
      RecipeError: fewer than one sample, or an unknown delegate.
      TargetError: there is no emulator or no Arm Python that works.
      ModelError: the file cannot be run here or there, or makes NaN or infinity.
    """
    if samples < 1:
        raise RecipeError(f"samples is {samples}: expected at least 1, or nothing is compared.")
    if delegate not in _DELEGATES:
        raise RecipeError(f"delegate is {delegate!r}: expected 'xnnpack', 'none' or null.")
    suffix, xnnpack = path.suffix.lower(), _DELEGATES[delegate]
    if suffix == ".onnx" and delegate is not None:
        raise RecipeError(f"delegate {delegate!r} is LiteRT's; an .onnx file is run without one.")
    here: dict[str, Any] = {} if suffix == ".onnx" else {"xnnpack": xnnpack is not False}
    there: dict[str, Any] = {"sysroot": sysroot, "python": python, "cpu": cpu, "xnnpack": xnnpack}
    with (
        runtime.open_runner(path, runtime="qemu_aarch64", **there) as candidate,
        runtime.open_runner(path, **here) as reference,
    ):
        seen = [differing.Differences(spec) for spec in reference.outputs]
        for number in range(samples):
            arrays = _inputs(reference, seed + number)
            for runner in (candidate, reference):
                runner.reset()
            found, expected = candidate.run(arrays), reference.run(arrays)
            seen = [each.plus(*pair) for each, *pair in zip(seen, expected, found, strict=True)]
        arm = cast(QemuRunner, candidate).arm
    package = _PACKAGES[suffix]
    return ParityFindings(
        emulator=arm.emulator,
        cpu=arm.cpu,
        runtime=arm.runtime,
        delegate=arm.delegate,
        python=arm.python,
        numpy=arm.numpy,
        reference=f"{package} {importlib.metadata.version(package)}, {platform.machine()}",
        samples=samples,
        seed=seed,
        outputs=tuple(each.record(path.name) for each in seen),
    )


def _inputs(runner: Runner, seed: int) -> list[Array]:
    specs = [{"name": each.name, "shape": list(each.shape), "dtype": each.dtype} for each in runner.inputs]
    try:
        return worker.make_inputs(specs, {"seed": seed})
    except worker.RefusedError as error:
        raise ModelError(f"{error}.") from error
