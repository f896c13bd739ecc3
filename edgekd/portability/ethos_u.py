"""Arm's Ethos-U NPUs: Vela, their compiler, says what of a file they leave to the CPU."""

import tempfile
from pathlib import Path

from edgekd.microcontroller import vela
from edgekd.portability.advice import instead
from edgekd.portability.owners import Owners
from edgekd.records import Finding


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
    what = f"{target}{f' ({schemes[0]})' if schemes else ''}"
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        compiled = vela.compile_file(path, target, Path(folder))
    if compiled.refusal is not None:
        refused = Finding(
            targets=(target,),
            schemes=schemes,
            problem=f"Vela failed: {compiled.refusal}",
            advice=instead("converter", "", None),
        )
        return [refused], f"{what}: not compiled"
    found = []
    for each in compiled.left_over:
        conversion = each.operator in vela.CONVERSIONS
        if conversion and not each.at_the_edge:
            continue
        advice = "let the file take and give integers: input_dtype and output_dtype int8" if conversion else None
        problem = f"is computed by the CPU: {each.reason}"
        found.append(
            owners.finding(
                "npu", each.operator, each.output, problem=problem, targets=(target,), schemes=schemes, advice=advice
            )
        )
    return found, f"{what}: {len(found)} operators on the CPU, {compiled.parts} parts on the NPU"
