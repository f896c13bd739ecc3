"""TensorFlow Lite for Microcontrollers: which operators of a file it does not have, and whether it runs the file."""

from pathlib import Path

from edgekd import flatbuffer, microcontroller
from edgekd.errors import ModelError
from edgekd.portability.advice import instead
from edgekd.portability.owners import Owners
from edgekd.portability.targets import MICRO
from edgekd.records import Finding


def findings(path: Path, *, schemes: tuple[str, ...], owners: Owners) -> tuple[list[Finding], str]:
    """Returns what TFLM cannot do with a TFLite file, and a note on what was tried.

    Args:
      path: the file.
      schemes: of the file, for the records.
      owners: finds the layers.
    """
    model = flatbuffer.read(path.read_bytes())
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            name = flatbuffer.operator_name(model.operatorCodes[operator.opcodeIndex])
            if not microcontroller.lacking([name]):
                continue
            output = flatbuffer.output_name(operator, graph)
            problem = "TensorFlow Lite for Microcontrollers has no such operator"
            found.append(owners.finding("micro", name, output, problem=problem, targets=(MICRO,), schemes=schemes))
    what = f"{MICRO}{f' ({schemes[0]})' if schemes else ''}"
    if found:
        return found, f"{what}: not run, for want of operators"
    if not microcontroller.is_installed():
        return [], f"{what}: operators compared with a list, not run: pip install 'edgekd[microcontroller]' to run it"
    try:
        microcontroller.require_runs(path)
    except ModelError as error:
        refused = Finding(targets=(MICRO,), schemes=schemes, problem=str(error), advice=instead("converter", "", None))
        return [refused], f"{what}: did not run"
    return [], f"{what}: TFLM ran the file"
