"""Arm's Ethos-U NPUs: Vela, their compiler, says what of a file they leave to the CPU."""

import importlib.util
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgekd import flatbuffer
from edgekd.errors import ModelError
from edgekd.portability.advice import instead
from edgekd.portability.owners import Owners
from edgekd.records import Finding

_SECONDS = 600
_NPU = "ethos-u"  # the custom operator that stands for all that the NPU computes
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
_WARNING = re.compile(r"^Warning \([^)]*\) operator: \S+, ofm: '(.*)'\nReason: (.+(?:\n(?!Warning|Network).+)*)", re.M)


def require_installed() -> None:
    """Raises ModelError unless Vela is installed."""
    if importlib.util.find_spec("ethosu") is None:
        raise ModelError(
            "the package ethos-u-vela, which compiles for Ethos-U, is not installed: pip install "
            "'edgekd[microcontroller]'."
        )


def findings(path: Path, target: str, *, schemes: tuple[str, ...], owners: Owners) -> tuple[list[Finding], str]:
    """Returns what of a TFLite file the CPU must compute, and a note on how much the NPU does.

    Conversions between float and integers count where they stand at the file's inputs and outputs; elsewhere they go
    with the float operator that they serve.

    Args:
      path: the file.
      target: such as `ethos-u55-128`.
      schemes: of the file, for the records.
      owners: finds the layers.

    Raises:
      ModelError: Vela is not installed, or does not end.
    """
    require_installed()
    what = f"{target}{f' ({schemes[0]})' if schemes else ''}"
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        done = _run(path, target, Path(folder))
        compiled = Path(folder) / f"{path.stem}_vela.tflite"
        if done.returncode != 0 or not compiled.is_file():
            refused = Finding(
                targets=(target,),
                schemes=schemes,
                problem=f"Vela failed: {_why(done)}",
                advice=instead("converter", "", None),
            )
            return [refused], f"{what}: not compiled"
        model = flatbuffer.read(compiled.read_bytes())
    reasons = {name: " ".join(reason.split()) for name, reason in _WARNING.findall(done.stdout)}
    found, total = [], 0
    for graph in model.subgraphs:
        edges = {int(index) for index in (*graph.inputs, *graph.outputs)}
        for operator in graph.operators or ():
            name = flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex])
            total += name == _NPU
            if name == _NPU or (name in _CONVERSIONS and not _touches(operator, edges)):
                continue
            output = graph.tensors[operator.outputs[0]].name.decode(errors="replace")
            problem, advice = f"is computed by the CPU: {reasons.get(output, 'Vela gives no reason')}", None
            if name in _CONVERSIONS:
                advice = "let the file take and give integers: input_dtype and output_dtype int8"
            found.append(
                owners.finding("npu", name, output, problem=problem, targets=(target,), schemes=schemes, advice=advice)
            )
    return found, f"{what}: {len(found)} operators on the CPU, {total} parts on the NPU"


def _touches(operator: Any, tensors: set[int]) -> bool:
    return any(int(index) in tensors for index in (*operator.inputs, *operator.outputs))


def _run(path: Path, target: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "ethosu.vela", str(path.resolve())]
    try:
        return subprocess.run(
            [*command, "--accelerator-config", target, "--output-dir", str(folder)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"Vela did not compile {path.name!r} for {target} within {_SECONDS} s.") from error


def _why(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode < 0:
        return f"it ended with {signal.Signals(-done.returncode).name}"
    lines = [line for line in (*done.stdout.splitlines(), *done.stderr.splitlines()) if line.strip()]
    return lines[-1].strip() if lines else f"exit status {done.returncode}"
