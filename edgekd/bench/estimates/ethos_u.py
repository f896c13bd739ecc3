"""Arm Ethos-U NPUs: cycles, time and memory as Vela reckons them, and the operators that it leaves to the CPU."""

import importlib.metadata
import tempfile
from pathlib import Path

from edgekd import storage
from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.microcontroller import vela
from edgekd.records import Bounded, Figures

SUFFIXES = (".tflite",)
MODULES = {"ethosu": "edgekd[microcontroller]"}

_KIB = 1024
_OF_CONFIGURATION = ("ConfigOptionError", "CliOptionError", "InputFileError")  # Vela's errors
_WITH_VELA = "Arm/vela.ini"


def estimate(
    path: Path,
    *,
    accelerator: str = "ethos-u55-128",
    system_config: str | None = None,
    memory_mode: str | None = None,
    config: str | None = None,
) -> Figures:
    """Returns what Vela reckons that an int8 TFLite file takes on an NPU.

    Args:
      path: the file.
      accelerator: such as ethos-u55-128, ethos-u65-512 or ethos-u85-1024.
      system_config: clock and bandwidths, a section of `config`; Vela's own for the accelerator by default.
      memory_mode: where weights and activations lie, a section of `config`; Vela's own by default.
      config: an .ini file in Vela's format, or `Arm/vela.ini`, which comes with it.

    Raises:
      RecipeError: an unknown accelerator, or a section that there is not.
      ModelError: Vela is not installed, or cannot compile the file.
    """
    if accelerator not in vela.ACCELERATORS:
        raise RecipeError(unknown_name("accelerator", accelerator, vela.ACCELERATORS))
    given = (system_config, memory_mode)
    if (None in given) != (given == (None, None)) or (config is not None and None in given):
        raise RecipeError(
            f"received system_config={system_config!r}, memory_mode={memory_mode!r} and config={config!r}: Vela takes "
            "the first two together or not at all, and needs them for a config."
        )
    if system_config is not None and config is None:
        config = _WITH_VELA
    elif config is not None and config != _WITH_VELA:
        config = str(storage.require_file(Path(config), "Vela configuration").resolve())
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        compiled = vela.compile_file(
            path, accelerator, Path(folder), config=config, system_config=system_config, memory_mode=memory_mode
        )
    if compiled.refusal is not None:
        if config is not None and any(kind in compiled.refusal for kind in _OF_CONFIGURATION):
            raise RecipeError(f"Vela does not take this configuration: {compiled.refusal}")
        raise ModelError(f"Vela cannot compile {path.name!r} for {accelerator}: {compiled.refusal}")
    found = compiled.summary
    left_over = tuple(f"{each.operator} {each.output}" for each in compiled.left_over)
    if not round(float(found["nn_macs"])) and left_over:
        raise ModelError(
            f"{accelerator} runs no operator of {path.name!r} that computes: all {len(left_over)} are left to the CPU "
            f"({', '.join(left_over[:3])}{', ...' if len(left_over) > 3 else ''}). Export it as int8."
        )
    notes = []
    if left_over:
        notes.append("What the CPU takes for its operators is not part of the time and of the cycles.")
    return Figures(
        tool=f"Vela {importlib.metadata.version('ethos-u-vela')}",
        configuration={
            "accelerator": accelerator,
            "system_config": found["system_config"],
            "memory_mode": found["memory_mode"],
            "clock_mhz": float(found["core_clock"]) / 1e6,
        },
        latency_ms=Bounded(value=1e3 * float(found["inference_time"])),
        cycles=round(float(found["cycles_total"])),
        macs=round(float(found["nn_macs"])),
        sram_bytes=_bytes(found["sram_memory_used"]),
        dram_bytes=_bytes(found["dram_memory_used"]),
        flash_bytes=_bytes(found["on_chip_flash_memory_used"]) + _bytes(found["off_chip_flash_memory_used"]),
        cpu_operators=left_over,
        notes=tuple(notes),
    )


def _bytes(kib: str) -> int:
    return round(float(kib) * _KIB)
