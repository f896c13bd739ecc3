"""Training stages done by several worker processes of this machine, which one process starts, watches and replaces.

A worker is `python -m edgekd.pipeline.worker`. Its standard input brings the job, and its end tells it that nobody is
watching any more; its standard output brings messages, one JSON document a line; what it and its libraries print goes
to a log in the stage's folder. Only number 0, the chief, writes the stage's files and tells its progress.
"""

import contextlib
import json
import logging
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edgekd import errors, storage
from edgekd.data.dataset import Dataset
from edgekd.errors import EdgekdError, StoppedError, WorkerError
from edgekd.pipeline.progress import Progress
from edgekd.pipeline.stage import (
    STUDENT_DISTILLED,
    STUDENT_LABELS,
    STUDENT_QUANTIZED,
    STUDENT_SPARSE,
    Work,
    teacher_names,
)
from edgekd.recipe import Recipe
from edgekd.records import EpochRecord

if TYPE_CHECKING:  # importing it would import TensorFlow
    from edgekd.distill.stopping import StopRequest

_LOG = logging.getLogger("edgekd")
_MODULE = "edgekd.pipeline.worker"
_HOST = "127.0.0.1"
_MOST_FAILURES = 3  # one after the other, with no epoch finished between them
_SECONDS_BETWEEN_LOOKS = 0.1
_SECONDS_FOR_LAST_WORDS = 2.0  # what a worker that has ended wrote before lies in its pipe already
_CHUNK_BYTES = 1 << 16


def trained_stages(recipe: Recipe) -> dict[str, Any]:
    """Returns the training section of each stage that trains a network."""
    teachers = zip(teacher_names(recipe), recipe.teacher, strict=True)
    sections: dict[str, Any] = {name: section for name, section in teachers if section.model is None}
    if recipe.sparsify is not None:
        sections[STUDENT_SPARSE] = recipe.sparsify
    if recipe.quantize is not None and recipe.quantize.aware is not None:
        sections[STUDENT_QUANTIZED] = recipe.quantize.aware
    return {**sections, STUDENT_LABELS: recipe.student, STUDENT_DISTILLED: recipe.student}


def check(recipe: Recipe, data: Dataset, workers: int) -> None:
    """Refuses, before any training, what so many workers cannot share.

    Raises:
      RecipeError: the message names the stage's setting.
    """
    from edgekd.distill import distribution

    for stage, section in trained_stages(recipe).items():
        split = data.train if stage in (STUDENT_DISTILLED, STUDENT_SPARSE, STUDENT_QUANTIZED) else data.labelled_train
        distribution.check(section, batch_size=min(recipe.data.batch_size, len(split)), replicas=workers)


def train(work: Work) -> list[Path]:
    """Does a training stage with `work.workers` worker processes, and returns the files that the chief wrote.

    When a worker dies, all are ended and started again; they go on from the last checkpoint.

    Raises:
      EdgekdError: what a worker raised.
      WorkerError: workers died again and again without finishing an epoch.
      StoppedError: a stop was requested; the chief has saved the state.
    """
    from edgekd.distill.stopping import StopRequest

    stop = work.stop or StopRequest()
    failures = 0
    with stop.deferred():
        while True:
            with _Group(work) as group:
                files = group.watched(stop)
            if files is not None:
                return [work.folder / name for name in files]
            stop.check("while the workers were not training; what was saved is kept")
            failures = 1 if group.finished_epochs else failures + 1
            if failures > _MOST_FAILURES:
                raise WorkerError(
                    f"stage {work.folder.name!r}: {group.failure}, after {_MOST_FAILURES} new starts without an epoch "
                    f"finished. {str(group.failed_log)!r} says why; the same command goes on from the last checkpoint."
                )
            storage.remove_partial(work.folder)
            work.progress.workers_restarted(f"{group.failure}: all start again from the last checkpoint")


