"""The protocol of a worker, seen from the caller: commands go out, answers come back, and a death has a cause."""

import contextlib
import json
import queue
import signal
import subprocess
import threading
from pathlib import Path
from typing import IO, Any, cast

import pydantic

from edgekd.bench import worker
from edgekd.bench.samples import ProcessSamples
from edgekd.errors import ModelError, StorageError, TargetError, said_in

UNWRITABLE_STATUS = 73
"""The exit status, as EX_CANTCREAT of sysexits.h, where a worker's process could not be noted in the folder there."""

_LINES_KEPT = 20
_LOST = 255  # the exit status of a client, such as ssh, whose connection broke
_NO_SESSION = "Session open refused by peer"  # ssh's words
_SIGNALLED = 128  # to which a shell adds the signal that ended its command


class Connection:
    """The caller's end of one worker process, wherever that runs.

    Args:
      process: speaks the worker's protocol on its standard input and output.
      errors: what the process writes to its standard error; read where it dies.
      path: the model, for messages.
      timeout_seconds: longest time that an answer may take.
      where: added to messages, such as ` on pi@board`; empty on this machine. Elsewhere the process is a client, which
        ends with the status of the remote shell that ran the worker, or with 255.
    """

    def __init__(
        self,
        process: subprocess.Popen[str],
        errors: IO[bytes],
        path: Path,
        timeout_seconds: float,
        *,
        where: str = "",
    ) -> None:
        self._process = process
        self._commands = cast(IO[str], process.stdin)
        self._lines = cast(IO[str], process.stdout)
        self._errors = errors
        self._model = f"{str(path)!r}{where}"
        self._where = where
        self._timeout_seconds = timeout_seconds
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, command: str) -> dict[str, Any]:
        """Sends one command and returns its answer."""
        # A worker that has died cannot be written to: answer() then says what it died of.
        with contextlib.suppress(BrokenPipeError):
            self._commands.write(command + "\n")
            self._commands.flush()
        return self.answer(command)

    def answer(self, step: str) -> dict[str, Any]:
        """Waits for the next answer.

        Raises:
          ModelError: the worker died, or did not answer in time.
          StorageError: it could not be started, since nothing can be written there.
          TargetError: the connection to it broke.
        """
        try:
            line = self._answers.get(timeout=self._timeout_seconds)
        except queue.Empty:
            raise ModelError(
                f"measuring {self._model} did not end within {self._timeout_seconds:g} s (step {step!r}): the "
                "model hangs or is very slow. Raise timeout_seconds, or lower min_runs."
            ) from None
        if not line.endswith("\n"):  # also one that was cut off
            raise self._cause_of_death(step)
        try:
            received: dict[str, Any] = json.loads(line)
        except ValueError as error:
            raise TargetError(
                f"the worker{self._where or ' on this machine'} that measured {self._model} answered {line[:60]!r} in "
                f"step {step!r}, which is no JSON: something else writes to its output. Make its start-up files silent."
            ) from error
        return received

    def finish(self) -> ProcessSamples:
        """Returns the worker's whole document; the answer to a block that nobody waited for is passed over."""
        document = self.ask("finish")
        while "median_ns" in document:  # a block's answer
            document = self.answer("finish")
        try:
            return ProcessSamples.model_validate(document)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise ModelError(
                f"measuring {self._model} gave an unexpected value for {first['loc']}: {first['msg']}. "
                "Install edgekd anew: its worker and its library do not fit together."
            ) from error

    def close(self) -> None:
        """Ends the process if it still runs, and frees what belongs to it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._commands, self._lines):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _read(self) -> None:
        for line in self._lines:
            self._answers.put(line)
        self._answers.put("")

    def _cause_of_death(self, step: str) -> ModelError | StorageError | TargetError:
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().decode(errors="replace").splitlines()[-_LINES_KEPT:]]
        last = next((line for line in reversed(lines) if line), "no message")
        if self._where:
            if any(_NO_SESSION in line for line in lines):
                return TargetError(
                    f"the ssh server{self._where} allows no further session on its connection, and every model that is "
                    "measured at once needs one: raise MaxSessions in its sshd_config, or measure fewer models at once."
                )
            if status == _LOST or status < 0:
                return TargetError(
                    f"the connection to the worker{self._where} broke in step {step!r} ({last.removesuffix('.')}): "
                    "check that the device has power and network, and measure again."
                )
            if status == UNWRITABLE_STATUS:
                return StorageError(
                    f"cannot start the worker{self._where}: its temporary folder cannot be written "
                    f"({last.removesuffix('.')}). Free space there and measure again."
                )
            status = _SIGNALLED - status if status > _SIGNALLED else status
        if status < 0:
            return ModelError(
                f"cannot measure {self._model}: its process was killed by {signal.Signals(-status).name} in step "
                f"{step!r} (last message: {last}). The file may be damaged, or need more memory than "
                f"{'there is' if self._where else 'a child process may use'}: export it again."
            )
        if status == worker.REFUSED_STATUS:
            return ModelError(f"cannot measure {self._model}: {last.removesuffix('.')}.")
        return ModelError(
            f"cannot measure {self._model}{said_in(last)}. Check that it is a whole .tflite or .onnx "
            "file of built-in operators, or export it again."
        )
