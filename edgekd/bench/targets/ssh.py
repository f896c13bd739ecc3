"""Another machine, reached by ssh://user@host: it needs Python, NumPy and the runtime, and keeps nothing."""

import contextlib
import functools
import json
import re
import shlex
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

from edgekd import external_data
from edgekd.bench import machine_probe, rounds, ssh_host, worker
from edgekd.bench.connection import Connection
from edgekd.bench.plan import Plan
from edgekd.bench.ssh_host import Address, Host
from edgekd.errors import TargetError

ALSO_TAKES = "edgekd.bench.plan.make_plan"
PROGRAMS = {"ssh": "OpenSSH's client, Debian: openssh-client"}

_OLDEST_PYTHON = (3, 10)
_RUNTIMES = {".tflite": "ai-edge-litert", ".onnx": "onnxruntime"}
_NOT_FOUND = 127  # a shell's exit status for a command that it does not have


def measure(
    paths: Sequence[Path],
    plan: Plan,
    *,
    address: str = "",
    python: str = "python3",
    config: str | None = None,
    identity: str | None = None,
    on_progress: rounds.OnProgress | None = None,
) -> Generator[rounds.Round, None, None]:
    """Yields what the fresh processes of each round measured on the other machine; see `edgekd.bench.rounds.run`.

    The worker and the models, with the files in which ONNX files keep constants, are pushed to a new temporary folder
    there, over one connection for all rounds.

    Args:
      paths: .tflite and .onnx files.
      plan: how to measure them.
      address: `user@host` or `user@host:port`; a host of the ssh configuration may stand alone.
      python: the interpreter there: a name, or a path, which starts at the user's home where it is relative.
      config: a configuration file of ssh, instead of the user's own.
      identity: the file of the private key to use.
      on_progress: called with (steps done, steps in all, what was done).

    Raises:
      RecipeError: not an address.
      TargetError: the machine cannot be reached, or has no suitable Python or runtime.
      StorageError: a file is missing here, or cannot be written there.
      ModelError: a model cannot be measured; the message has the runtime's own words.
    """
    parsed = ssh_host.parse(address)
    return _rounds(paths, plan, parsed, python.removeprefix("~/"), config, identity, on_progress)


def _rounds(
    paths: Sequence[Path],
    plan: Plan,
    address: Address,
    python: str,
    config: str | None,
    identity: str | None,
    on_progress: rounds.OnProgress | None,
) -> Generator[rounds.Round, None, None]:
    with ssh_host.connected(address, config=config, identity=identity) as host:
        suffixes = {path.suffix.lower() for path in paths}
        _check(host, address, python, suffixes, timeout_seconds=plan.timeout_seconds)
        jobs = _pushed(host, paths, plan)
        script = host.write("worker.py", Path(worker.__file__))
        command = host.prepare([python, script], plan.variables())
        start = functools.partial(_started, host=host, plan=plan, command=command, jobs=jobs)
        yield from rounds.run(paths, plan, start, on_progress=on_progress)


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    lines = done.stdout.decode(errors="replace").split("\n")
    return f"it says {lines[0]!r}" if lines[0] else f"exit status {done.returncode}"


def _check(host: Host, address: Address, python: str, suffixes: set[str], *, timeout_seconds: float) -> None:
    """Raises TargetError unless the machine has what measuring takes."""
    name = address.destination
    program = Path(machine_probe.__file__).read_bytes()
    done = host.run(f"exec {shlex.quote(python)} -", given=program, seconds=timeout_seconds)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode != 0 or not done.stdout.startswith(b"{"):
        if done.returncode == _NOT_FOUND:
            why = f"there is no {python!r} on {name}"
        else:
            why = f"{python!r} does not work on {name} ({said[-1] if said else _said(done)})"
        raise TargetError(
            f"{why}: install Python {'.'.join(map(str, _OLDEST_PYTHON))} or newer there, or name another interpreter "
            "by the setting python, such as python=venv/bin/python."
        )
    found = json.loads(done.stdout)
    version = ".".join(map(str, found["python"]))
    if tuple(found["python"]) < _OLDEST_PYTHON:
        raise TargetError(
            f"{python!r} on {name} is Python {version}: expected {'.'.join(map(str, _OLDEST_PYTHON))} or newer. Name "
            "another interpreter by the setting python."
        )
    missing = [each for each in ("numpy", *sorted(_RUNTIMES[suffix] for suffix in suffixes))
               if found["packages"][each] is None]  # fmt: skip
    if missing:
        raise TargetError(
            f"{python!r} (Python {version}) on {name} lacks {' and '.join(missing)}: install there, such as by "
            f"`{python} -m pip install {' '.join(missing)}`, or name another interpreter by the setting python."
        )


def _pushed(host: Host, paths: Sequence[Path], plan: Plan) -> Mapping[Path, str]:
    """Pushes the models and the input file, and returns each model's job there.

    Each model has a folder of its own: files beside it keep the names that it calls them by.
    """
    job = plan.job()
    if plan.inputs is not None:
        job["inputs"] = host.write("inputs.npz", Path(plan.inputs))
    jobs = {}
    for index, path in enumerate(paths):
        model = host.write(f"{index}/{re.sub(r'[^A-Za-z0-9._-]+', '-', path.name)}", path)
        for each in external_data.beside(path):
            host.write(f"{index}/{each.relative_to(path.parent).as_posix()}", each)
        jobs[path] = host.write(f"{index}.json", json.dumps({**job, "model": model}).encode())
    return jobs


@contextlib.contextmanager
def _started(path: Path, *, host: Host, plan: Plan, command: str, jobs: Mapping[Path, str]) -> Iterator[Connection]:
    with tempfile.TemporaryFile() as errors:
        process = host.start(f"{command} {shlex.quote(jobs[path])}", errors)
        connection = Connection(process, errors, path, plan.timeout_seconds, where=f" on {host.name}")
        with contextlib.closing(connection) as started:
            started.answer("load")
            yield started
