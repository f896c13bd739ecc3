"""An Android device, reached through the adb server: a temporary folder there that does not stay behind.

One shell on the device is the folder's keeper: it makes the folder and waits. When its standard input closes, because
the measurement has ended, the caller was killed or the cable was pulled, it ends what runs there and removes the
folder.
"""

import contextlib
import logging
import os
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import adbutils
from adbutils.errors import AdbTimeout

from edgekd.errors import RecipeError, StorageError, TargetError
from edgekd.records import Machine

FOLDER = "/data/local/tmp"  # the one place on every Android where adb's shell may write and execute

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 20.0
_CLEANUP_SECONDS = 20.0
_MARK = "edgekd-folder "
# The shell of a phone is mksh with toybox. A process is ended only if its command names the folder.
_KEEPER = (
    f'umask 022; trap "" HUP INT TERM PIPE; f=$(mktemp -d {FOLDER}/edgekd-bench-XXXXXX) || exit 1; echo "{_MARK}$f"; '
    "cat >/dev/null; "
    'for n in "$f"/*.pid; do p=${n##*/}; p=${p%.pid}; '
    'if grep -qF "$f" "/proc/$p/cmdline" 2>/dev/null; then kill -9 "$p"; fi; done; rm -rf "$f"'
)
_PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.model",
    "ro.board.platform",
    "ro.hardware",
    "ro.build.version.release",
    "ro.product.cpu.abi",
)
_DESCRIBE = (
    f'for n in {" ".join(_PROPERTIES)}; do echo "$n=$(getprop $n)"; done; '
    'echo "architecture=$(uname -m)"; echo "kernel=$(uname -r)"; echo "cores=$(grep -c ^processor /proc/cpuinfo)"; '
    'echo "memory=$(grep MemTotal: /proc/meminfo | tr -dc 0-9)"'
)
# Packets of the protocol shell_v2, each with a length of four bytes (little-endian) behind this byte.
_STANDARD_OUTPUT, _STANDARD_ERROR, _EXIT, _CLOSE_INPUT = 1, 2, 3, 4
_UNAUTHORISED = {
    "unauthorized": "it does not trust this machine: unlock it and accept the question whether to allow USB debugging",
    "offline": "it does not answer: wake it up, plug it in again, or run `adb reconnect`",
    "no": "this user may not use it (`no permissions`): see udev's rules for Android devices",
}


