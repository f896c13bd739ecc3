"""Vela, Arm's compiler for Ethos-U NPUs: what it leaves to the CPU, and what it reckons the rest takes."""

import csv
import dataclasses
import importlib.util
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd import flatbuffer
from edgekd.errors import ModelError

ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
"""Arm's NPUs with their multiply-accumulate units, as Vela calls them."""

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")

_SECONDS = 600
_NPU = "ethos-u"  # the custom operator that stands for all that the NPU computes
_WARNING = re.compile(r"^Warning \([^)]*\) operator: \S+, ofm: '(.*)'\nReason: (.+(?:\n(?!Warning|Network).+)*)", re.M)


@dataclasses.dataclass(frozen=True)
class LeftOver:
    """An operator that the CPU must compute.

    Attributes:
      operator: its name in TFLite's schema.
      output: the name of what it makes.
      reason: Vela's words.
      at_the_edge: whether it touches an input or output of the file.
    """

    operator: str
    output: str
    reason: str
    at_the_edge: bool


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What Vela made of a file.

    Attributes:
      refusal: why it made nothing, or None.
      left_over: the operators that stay on the CPU, in the file's order.
      parts: into how many pieces the NPU's share falls.
      summary: Vela's figures by their column's name; empty where it made nothing.
    """

    refusal: str | None
    left_over: tuple[LeftOver, ...] = ()
    parts: int = 0
    summary: Mapping[str, str] = dataclasses.field(default_factory=dict)


def is_installed() -> bool:
    """Returns whether Vela is there."""
    return importlib.util.find_spec("ethosu") is not None


def require_installed() -> None:
    """Raises ModelError unless Vela is installed."""
    if not is_installed():
        raise ModelError(
            "the package ethos-u-vela, which compiles for Ethos-U, is not installed: pip install "
            "'edgekd[microcontroller]'."
        )


def compile_file(path: Path, accelerator: str, folder: Path, **options: str | None) -> Compiled:
    """Compiles a TFLite file and returns what became of it.

    Args:
      path: the file.
      accelerator: one of ACCELERATORS.
      folder: an empty one for what Vela writes.
      **options: of Vela, such as system_config and memory_mode; one that is None is left out.

    Raises:
      ModelError: Vela is not installed, or does not end.
    """
    require_installed()
    done = _run(path, accelerator, folder, options)
    compiled = folder / f"{path.stem}_vela.tflite"
    if done.returncode != 0 or not compiled.is_file():
        return Compiled(refusal=_why(done))
    model = flatbuffer.read(compiled.read_bytes())
    reasons = {name: " ".join(reason.split()) for name, reason in _WARNING.findall(done.stdout)}
    found, parts = [], 0
    for graph in model.subgraphs:
        edges = {int(index) for index in (*graph.inputs, *graph.outputs)}
        for operator in graph.operators or ():
            name = flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex])
            if name == _NPU:
                parts += 1
                continue
            output = graph.tensors[operator.outputs[0]].name.decode(errors="replace")
            reason = reasons.get(output, "Vela gives no reason")
            found.append(LeftOver(name, output, reason, at_the_edge=_touches(operator, edges)))
    return Compiled(refusal=None, left_over=tuple(found), parts=parts, summary=_summary(folder))


def _summary(folder: Path) -> dict[str, str]:
    for path in folder.glob("*_summary_*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            return next(csv.DictReader(file))
    return {}


def _touches(operator: Any, tensors: set[int]) -> bool:
    return any(int(index) in tensors for index in (*operator.inputs, *operator.outputs))


def _run(
    path: Path, accelerator: str, folder: Path, options: Mapping[str, str | None]
) -> "subprocess.CompletedProcess[str]":
    further = [
        part for name, value in options.items() if value is not None for part in (f"--{name.replace('_', '-')}", value)
    ]
    command = [sys.executable, "-P", "-m", "ethosu.vela", str(path.resolve())]
    try:
        return subprocess.run(
            [*command, "--accelerator-config", accelerator, "--output-dir", str(folder), *further],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"Vela did not compile {path.name!r} for {accelerator} within {_SECONDS} s.") from error


def _why(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode < 0:
        return f"it ended with {signal.Signals(-done.returncode).name}"
    lines = [line for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
    return lines[-1].strip() if lines else f"exit status {done.returncode}"
