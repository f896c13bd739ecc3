"""The targets that a network can be checked for."""

from collections.abc import Iterable

from edgekd import quantize
from edgekd.errors import RecipeError, unknown_name
from edgekd.microcontroller.vela import ACCELERATORS
from edgekd.quantize import Scheme

AWARE = "qat"
TFLITE, ONNX = "tflite", "onnx"
MICRO = "tflite-micro"
ETHOS_U = ACCELERATORS
TARGETS = (AWARE, TFLITE, ONNX, MICRO, *ETHOS_U)
OF_FILES = (TFLITE, MICRO, *ETHOS_U)
"""The targets that an exported .tflite file can be checked for."""


def parse(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the targets of names that commas may join, each once.

    Raises:
      RecipeError: an unknown target, or none.
    """
    found = tuple(dict.fromkeys(name.strip() for each in names for name in each.split(",")))
    for name in found:
        if name not in TARGETS:
            raise RecipeError(unknown_name("target", name, TARGETS))
    if not found:
        raise RecipeError(f"no target is given: choose some of {', '.join(TARGETS)}.")
    return found


def schemes_for(target: str, schemes: Iterable[str]) -> tuple[Scheme, ...]:
    """Returns those of the schemes that a target carries."""
    return tuple(chosen for chosen in map(quantize.scheme, dict.fromkeys(schemes)) if _carries(target, chosen))


def carried(target: str) -> tuple[str, ...]:
    """Returns the names of all schemes that a target carries."""
    return tuple(each.name for each in quantize.all_schemes() if _carries(target, each))


def _carries(target: str, scheme: Scheme) -> bool:
    if target == MICRO:
        return "tflite_micro" in scheme.runtimes
    if target in ETHOS_U:
        return "tflite_micro" in scheme.runtimes and scheme.arithmetic == "integer"
    if target == AWARE:
        return scheme.aware
    return target in scheme.formats
