"""Foreign files are opened and run in child processes, so that one that crashes, hangs or swells does not end this one.

Two ways, with the same limits and the same errors:

- `require_passes(path, module=...)` starts `python -m MODULE PATH`, whose main is `answer(attempt, path)`, once;
- `Child(module)` keeps `python -m MODULE` alive, whose main is `serve(handle)`, and asks it again and again; arrays go
  both ways. `edgekd.runtime` runs models so.

Every child has a limit of time for each answer and a limit of memory, which this process sets on it. The memory limit
is RLIMIT_DATA, which counts what a process may write to (the heap, private anonymous maps) when it asks for it.
RLIMIT_AS would also count what is merely reserved, such as each thread's malloc arena (64 MiB), the libraries, and the
model's own bytes, which LiteRT maps from the file. A limit of address space that is small enough to protect a machine
would refuse good models on one with many cores.
"""

import contextlib
import dataclasses
import functools
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from edgekd import errors
from edgekd.errors import EdgekdError, ModelError

Array = np.ndarray[Any, Any]
Handler = Callable[[Any, tuple[Array, ...]], tuple[Any, Sequence[Array]]]

SECONDS_VARIABLE = "EDGEKD_CHILD_SECONDS"
MEMORY_VARIABLE = "EDGEKD_CHILD_MEMORY_GIB"

_SECONDS = 600.0
_MOST_MEMORY_BYTES = 16 << 30
_KINDS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, EdgekdError) and kind is not errors.StoppedError
}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a child may use.

    Attributes:
      seconds: from a question to its answer, starting the child included.
      memory_bytes: that it may have allocated at once; Linux only.
    """

    seconds: float
    memory_bytes: int


def default_limits() -> Limits:
    """Returns 600 s and half of this machine's memory, at most 16 GiB, unless the environment says otherwise.

    Raises:
      ModelError: EDGEKD_CHILD_SECONDS or EDGEKD_CHILD_MEMORY_GIB is not a positive number.
    """
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    memory = _number(MEMORY_VARIABLE)
    return Limits(
        seconds=_number(SECONDS_VARIABLE) or _SECONDS,
        memory_bytes=min(half, _MOST_MEMORY_BYTES) if memory is None else int(memory * (1 << 30)),
    )


def require_passes(path: Path, *, module: str, hint: str = "", limits: Limits | None = None) -> Any:
    """Returns what the module's main, in a child process, made of the file; raises the error that it ended with.

    Args:
      path: a file or folder.
      module: the module that tries it.
      hint: what else to say where it takes too long.
      limits: of the child; by default `default_limits`.

    Raises:
      ModelError: the child crashed, took too long or did not answer.
      EdgekdError: what the attempt raised, of the same kind.
    """
    limits = limits or default_limits()
    process, stderr = _start(module, (str(path.resolve()),), limits, stdin=subprocess.DEVNULL)
    try:
        with _killed_after(limits.seconds, process) as expired:
            said = cast(IO[bytes], process.stdout).read()
            process.wait()
        trial = _Trial(path, "opened", limits, hint)
        return _result(_document(said), trial, process, stderr, expired=expired.is_set())
    finally:
        _end(process, stderr)


class Child:
    """A child process that answers questions about foreign files until it is closed.

    One that crashes, takes too long or is interrupted is gone: every later question is an error too.
    """

    def __init__(
        self,
        module: str = "",
        *,
        command: Sequence[str] | None = None,
        variables: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Starts `python -m MODULE`, or another program that speaks as `serve` does.

        Args:
          module: whose main is `serve`.
          command: the other program with its arguments, instead of a module.
          variables: the whole environment of that program; by default this process' own.
          limits: of the child; by default `default_limits`.
        """
        self._limits = limits or default_limits()
        self._process, self._stderr = (
            _start(module, (), self._limits, stdin=subprocess.PIPE)
            if command is None
            else _started(command, os.environ if variables is None else variables, self._limits, stdin=subprocess.PIPE)
        )
        self._end = weakref.finalize(self, _end, self._process, self._stderr)

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return self._end.alive

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone, whoever ended it."""
        return self._process.poll() is not None

    def ask(
        self, question: Any, arrays: Sequence[Array] = (), *, path: Path, doing: str, hint: str = ""
    ) -> tuple[Any, tuple[Array, ...]]:
        """Returns the answer and the arrays that come with it.

        Args:
          question: of JSON's types.
          arrays: what it is about.
          path: the file, for messages.
          doing: what the child does with it, as a participle such as `opened`, for messages.
          hint: what else to say where it takes too long.

        Raises:
          ModelError: the child crashed, took too long, did not answer, or is gone.
          EdgekdError: what it raised, of the same kind.
        """
        trial = _Trial(path, doing, self._limits, hint)
        if not self.is_alive:
            raise ModelError(f"the child process that opened {str(path)!r} is gone: open the file again.")
        answered = False
        try:
            with _killed_after(self._limits.seconds, self._process) as expired:
                with contextlib.suppress(BrokenPipeError):
                    _send(cast(IO[bytes], self._process.stdin), question, arrays)
                received = _receive(cast(IO[bytes], self._process.stdout))
                if received is None:
                    self._process.wait()
            document, found = received or (None, ())
            answered = received is not None
            return _result(document, trial, self._process, self._stderr, expired=expired.is_set()), found
        finally:
            if not answered:
                self.close()

    def close(self) -> None:
        """Ends the process."""
        self._end()


def serve(handle: Handler) -> None:
    """Answers questions, in the child, until the parent is gone.

    Args:
      handle: (question, arrays) to (answer, arrays); an EdgekdError that it raises is raised in the parent. Any other
        error ends the child.
    """
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    while (received := _receive(questions)) is not None:
        _send(answers, *_attempt(functools.partial(handle, *received)))


def answer(attempt: Callable[[Path], Any], path: Path) -> None:
    """Makes the attempt, in the child, and prints one line of JSON: its result, or what went wrong.

    Args:
      attempt: returns None, or something of JSON's types.
      path: the file.
    """
    document, _ = _attempt(lambda: (attempt(path), ()))
    print(json.dumps(document))  # noqa: T201


def limit_memory(pid: int = 0, *, limits: Limits | None = None) -> None:
    """Limits a process' memory on Linux: what a damaged file claims to need must not fill the machine.

    Args:
      pid: the process; 0 is this one.
      limits: by default `default_limits`.
    """
    if sys.platform == "linux":
        import resource

        for kind, wanted in (
            (resource.RLIMIT_DATA, (limits or default_limits()).memory_bytes),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.prlimit(pid, kind)
            resource.prlimit(pid, kind, (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted), hard))


@dataclasses.dataclass(frozen=True)
class _Trial:
    """What is tried, in the words of messages."""

    path: Path
    doing: str
    limits: Limits
    hint: str


def _start(
    module: str, arguments: Sequence[str], limits: Limits, *, stdin: int
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    library = str(Path(__file__).parents[1])
    variables = {
        "PYTHONPATH": os.pathsep.join([library, os.environ.get("PYTHONPATH", "")]).rstrip(":"),
        "CUDA_VISIBLE_DEVICES": "-1",  # this process may hold the whole memory of the GPU
    }
    return _started([sys.executable, "-P", "-m", module, *arguments], os.environ | variables, limits, stdin=stdin)


def _started(
    command: Sequence[str], variables: Mapping[str, str], limits: Limits, *, stdin: int
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - _end closes it
    try:
        process = subprocess.Popen(
            list(command),
            env=dict(variables),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # so that it can be ended with what it has forked
        )
    except BaseException:
        stderr.close()
        raise
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        limit_memory(process.pid, limits=limits)
    return process, stderr


def _end(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
    _kill(process)
    process.wait()
    for stream in (process.stdin, process.stdout, stderr):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Kills the process unless the block ends before; the event says that it did."""
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        _kill(process)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _document(said: bytes) -> Any:
    """Returns what the last line says, or None where it is no JSON."""
    try:
        return json.loads(said.strip().rpartition(b"\n")[2])
    except ValueError:
        return None


