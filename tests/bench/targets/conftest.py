"""An adb server on loopback with one phone, whose file system is a folder and whose shell is this machine's.

It speaks what adb's own server and adbd do (AOSP packages/modules/adb: OVERVIEW.TXT, SERVICES.TXT, SYNC.TXT,
shell_protocol.h): a request is four hexadecimal digits of its length and the request, an answer OKAY or FAIL; then
`shell,v2` packets or `sync:` messages. As adbd does, it hangs up (SIGHUP) the command of a connection that closes.
"""

import contextlib
import os
import signal
import socketserver
import stat
import struct
import subprocess
import threading
from pathlib import Path

import psutil
import pytest

TEMPORARY = "/data/local/tmp"
FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir,apex,abb"
PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 8",
    "ro.soc.model": "Tensor G3",
    "ro.board.platform": "zuma",
    "ro.hardware": "shiba",
    "ro.build.version.release": "15",
    "ro.product.cpu.abi": "arm64-v8a",
}
PROC = {
    "/proc/cpuinfo": "".join(f"processor\t: {core}\nBogoMIPS\t: 49.15\n\n" for core in range(9)),
    "/proc/meminfo": "MemTotal:        7803996 kB\nMemFree:          300000 kB\n",
}
# What can be filled without root: files may have no byte, and writing one is an error.
_FULL = "trap '' XFSZ; ulimit -f 0; "


class FakePhone(socketserver.ThreadingTCPServer):
    """The server; `devices` are the states of all that are plugged in, of which `serial` answers."""

    daemon_threads = True

    def __init__(self, folder: Path, serial: str = "8A1X0Y2Z"):
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.programs = folder / "bin"
        self.programs.mkdir()
        lines = [f"    {name}) echo '{value}' ;;" for name, value in PROPERTIES.items()]
        self._program("getprop", "\n".join(['case "$1" in', *lines, "esac"]))
        self._program("uname", 'case "$1" in -m) echo aarch64 ;; -r) echo 6.1.99-android14 ;; esac')
        self.proc = folder / "proc"
        for path, text in PROC.items():
            (self.proc / Path(path).name).parent.mkdir(exist_ok=True)
            (self.proc / Path(path).name).write_text(text)
        self.serial, self.devices, self.features = serial, {serial: "device"}, FEATURES
        self.largest_file = None
        self.full = False
        self.requests: list[str] = []
        self.commands: list[str] = []
        super().__init__(("127.0.0.1", 0), _Connection)

    def _program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def is_clean(self) -> bool:
        """Whether nothing was left in the phone's folder, and nothing runs there."""
        running = [line for line in _command_lines() if str(self.temporary) in line]
        return list(self.temporary.iterdir()) == [] and running == []

    def local(self, text: str) -> str:
        """Puts the paths of the phone in this machine's place."""
        for name in PROC:
            text = text.replace(name, str(self.proc / Path(name).name))
        return text.replace(TEMPORARY, str(self.temporary))

    def remote(self, text: bytes) -> bytes:
        return text.replace(str(self.temporary).encode(), TEMPORARY.encode())


class _Connection(socketserver.StreamRequestHandler):
    server: FakePhone

    def handle(self):
        with contextlib.suppress(ConnectionError, EOFError):
            while True:
                request = self._exact(int(self._exact(4), 16)).decode()
                self.server.requests.append(request)
                if not self._answer(request):
                    return

    def _answer(self, request: str) -> bool:
        """Answers a request, and returns whether the connection goes on to another one."""
        phone = self.server
        if request == "host:version":
            self._okay_text(f"{41:04x}")
        elif request == "host:devices":
            self._okay_text("".join(f"{serial}\t{state}\n" for serial, state in phone.devices.items()))
        elif request == f"host-serial:{phone.serial}:features":
            self._okay_text(phone.features)
        elif request == f"host:tport:serial:{phone.serial}":
            self.wfile.write(b"OKAY" + struct.pack("<Q", 1))
            return True
        elif request.startswith(("shell,v2:", "shell,v2,raw:")):
            self.wfile.write(b"OKAY")
            self._shell(request.partition(":")[2])
        elif request == "sync:":
            self.wfile.write(b"OKAY")
            self._sync()
        else:
            message = f"device '{request}' not found".encode()
            self.wfile.write(b"FAIL" + f"{len(message):04x}".encode() + message)
        return False

    def _shell(self, command: str) -> None:
        self.server.commands.append(command)
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"{_FULL if self.server.full else ''}{self.server.local(command)}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": f"{self.server.programs}:{os.environ['PATH']}"},
            start_new_session=True,
        )
        listener = threading.Thread(target=self._listen, args=(process,), daemon=True)
        listener.start()
        outputs = [
            threading.Thread(target=self._pass_on, args=(kind, stream))
            for kind, stream in ((1, process.stdout), (2, process.stderr))
        ]
        for each in outputs:
            each.start()
        for each in outputs:
            each.join()
        status = process.wait()
        with contextlib.suppress(OSError):
            self._packet(3, bytes([status if status >= 0 else 128 - status]))

    def _listen(self, process) -> None:
        """Passes on standard input; where the connection closes instead, hangs up."""
        try:
            while True:
                kind, length = struct.unpack("<BI", self._exact(5))
                process.stdin.write(self._exact(length))
                process.stdin.flush()
                if kind == 4:
                    process.stdin.close()
        except (OSError, EOFError, ValueError):
            if process.poll() is None:
                process.send_signal(signal.SIGHUP)
            with contextlib.suppress(OSError):
                process.stdin.close()

    def _pass_on(self, kind, stream) -> None:
        with stream:
            while data := stream.read1(4096):
                with contextlib.suppress(OSError):
                    self._packet(kind, self.server.remote(data))

    def _packet(self, kind: int, data: bytes) -> None:
        self.wfile.write(struct.pack("<BI", kind, len(data)) + data)

    def _sync(self) -> None:
        message, length = self._message()
        path = self._exact(length).decode()
        if message == b"STAT":
            file = Path(self.server.local(path))
            found = file.stat() if file.exists() else None
            told = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
            self.wfile.write(b"STAT" + struct.pack("<III", *told))
            return
        assert message == b"SEND", message
        name, mode = path.rsplit(",", 1)
        content = bytearray()
        while True:
            message, length = self._message()
            if message == b"DONE":
                break
            assert message == b"DATA"
            content += self._exact(length)
        if self.server.largest_file is not None and len(content) > self.server.largest_file:
            reason = b"couldn't write to file: No space left on device"
            self.wfile.write(b"FAIL" + struct.pack("<I", len(reason)) + reason)
            return
        file = Path(self.server.local(name))
        file.write_bytes(content)
        file.chmod(stat.S_IMODE(int(mode)))
        self.wfile.write(b"OKAY" + struct.pack("<I", 0))

    def _message(self) -> tuple[bytes, int]:
        name, length = struct.unpack("<4sI", self._exact(8))
        return name, length

    def _okay_text(self, text: str) -> None:
        self.wfile.write(b"OKAY" + f"{len(text):04x}".encode() + text.encode())

    def _exact(self, count: int) -> bytes:
        data = self.rfile.read(count)
        if len(data) < count:
            raise EOFError
        return data


def _command_lines() -> list[str]:
    return [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A phone with debugging switched on, which the environment names; no real adb server is ever asked."""
    folder = tmp_path / "phone"
    folder.mkdir()
    monkeypatch.setenv("ADBUTILS_ADB_PATH", "/bin/false")
    monkeypatch.setenv("ANDROID_ADB_SERVER_HOST", "127.0.0.1")
    with FakePhone(folder) as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.server_address[1]))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