class Device:
    """A device with a folder of this measurement; see `connected`."""

    def __init__(self, device: adbutils.AdbDevice, folder: str, serial: str) -> None:
        """Takes what opens connections to the device, and the folder there."""
        self._device = device
        self.folder = folder
        self.name = f"adb://{serial}"

    def run(self, command: str, *, seconds: float = _COMMAND_SECONDS) -> tuple[int, str]:
        """Runs a shell command there and returns its status, 128 and the signal where one ended it, and what it wrote.

        Args:
          command: for the device's shell.
          seconds: longest time that it may write nothing.

        Raises:
          TargetError: the connection broke, or it wrote nothing for too long.
        """
        try:
            done = self._device.shell2(command, timeout=seconds, v2=True, encoding="utf-8")
        except AdbTimeout as error:
            raise TargetError(f"{self.name} wrote nothing for {seconds:g} s after {command!r}: it hangs.") from error
        except (adbutils.AdbError, OSError, EOFError) as error:
            raise TargetError(_broken(self.name, error)) from error
        return done.returncode, done.output.replace("\r\n", "\n")

    def write(self, name: str, path: Path, *, mode: int = 0o644) -> str:
        """Pushes a file into the folder there, and returns its path.

        Raises:
          StorageError: it cannot be written, as on a full disk.
          TargetError: the connection broke.
        """
        there, size = f"{self.folder}/{name}", path.stat().st_size
        try:
            with path.open("rb") as file:
                self._device.sync.push(file, there, mode, check=True)
        except (adbutils.AdbError, OSError, EOFError) as error:
            free = self._free_bytes()  # which says that the connection broke, where it did
            raise StorageError(
                f"cannot write {name!r} ({size:,} bytes) to {self.folder!r} on {self.name}: the device refuses it, and "
                f"{free} there. Free space and try again."
            ) from error
        return there

    def machine(self) -> Machine:
        """Returns what the device says of itself.

        Raises:
          TargetError: it does not say how many cores or how much memory it has.
        """
        _, said = self.run(_DESCRIBE)
        told = dict(line.partition("=")[::2] for line in said.splitlines())
        get = {name: value.strip() for name, value in told.items()}.get
        try:
            cores, memory = int(get("cores") or ""), int(get("memory") or "") * 1024
        except ValueError as error:
            raise TargetError(
                f"{self.name} does not say how many cores and how much memory it has: expected an Android device with "
                "/proc/cpuinfo and /proc/meminfo."
            ) from error
        phone = " ".join(filter(None, (get("ro.product.manufacturer"), get("ro.product.model")))) or "unknown model"
        chip = get("ro.soc.model") or get("ro.board.platform") or get("ro.hardware")
        return Machine(
            system=f"Android {get('ro.build.version.release') or '(unknown)'}, Linux {get('kernel') or '(unknown)'}",
            architecture=get("architecture") or get("ro.product.cpu.abi") or "unknown",
            cpu=f"{phone} ({chip})" if chip else phone,
            logical_cores=cores,
            memory_bytes=memory,
        )

    def _free_bytes(self) -> str:
        status, said = self.run(f"df -k {shlex.quote(self.folder)}")
        fields = said.splitlines()[-1].split() if status == 0 and said.strip() else []
        found = [field for field in fields[1:4] if field.isdigit()]
        return f"{int(found[2]) * 1024:,} bytes are free" if len(found) == 3 else "it is not known how much is free"


