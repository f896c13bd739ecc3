"""Opens and runs a model file once, in a process of its own: `python -m edgekd.runtime.probe FILE`.

Native parsers can crash on a malformed file. `open_runner` runs this first, so that a crash ends only the child.
Prints one line of JSON: {"error": null}, or the message of what went wrong.
"""

import json
import sys
from pathlib import Path

import numpy as np

from edgekd import runtime
from edgekd.errors import EdgekdError

_MEMORY_LIMIT_BYTES = 16 << 30


def main(path: Path) -> None:
    """Opens the file and, where every input's shape is known or only its batch varies, runs it once on zeros."""
    _limit_memory()
    try:
        with runtime.open_runner(path, check=False) as runner:
            shapes = [(spec.shape[0] or 1, *spec.shape[1:]) if spec.shape else () for spec in runner.inputs]
            if all(None not in shape for shape in shapes):
                runner.run([np.zeros(shape, spec.dtype) for shape, spec in zip(shapes, runner.inputs, strict=True)])
    except EdgekdError as error:
        print(json.dumps({"error": str(error)}))  # noqa: T201
    except MemoryError:
        print(json.dumps({"error": f"it needs more than {_MEMORY_LIMIT_BYTES >> 30} GiB of memory"}))  # noqa: T201
    else:
        print(json.dumps({"error": None}))  # noqa: T201


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(hard, _MEMORY_LIMIT_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
