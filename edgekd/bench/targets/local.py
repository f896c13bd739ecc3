"""This machine: fresh processes, and the models' blocks shuffled so that a disturbance meets all of them alike."""

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from edgekd import child_process, storage
from edgekd.bench import rounds, worker
from edgekd.bench.connection import Connection
from edgekd.bench.plan import Plan

ALSO_TAKES = "edgekd.bench.plan.make_plan"

# What a Python process needs to start and to find the same packages; all else could change what is measured.
_KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "SYSTEMROOT",
    "TMPDIR",
    "VIRTUAL_ENV",
)


def measure(
    paths: Sequence[Path], plan: Plan, *, on_progress: rounds.OnProgress | None = None
) -> Generator[rounds.Round, None, None]:
    """Yields what the fresh processes of each round measured; see `edgekd.bench.rounds.run`.

    Args:
      paths: .tflite and .onnx files.
      plan: how to measure them.
      on_progress: called with (steps done, steps in all, what was done).

    Raises:
      ModelError: a model cannot be measured; the message has the runtime's own words.
      StorageError: the temporary folder cannot be written, as on a full disk.
    """
    return rounds.run(paths, plan, functools.partial(_started, plan=plan), on_progress=on_progress)


@contextlib.contextmanager
def _started(path: Path, *, plan: Plan) -> Iterator[Connection]:
    with storage.temporary_folder("edgekd-bench-") as folder, tempfile.TemporaryFile() as errors:
        job_path = folder / "job.json"
        storage.write_text(job_path, json.dumps({**plan.job(), "model": str(path.resolve())}))
        process = subprocess.Popen(
            [sys.executable, str(Path(worker.__file__).resolve()), str(job_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_kept() | plan.variables() | {"TMPDIR": str(folder)},  # where ONNX Runtime leaves a file
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # the terminal's Ctrl-C goes to this process alone, which ends its workers
        )
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            child_process.limit_memory(process.pid)
        with contextlib.closing(Connection(process, errors, path, plan.timeout_seconds)) as started:
            started.answer("load")
            yield started


def _kept() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