class _Client(adbutils.AdbClient):
    """Speaks with the server that runs, and closes what it opened.

    The library's own would start a server, from a program that it brings along, and forgets connections on errors.
    """

    def __init__(self, host: str, port: int, *, timeout: float | None) -> None:
        super().__init__(host, port, socket_timeout=timeout)
        self._opened: list[adbutils.AdbConnection] = []

    def make_connection(self, timeout: float | None = None) -> adbutils.AdbConnection:
        try:
            socket.create_connection((self.host, self.port), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise TargetError(
                f"no adb server answers at {self.host}:{self.port} ({error.strerror or error}): start it by `adb "
                "start-server` (Android SDK Platform-Tools, Debian: adb), or name another by ANDROID_ADB_SERVER_HOST "
                "and ANDROID_ADB_SERVER_PORT."
            ) from error
        connection = super().make_connection(timeout)
        self._opened = [*(each for each in self._opened if not each.closed), connection]
        return connection

    def close(self) -> None:
        """Closes the connections that are still open."""
        for each in self._opened:
            each.close()


@contextlib.contextmanager
def connected(serial: str) -> Iterator[Device]:
    """Makes a temporary folder on a device, and removes it however the block is left.

    Args:
      serial: of the device, as `adb devices` shows it.

    Raises:
      RecipeError: ANDROID_ADB_SERVER_PORT is no port.
      TargetError: there is no adb server or no such device, or it lets nobody in, or is too old.
      StorageError: no folder can be made there.
    """
    with contextlib.closing(_client(timeout=_COMMAND_SECONDS)) as client:
        _check_state(client, serial)
    # Without a timeout of its own: the library pushes with `send`, which then may take a part only.
    with contextlib.closing(_client(timeout=None)) as client:
        device = client.device(serial)
        name = f"adb://{serial}"
        keeper = _keeper(device, name)
        folder = None
        try:
            folder = _folder(keeper, name)
            yield Device(device, folder, serial)
        finally:
            _leave(keeper, name, folder)


def _keeper(device: adbutils.AdbDevice, name: str) -> adbutils.AdbConnection:
    """Returns a connection to the device for the shell that holds the folder."""
    try:
        features = device.get_features().split(",")
        if "shell_v2" not in features:
            raise TargetError(f"{name} does not tell how a command ended (no shell_v2): expected Android 7 or newer.")
        return device.open_transport(timeout=_COMMAND_SECONDS)
    except (adbutils.AdbError, OSError, EOFError) as error:
        raise TargetError(_broken(name, error)) from error


def _client(*, timeout: float | None) -> _Client:
    given = os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    if not given.isdigit() or not 0 < int(given) < 1 << 16:
        raise RecipeError(f"ANDROID_ADB_SERVER_PORT is {given!r}: expected a port, such as 5037.")
    return _Client(os.environ.get("ANDROID_ADB_SERVER_HOST", "127.0.0.1"), int(given), timeout=timeout)


def _check_state(client: _Client, serial: str) -> None:
    try:
        states = {each.serial: each.state for each in client.list()}
    except (adbutils.AdbError, OSError, EOFError, ValueError) as error:
        raise TargetError(
            f"what answers at {client.host}:{client.port} is no adb server ({error}): see `adb devices`."
        ) from error
    if serial not in states:
        there = ", ".join(f"{name} ({state})" for name, state in sorted(states.items())) or "none"
        raise TargetError(
            f"the adb server knows no device {serial!r}. Known: {there}. Plug it in with USB debugging switched on, or "
            "run `adb connect HOST:PORT`."
        )
    state = states[serial]
    if state != "device":
        why = _UNAUTHORISED.get(state, "expected the state 'device'")
        raise TargetError(f"adb://{serial} is in the state {state!r}: {why}.")


def _folder(keeper: adbutils.AdbConnection, name: str) -> str:
    """Returns the folder that the keeper has made."""
    said: list[bytes] = []
    try:
        keeper.send_command(f"shell,v2,raw:{_KEEPER}")
        keeper.check_okay()
        while b"\n" not in b"".join(said):
            kind, data = _packet(keeper)
            said.append(data if kind in (_STANDARD_OUTPUT, _STANDARD_ERROR) else b"\n")
    except (adbutils.AdbError, OSError, EOFError) as error:
        raise TargetError(_broken(name, error)) from error
    line = b"".join(said).decode(errors="replace").splitlines()[0]
    if not line.startswith(_MARK):
        raise StorageError(
            f"cannot make a temporary folder in {FOLDER} on {name}: {line.strip() or 'it says nothing'}. Free space "
            "there and try again."
        )
    return line.removeprefix(_MARK)


def _packet(connection: adbutils.AdbConnection) -> tuple[int, bytes]:
    header = connection.read_exact(5)
    return header[0], connection.read_exact(int.from_bytes(header[1:], "little"))


def _leave(keeper: adbutils.AdbConnection, name: str, folder: str | None) -> None:
    """Closes the keeper's input, and gives it the time to end what runs there and to remove the folder."""
    gone = False
    try:
        keeper.conn.settimeout(_CLEANUP_SECONDS)
        keeper.send(bytes([_CLOSE_INPUT, 0, 0, 0, 0]))
        kind, data = _packet(keeper)
        while kind != _EXIT:
            kind, data = _packet(keeper)
        gone = data == b"\0"
    except (adbutils.AdbError, OSError, EOFError) as error:
        _LOG.debug("the keeper of %s did not end: %s", name, error)
    finally:
        keeper.close()
    if not gone and folder is not None:
        _LOG.warning(
            "%s could not be asked to remove %s: it does so by itself when it notices that the connection is gone.",
            name,
            folder,
        )


def _broken(name: str, error: BaseException) -> str:
    words = " ".join(str(error).split()).removesuffix(".")
    return (
        f"the connection to {name} broke ({words or type(error).__name__}): check that it is plugged in and awake, "
        "that `adb devices` shows it, and measure again."
    )