def _result(document: Any, trial: _Trial, process: subprocess.Popen[bytes], stderr: IO[bytes], *, expired: bool) -> Any:
    """Returns what an answer holds; raises what it tells, or why there is none."""
    name, memory = repr(str(trial.path)), f"{trial.limits.memory_bytes / (1 << 30):.3g} GiB of memory"
    if expired:
        raise ModelError(
            f"{name} could not be {trial.doing} within {trial.limits.seconds:g} s in a child process: it is damaged or "
            f"too large for this machine{trial.hint}. {SECONDS_VARIABLE} sets another limit."
        )
    status = process.poll()
    if status is not None and status < 0:
        raise ModelError(
            f"{name} crashed its parser with {signal.Signals(-status).name} when it was {trial.doing} in a child "
            f"process, which may use {memory}: it is damaged or too large. Copy, download or save it again."
        )
    if not (isinstance(document, dict) and {"kind", "error", "result"} <= document.keys()):
        stderr.seek(0)
        reason = stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
        raise ModelError(
            f"{name} could not be tried in a child process: {errors.printable(reason) or 'it gave no answer'}"
        )
    if document["kind"] == MemoryError.__name__:
        raise ModelError(
            f"{name} needs more than {memory}, which is what a child process may use: it is damaged or too large. "
            f"{MEMORY_VARIABLE} sets another limit."
        )
    if document["kind"] is not None:
        raise _KINDS.get(document["kind"], ModelError)(document["error"])
    return document["result"]


def _attempt(attempt: Callable[[], tuple[Any, Sequence[Array]]]) -> tuple[dict[str, Any], Sequence[Array]]:
    """Returns the document for the parent, and the arrays that go with it."""
    try:
        result, arrays = attempt()
    except (EdgekdError, MemoryError) as error:
        return {"error": errors.printable(str(error)), "kind": type(error).__name__, "result": None}, ()
    return {"error": None, "kind": None, "result": result}, arrays


def _send(stream: IO[bytes], document: Any, arrays: Sequence[Array]) -> None:
    """Writes a line of JSON, [document, bytes of each array], and the arrays."""
    packed = []
    for array in arrays:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
        packed.append(buffer.getbuffer())
    stream.write(json.dumps([document, [len(each) for each in packed]]).encode() + b"\n")
    for each in packed:
        stream.write(each)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[Any, tuple[Array, ...]] | None:
    """Returns a document and its arrays, or None where the other side has gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    document, sizes = json.loads(line)
    arrays = []
    for size in sizes:
        content = stream.read(size)
        if len(content) < size:
            return None
        arrays.append(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
    return document, tuple(arrays)


def _number(variable: str) -> float | None:
    text = os.environ.get(variable)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ModelError(f"{variable} is {text!r}: expected a positive number.")
    return value
