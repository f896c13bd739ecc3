"""Trying a file in a child process, so that one that crashes its parser does not end this process."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from edgekd.errors import ModelError

_SECONDS = 600


@functools.lru_cache(maxsize=64)
def require_openable(path: Path, *, sha256: str) -> None:  # noqa: ARG001 - the hash is part of the cache's key
    """Raises ModelError unless a child process can open the file or folder; see `edgekd.teachers.probe`."""
    library = str(Path(__file__).parents[2])
    command = [sys.executable, "-P", "-m", "edgekd.teachers.probe", str(path.resolve())]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([library, os.environ.get("PYTHONPATH", "")]).rstrip(":"),
        "CUDA_VISIBLE_DEVICES": "-1",  # this process may hold the whole memory of the GPU
    }
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{str(path)!r} did not open within {_SECONDS} s in a child process: it is damaged or too large for this "
            "machine."
        ) from error
    if done.returncode < 0:
        raise ModelError(
            f"{str(path)!r} crashed its parser with {signal.Signals(-done.returncode).name} when a child process "
            "opened it: it is damaged. Copy or save it again."
        )
    said = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        problem = json.loads(said)["error"]
    except (ValueError, KeyError, TypeError) as error:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ModelError(
            f"{str(path)!r} could not be tried in a child process: {reason or said or 'no answer'}"
        ) from error
    if problem is not None:
        raise ModelError(problem)