class _Group:
    """The worker processes of a stage.

    Attributes:
      finished_epochs: how many the chief has told of.
      failure: which worker died, and how.
      failed_log: that worker's log.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._messages: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._readers: list[threading.Thread] = []
        self._over = threading.Event()
        self._reservations: list[socket.socket] = []
        self.finished_epochs = 0
        self.failure = ""
        self.failed_log = self._log(0)

    def __enter__(self) -> Self:
        try:
            self._reservations = [_reserved_port() for _ in range(self._work.workers)]
            addresses = [f"{_HOST}:{each.getsockname()[1]}" for each in self._reservations]
            for index in range(self._work.workers):
                self._start(index, addresses)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._end()

    def watched(self, stop: "StopRequest") -> list[str] | None:
        """Returns the names of the files that the chief wrote, or None when a worker died.

        That a worker has died is asked of the system: children that it forked may keep its standard output open.
        """
        asked = False
        ended: list[int] = []
        while True:
            if not ended:
                ended = [index for index, process in enumerate(self._processes) if process.poll() is not None]
                for index in ended:
                    self._readers[index].join(_SECONDS_FOR_LAST_WORDS)
            if stop.received is not None and not asked:
                # The others need not know: they hold nothing that the chief does not save.
                self._processes[0].send_signal(stop.received)
                asked = True
            try:
                index, message = self._messages.get(timeout=0 if ended else _SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                if not ended:
                    continue
                self._note_failure(ended[0])
                return None
            if "error" in message:
                raise _error(message["error"], message["message"], stop)
            if index == 0 and "files" in message:
                return list(message["files"])
            if "epoch" in message:
                self.finished_epochs += 1
            _tell(self._work.progress, message)

    def _start(self, index: int, addresses: list[str]) -> None:
        job = {
            "run": str(self._work.run),
            "stage": self._work.folder.name,
            "key": self._work.key,
            "fingerprint": self._work.data.fingerprint,
            "debug": logging.getLogger("edgekd").isEnabledFor(logging.DEBUG),
        }
        cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {
            "TF_CONFIG": json.dumps(cluster),
            "TF_GRPC_REUSE_PORT": "true",  # it listens where this process has reserved the port
            # Users' own networks and teachers are found where this process finds them.
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        }
        with self._log(index).open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                # A Ctrl-C in the terminal is for this process, which passes it on; what a worker starts ends with it.
                start_new_session=True,
            )
        self._processes.append(process)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):  # it has died already, which its reader finds
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        reader = threading.Thread(target=self._read, args=(index, process), daemon=True)
        reader.start()
        self._readers.append(reader)

    def _read(self, index: int, process: "subprocess.Popen[bytes]") -> None:
        """Passes on what a worker sends until it has ended and nothing is left, whoever else holds its pipe open."""
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        handle = process.stdout.fileno()
        readable = select.poll()
        readable.register(handle, select.POLLIN)
        unfinished = b""
        while not self._over.is_set():
            ended = process.poll() is not None  # asked first: what it wrote before is there then
            if readable.poll(1000 * _SECONDS_BETWEEN_LOOKS):
                chunk = os.read(handle, _CHUNK_BYTES)
                if not chunk:
                    return
                *lines, unfinished = (unfinished + chunk).split(b"\n")
                for line in lines:
                    self._messages.put((index, json.loads(line)))
            elif ended:
                return

    def _note_failure(self, index: int) -> None:
        """Says which worker died first: another one may only have missed it."""
        killed = [other for other, process in enumerate(self._processes) if (process.poll() or 0) < 0]
        first = killed[0] if killed else index
        status = self._processes[first].returncode
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self.failure = f"worker {first} of 0..{len(self._processes) - 1} {how}"
        self.failed_log = self._log(first)

    def _log(self, index: int) -> Path:
        return self._work.folder / f"worker_{index}.log"

    def _end(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):  # all of the group have ended
                os.killpg(process.pid, signal.SIGKILL)  # whatever they write is either whole or absent
        for process in self._processes:
            process.wait()
        self._over.set()
        for reader in self._readers:
            reader.join()  # it looks every tenth of a second
        for reservation in self._reservations:
            reservation.close()
        for process in self._processes:
            with contextlib.suppress(BrokenPipeError):
                process.__exit__(None, None, None)


def _tell(progress: Progress, message: dict[str, Any]) -> None:
    match message:
        case {"started": [epochs, steps, done_epochs, done_steps]}:
            progress.training_started(epochs, steps, done_epochs=done_epochs, done_steps=done_steps)
        case {"step": [epoch, step, means, images_per_second]}:
            progress.training_step(epoch, step, means, images_per_second)
        case {"epoch": row}:
            progress.training_epoch(EpochRecord.model_validate(row))
        case {"warning": text}:
            _LOG.warning("%s", text)
        case {"item": [done, total, what]}:
            progress.item(done, total, what)


def _error(kind: str, text: str, stop: "StopRequest") -> EdgekdError:
    if kind == StoppedError.__name__:
        return StoppedError(text, signal_number=stop.received or signal.SIGTERM)
    found = getattr(errors, kind)
    assert issubclass(found, EdgekdError)  # noqa: S101 - our own worker wrote the name
    return found(text)


def _reserved_port() -> socket.socket:
    """Returns a socket whose port nobody gets by chance, however long a worker takes to listen there.

    Only who asks for this very port, and to share it (SO_REUSEPORT), gets it too. The socket itself does not listen, so
    what is sent to the port reaches the worker.
    """
    reservation = socket.socket()
    try:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reservation.bind((_HOST, 0))
    except BaseException:
        reservation.close()
        raise
    return reservation
