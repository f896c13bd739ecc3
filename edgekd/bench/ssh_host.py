"""A machine reached by the system's ssh client: one connection, a temporary folder there that does not stay behind.

The first session is the folder's keeper: it makes the folder and waits. When its standard input closes, because the
measurement has ended, the caller was killed or the connection broke, it ends the workers and removes the folder. All
other sessions share its connection (ControlMaster), so that a worker starts without a new handshake.
"""

import contextlib
import dataclasses
import logging
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import filelock

from edgekd import storage
from edgekd.bench.connection import UNWRITABLE_STATUS
from edgekd.errors import RecipeError, StorageError, TargetError

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 15  # for the network, the handshake, and again for the shell there
_CLEANUP_SECONDS = 20
_CLOSING_SECONDS = 1  # for the connection, once the folder is gone
_LOST = 255  # ssh's own exit status
_ADDRESS = re.compile(
    r"(?:(?P<user>[\w.][\w.-]*)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<name>\w[\w.-]*))(?::(?P<port>\d{1,5}))?"
)
_SOCKETS = Path("/tmp")  # noqa: S108 - and not TMPDIR: the path of a socket may have about 100 characters
_PREFIX, _LOCK = "edgekd-ssh-", "lock"
_NEW_SECONDS = 60.0  # after which a folder that nobody has locked is no longer one that is just being made
_FIXED = tuple(
    part
    for setting in (
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "ControlPersist=no",
        f"ConnectTimeout={_CONNECT_SECONDS}",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "UpdateHostKeys=no",
        "RequestTTY=no",
        "LogLevel=ERROR",
    )
    for part in ("-o", setting)
)
_MARK = "edgekd-folder "
_GONE = "edgekd-folder-gone"
# Run by the POSIX shell of the other machine, whatever the user's own is: one line without single quotes, backslashes
# and exclamation marks, which shells quote differently. A process is ended only if its command names the folder.
_KEEPER = (
    'umask 077; f=$(mktemp -d "${TMPDIR:-/tmp}/edgekd-bench-XXXXXX") || exit 1; trap "" HUP INT TERM PIPE; '
    f'echo "{_MARK}$f"; cat >/dev/null; '
    'for n in "$f"/*.pid; do p=${n##*/}; p=${p%.pid}; '
    'if grep -qF "$f" "/proc/$p/cmdline" 2>/dev/null || ps -p "$p" -o args= 2>/dev/null | grep -qF "$f"; '
    f'then kill -9 "$p"; fi; done; rm -rf "$f" && echo "{_GONE}"'
)
# Notes the worker's process for the keeper, and stays, to turn the signal that ends a worker into an exit status.
_START = """ulimit -c 0
sh -c 'echo $$ >"$0/$$.pid" || exit {unwritable}; exec "$@"' {folder} {command} "$1"
exit $?
"""


@dataclasses.dataclass(frozen=True)
class Address:
    """Whom to reach; `host` alone may also be a name of the ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def destination(self) -> str:
        """What the ssh client calls it."""
        return self.host if self.user is None else f"{self.user}@{self.host}"


def parse(address: str) -> Address:
    """Returns the parts of `user@host:port`, of which only the host must be there.

    Raises:
      RecipeError: it is not such an address.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) < 1 << 16):
        raise RecipeError(
            f"'ssh://{address}' is not an address: expected ssh://user@host or ssh://user@host:port, such as "
            "ssh://pi@raspberrypi.local."
        )
    port = None if found["port"] is None else int(found["port"])
    return Address(host=found["six"] or found["name"], user=found["user"], port=port)


