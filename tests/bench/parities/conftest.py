"""The emulator's part is played by this machine's own Python: what is tested is everything around the emulation.

docs/bench-targets.md has what the real emulator with a real Arm Python printed.
"""

import sys
from pathlib import Path

import pytest

# Drops the emulator's options and the Arm Python, and runs the rest here, on a machine that calls itself aarch64.
EMULATOR = """#!/bin/sh
[ "$1" = --version ] && {{ echo "qemu-aarch64 version 0.9 (of the tests)"; exit; }}
echo "$@" >{folder}/arguments
env >{folder}/environment
shift 7
exec {python} -I -B -c '
import platform, runpy, sys
platform.machine = lambda: "{machine}"
{more}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""
FLIP = """
from ai_edge_litert.interpreter import Interpreter
get = Interpreter.get_tensor
Interpreter.get_tensor = lambda self, index: get(self, index) ^ 1
"""


class Arm:
    """A folder with an Arm Python, and an emulator on the path."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder = folder
        self.root = folder / "root"
        (self.root / "usr/bin").mkdir(parents=True)
        (self.root / "usr/bin/python3.9").touch()
        (self.root / "usr/bin/python3.11").touch()
        (folder / "bin").mkdir()
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("EDGEKD_AARCH64_SYSROOT", str(self.root))
        self.emulate()

    def emulate(self, *, machine="aarch64", more="", python=sys.executable):
        program = self.folder / "bin" / "qemu-aarch64"
        program.write_text(EMULATOR.format(folder=self.folder, python=python, machine=machine, more=more))
        program.chmod(0o755)


@pytest.fixture
def arm(tmp_path, monkeypatch):
    return Arm(tmp_path, monkeypatch)
