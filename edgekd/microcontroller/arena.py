"""How much memory TFLM needs for a model, found by running it in a child process."""

import importlib.util
from pathlib import Path

from edgekd import child_process
from edgekd.errors import ModelError


def arena_bytes(path: Path) -> int:
    """Returns the smallest tensor arena, a multiple of 16 bytes, in which TFLM of this machine runs a TFLite file.

    It is measured with TFLM's recording allocator on a 64-bit machine, whose pointers are twice as long as a
    microcontroller's: a 32-bit target needs somewhat less. Kernels of a vendor's library may ask for scratch memory
    that the reference kernels do not need.

    Raises:
      ModelError: the package tflite-micro is not installed, or TFLM cannot run the file.
    """
    require_installed()
    return int(child_process.require_passes(path, module="edgekd.microcontroller.arena_probe"))


def require_installed() -> None:
    """Raises ModelError unless the package tflite-micro is there."""
    if not is_installed():
        raise ModelError(
            "the package tflite-micro, which finds the arena's size, is not installed: pip install "
            "'edgekd[microcontroller]'."
        )


def require_runs(path: Path) -> None:
    """Raises ModelError unless TFLM runs a TFLite file once, in an arena as large as it takes."""
    child_process.require_passes(path, module="edgekd.microcontroller.trial_probe")


def is_installed() -> bool:
    """Returns whether the package tflite-micro is there."""
    return importlib.util.find_spec("tflite_micro") is not None