class Host:
    """An open connection; see `connected`."""

    def __init__(self, command: Sequence[str], folder: str, name: str) -> None:
        """Takes what opens a session on the connection, up to the command that it is to run."""
        self._command = command
        self.folder = folder
        self.name = name

    def run(
        self, command: str, *, given: bytes | IO[bytes] = b"", seconds: float | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        """Runs a shell command there and returns its status and what it wrote.

        Args:
          command: for a POSIX shell.
          given: its standard input.
          seconds: longest time that it may take; None: as long as the connection holds.

        Raises:
          TargetError: the connection broke, or the command did not end in time.
        """
        source: dict[str, Any] = {"input": given} if isinstance(given, bytes) else {"stdin": given}
        try:
            done = subprocess.run(
                [*self._command, command],
                **source,
                capture_output=True,
                start_new_session=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise TargetError(f"{self.name} did not end {command!r} within {seconds:g} s: it hangs.") from error
        if done.returncode == _LOST:
            raise TargetError(
                f"the connection to {self.name} broke ({_last_line(done.stderr)}): check that the device has power and "
                "network, and measure again."
            )
        return done

    def write(self, name: str, content: bytes | Path) -> str:
        """Writes a file of the folder there, and returns its path.

        Args:
          name: of the file, which may begin with folders that are made.
          content: bytes, or a file here.

        Raises:
          StorageError: it cannot be written, as on a full disk.
          TargetError: the connection broke.
        """
        path = f"{self.folder}/{name}"
        command = f"mkdir -p {shlex.quote(path.rpartition('/')[0])} && cat >{shlex.quote(path)}"
        if isinstance(content, bytes):
            done = self.run(command, given=content)
        else:
            with content.open("rb") as file:
                done = self.run(command, given=file)
        if done.returncode != 0:
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            raise StorageError(
                f"cannot write {name!r} ({size:,} bytes) to {self.folder!r} on {self.name}: {_last_line(done.stderr)}. "
                "Free space there, or set TMPDIR for its logins to a folder that has some."
            )
        return path

    def prepare(self, command: Sequence[str], variables: Mapping[str, str]) -> str:
        """Returns the command that starts a program in this folder, to be followed by one last argument.

        Args:
          command: the program and its first arguments.
          variables: of its environment.
        """
        # ONNX Runtime leaves a file in the folder for temporary files.
        own = {**variables, "TMPDIR": self.folder}
        given = ["env", *(f"{name}={value}" for name, value in own.items()), *command]
        script = _START.format(folder=shlex.quote(self.folder), command=shlex.join(given), unwritable=UNWRITABLE_STATUS)
        return f"exec sh {shlex.quote(self.write('start', script.encode()))}"

    def start(self, command: str, errors: IO[bytes]) -> subprocess.Popen[str]:
        """Starts a command there, whose standard input and output are pipes."""
        return subprocess.Popen(
            [*self._command, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # the terminal's Ctrl-C goes to this process alone, which ends them
        )


@contextlib.contextmanager
def connected(address: Address, *, config: str | None = None, identity: str | None = None) -> Iterator[Host]:
    """Connects, makes a temporary folder there, and removes it however the block is left.

    The host's key must be known (StrictHostKeyChecking), and only keys are offered, never a password (BatchMode).

    Args:
      address: whom to reach.
      config: a configuration file of ssh instead of the user's own.
      identity: the file of the private key to use.

    Raises:
      StorageError: there is no such file, or no folder can be made there.
      TargetError: there is no ssh client, the host cannot be reached, or it does not let the user in.
    """
    program = shutil.which("ssh")
    if program is None:
        raise TargetError("there is no ssh client on this machine: install OpenSSH (Debian: openssh-client).")
    own = _own_options(address, config, identity)
    options = [*_FIXED, *own]
    if identity is not None:
        options += ["-o", "IdentitiesOnly=yes"]
    with _private_folder() as private, tempfile.TemporaryFile() as errors:
        socket = str(Path(private, "s"))
        keeper = subprocess.Popen(
            [program, *options, "-M", "-S", socket, "--", address.destination, f"exec sh -c {shlex.quote(_KEEPER)}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        folder = None
        try:
            folder = _folder(keeper, address, errors, own)
            # A session that does not find the keeper's connection must fail: it must not open another one.
            shared = [program, *options, "-o", "ControlMaster=no", "-S", socket, "-o", "ProxyCommand=false"]
            yield Host([*shared, "--", address.destination], folder, address.destination)
        finally:
            _leave(keeper, address, folder)


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    """Yields a folder for the connection's socket, and removes it; first those that killed callers left behind."""
    remove_left(_SOCKETS)
    # The lock ends with this process, however that ends.
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_SOCKETS) as private,
        filelock.FileLock(Path(private, _LOCK)),
    ):
        yield private


def remove_left(folder: Path) -> None:
    """Removes this user's folders of connections whose callers are gone: nobody holds their locks any more."""
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError, filelock.Timeout):
            found, lock = path.lstat(), Path(path, _LOCK)
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if ours and time.time() - found.st_mtime > _NEW_SECONDS and lock.is_file():
                with filelock.FileLock(lock, blocking=False):
                    shutil.rmtree(path)


def _own_options(address: Address, config: str | None, identity: str | None) -> list[str]:
    """Returns what the user said of the connection, as options of ssh and of ssh-copy-id."""
    options = []
    if config is not None:
        options += ["-F", str(storage.require_file(Path(config), "ssh configuration"))]
    if identity is not None:
        options += ["-i", str(storage.require_file(Path(identity), "private key"))]
    if address.port is not None:
        options += ["-p", str(address.port)]
    return options


def _folder(keeper: subprocess.Popen[str], address: Address, errors: IO[bytes], own: Sequence[str]) -> str:
    """Returns the folder that the keeper has made; `own` are the user's options of ssh, for messages."""
    with _killed_after(2 * _CONNECT_SECONDS, keeper):
        line = cast(IO[str], keeper.stdout).readline().rstrip("\n")
    if line.startswith(_MARK):
        return line.removeprefix(_MARK)
    name = address.destination
    if line:
        raise TargetError(
            f"the login shell of {name} prints {line!r} before it runs a command, which would come between the "
            "measurements: make its start-up file silent where no terminal is."
        )
    status = keeper.wait()
    errors.seek(0)
    said = errors.read().decode(errors="replace")
    if status > 0 and status != _LOST:
        raise StorageError(
            f"cannot make a temporary folder on {name}: {_last_line(said)}. Free space there, or set TMPDIR for its "
            "logins to a folder that may be written."
        )
    raise TargetError(why_not_connected(address, own, said))


def why_not_connected(address: Address, own: Sequence[str], said: str) -> str:
    """Returns what to do where no connection came about.

    Args:
      address: whom to reach.
      own: the user's options of ssh, which the commands that are suggested need too.
      said: by the ssh client.
    """
    name, last = address.destination, _last_line(said)
    command = shlex.join(["ssh", *own, name])
    if "IDENTIFICATION HAS CHANGED" in said:
        known = address.host if address.port is None else f"[{address.host}]:{address.port}"
        return (
            f"{name} shows another host key than the one that is known: another machine may answer in its place. If "
            f"you know that it was set up anew, forget the old key (`{shlex.join(['ssh-keygen', '-R', known])}`) and "
            f"connect once with `{command}`."
        )
    if "Host key verification failed" in said or "host key is known" in said:
        return (
            f"the host key of {name} is not known, so it may be any machine: connect once with `{command}`, "
            "compare the fingerprint with the device's own (there: ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub), and accept it."
        )
    if "Permission denied" in said or "Too many authentication failures" in said:
        return (
            f"{name} does not let this user in ({last}): only keys are used, never a password. Put your public key "
            f"there (`{shlex.join(['ssh-copy-id', *own, name])}`), load it (ssh-add), or name its file by the setting "
            "identity."
        )
    return (
        f"{name} cannot be reached ({last}): check the name, the port and the network, that the device is on, and "
        f"that `{command} true` works."
    )


def _leave(keeper: subprocess.Popen[str], address: Address, folder: str | None) -> None:
    """Closes the connection once the keeper has removed the folder, for which it has some time.

    The client stays as long as any session of the connection does, also one that hangs there: it is ended.
    """
    with contextlib.suppress(BrokenPipeError):
        cast(IO[str], keeper.stdin).close()
    with _killed_after(_CLEANUP_SECONDS, keeper), cast(IO[str], keeper.stdout) as lines:
        gone = any(line.rstrip("\n") == _GONE for line in lines)
    try:
        keeper.wait(timeout=_CLOSING_SECONDS)
    except subprocess.TimeoutExpired:
        keeper.kill()
        keeper.wait()
    if not gone and folder is not None:
        _LOG.warning(
            "%s could not be asked to remove %s: it does so by itself when it notices that the connection is gone.",
            address.destination,
            folder,
        )


@contextlib.contextmanager
def _killed_after(seconds: float, process: subprocess.Popen[str]) -> Iterator[None]:
    """Kills a process that the block waits for in vain; however the block is left, nothing of this stays behind."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _last_line(said: str | bytes) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removesuffix(".") if lines else "it says nothing"
