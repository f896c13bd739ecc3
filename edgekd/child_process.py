"""Trying a file in a child process first, so that one that crashes its parser does not end this process.

The child is `python -m MODULE PATH`, whose main is `answer(attempt, path)`; the parent calls `require_passes`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekd.errors import EdgekdError, ModelError

_SECONDS = 600
_MEMORY_LIMIT_BYTES = 16 << 30


def require_passes(path: Path, *, module: str, hint: str = "") -> Any:
    """Returns what the module's main, in a child process, made of the file; raises ModelError where it failed.

    Args:
      path: a file or folder.
      module: the module that tries it.
      hint: what else to say where it takes too long.
    """
    library = str(Path(__file__).parents[1])
    variables = {
        "PYTHONPATH": os.pathsep.join([library, os.environ.get("PYTHONPATH", "")]).rstrip(":"),
        "CUDA_VISIBLE_DEVICES": "-1",  # this process may hold the whole memory of the GPU
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, str(path.resolve())],
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{str(path)!r} did not open within {_SECONDS} s in a child process: it is damaged or too large for this "
            f"machine{hint}."
        ) from error
    if done.returncode < 0:
        raise ModelError(
            f"{str(path)!r} crashed its parser with {signal.Signals(-done.returncode).name} when a child process "
            "opened it: it is damaged. Copy, download or save it again."
        )
    said = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        document = json.loads(said)
        problem, result = document["error"], document["result"]
    except (ValueError, KeyError, TypeError) as error:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ModelError(
            f"{str(path)!r} could not be tried in a child process: {reason or said or 'no answer'}"
        ) from error
    if problem is not None:
        raise ModelError(problem)
    return result


def answer(attempt: Callable[[Path], Any], path: Path) -> None:
    """Makes the attempt, in the child, and prints one line of JSON: {"error": null, "result": ...}, or what went wrong.

    Args:
      attempt: returns None, or something of JSON's types.
      path: the file.
    """
    result = None
    try:
        result = attempt(path)
    except EdgekdError as error:
        problem: str | None = str(error)
    except MemoryError:
        problem = (
            f"{str(path)!r} needs more than {_MEMORY_LIMIT_BYTES >> 30} GiB of memory: it is damaged or too large."
        )
    else:
        problem = None
    print(json.dumps({"error": problem, "result": result}))  # noqa: T201


def limit_memory() -> None:
    """Limits this process' memory on Linux: what a damaged file claims to need must not fill the machine."""
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(hard, _MEMORY_LIMIT_BYTES)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
