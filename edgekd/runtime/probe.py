"""Opens and runs a model file once, in a process of its own: `python -m edgekd.runtime.probe FILE`.

Native parsers can crash on a malformed file. `open_runner` runs this first, so that a crash ends only the child.
"""

import sys
from pathlib import Path

import numpy as np

from edgekd import child_process, runtime


def main(path: Path) -> None:
    """Opens the file and, where every input's shape is known or only its batch varies, runs it once on zeros."""
    with runtime.open_runner(path, check=False) as runner:
        shapes = [(spec.shape[0] or 1, *spec.shape[1:]) if spec.shape else () for spec in runner.inputs]
        if all(None not in shape for shape in shapes):
            runner.run([np.zeros(shape, spec.dtype) for shape, spec in zip(shapes, runner.inputs, strict=True)])


if __name__ == "__main__":
    child_process.limit_memory()
    child_process.answer(main, Path(sys.argv[1]))
