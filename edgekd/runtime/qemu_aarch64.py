"""An Arm Python in QEMU's user-mode emulation, for `.tflite` and `.onnx` files: what Arm's kernels compute.

The emulator computes what the processor would, at another speed: outputs come back and never a time. The Arm Python
lies in a folder of the user's, which has its libraries and a runtime (docs/bench-targets.md says how to make one).
"""

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd.child_process import Child
from edgekd.errors import ModelError, TargetError
from edgekd.runtime import standalone
from edgekd.runtime.isolated import IsolatedRunner
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays

SUFFIXES = ()  # asked for by name
OPENS = (".tflite", ".onnx")
NATIVE_PARSER = False  # a file that crashes it ends only the emulated process
ONLY_BY_NAME = True  # it needs a folder of the user's, and emulation takes its time
VARIANTS = {"qemu_aarch64": {}, "qemu_aarch64_builtin": {"xnnpack": False}}
PROGRAM = "qemu-aarch64"
SYSROOT_VARIABLE = "EDGEKD_AARCH64_SYSROOT"

_PROGRAMS = (PROGRAM, f"{PROGRAM}-static")
_ARCHITECTURE = "aarch64"
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclasses.dataclass(frozen=True)
class Arm:
    """What computes the outputs.

    Attributes:
      emulator: its name and version.
      cpu: that it emulates.
      python: the version of the Arm Python.
      numpy: the version of its NumPy.
      runtime: its name and version.
      delegate: of the runtime, or None.
    """

    emulator: str
    cpu: str
    python: str
    numpy: str
    runtime: str
    delegate: str | None


class QemuRunner(ClosingRunner):
    """A model in the runtime of an Arm Python."""

    def __init__(self, path: Path, child: Child, arm: Arm, local: IsolatedRunner) -> None:
        self.name, self.arm = path.name, arm
        self._path, self._child = path, child
        self.inputs, self.outputs, self.preprocessing = local.inputs, local.outputs, local.preprocessing
        self._stateful = local.stateful

    @property
    def stateful(self) -> bool:
        """Whether the graph has variables."""
        return self._stateful

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if not self._child.is_alive:
            raise ModelError(f"{self.name!r} is closed, or crashed its process: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        _, outputs = self._child.ask("run", arrays, path=self._path, doing=f"run under {PROGRAM}")
        return outputs

    def reset(self) -> None:
        if self.stateful:
            self._child.ask("reset", path=self._path, doing=f"reset under {PROGRAM}")

    def close(self) -> None:
        self._child.close()


def open_runner(
    path: Path,
    *,
    num_threads: int = 1,
    xnnpack: bool | None = None,
    sysroot: str | None = None,
    python: str | None = None,
    cpu: str = "max",
) -> QemuRunner:
    """Returns a runner for a file in an Arm Python.

    Args:
      path: the file.
      num_threads: threads that the runtime may use.
      xnnpack: for a TFLite file: whether XNNPACK takes operators, or the built-in kernels run all; None: the runtime's
        choice.
      sysroot: a folder with the Arm Python and its libraries; by default what EDGEKD_AARCH64_SYSROOT names.
      python: the interpreter in that folder, such as `usr/bin/python3.11`; by default the newest in `usr/bin`.
      cpu: the processor, as `qemu-aarch64 -cpu help` names them; it decides which kernels a runtime chooses.

    Raises:
      TargetError: there is no emulator or no Arm Python, it does not start, or lacks the runtime.
      ModelError: the file cannot be run, here or there.
    """
    emulator, interpreter = _emulator(), _interpreter(sysroot, python)
    command = [emulator, "-cpu", cpu, "-L", str(interpreter.root), str(interpreter.path), "-I", "-B"]
    child = Child(
        command=[*command, str(Path(standalone.__file__).resolve())],
        variables={name: os.environ[name] for name in _KEPT if name in os.environ},
    )
    try:
        about = _described(child, interpreter, path.suffix.lower())
        question = {"path": str(path.resolve()), "num_threads": num_threads, "xnnpack": xnnpack}
        options = {} if path.suffix.lower() == ".onnx" else {"xnnpack": xnnpack is not False}
        with IsolatedRunner(path, num_threads=num_threads, options=options) as local:
            opened = _opened(child, path, question, about)
            arm = Arm(
                emulator=f"{PROGRAM} {_version(emulator)}",
                cpu=cpu,
                python=about["python"],
                numpy=about["packages"]["numpy"],
                runtime=opened["runtime"],
                delegate=opened["delegate"],
            )
            _check_interface(path, opened, local)
            return QemuRunner(path, child, arm, local)
    except BaseException:
        child.close()
        raise


@dataclasses.dataclass(frozen=True)
class _Interpreter:
    """An Arm Python and the folder that stands for its root."""

    root: Path
    path: Path


def _emulator() -> str:
    found = next((each for each in map(shutil.which, _PROGRAMS) if each is not None), None)
    if found is None:
        raise TargetError(
            f"there is no {PROGRAM} on this machine: install QEMU's user-mode emulation (Debian: qemu-user)."
        )
    return found


def _interpreter(sysroot: str | None, python: str | None) -> _Interpreter:
    given = sysroot or os.environ.get(SYSROOT_VARIABLE)
    if not given:
        raise TargetError(
            f"{PROGRAM} needs a folder with an Arm Python: name one by the setting sysroot or by {SYSROOT_VARIABLE} "
            "(docs/bench-targets.md says how to make one)."
        )
    folder = Path(given).resolve()
    if not folder.is_dir():
        raise TargetError(
            f"the folder {str(folder)!r}, which is to hold an Arm Python, does not exist: check the path."
        )
    if python is not None:
        path = folder / python.removeprefix("/")
        if not path.is_file():
            raise TargetError(f"there is no {python!r} in {str(folder)!r}: name the Arm interpreter in that folder.")
        return _Interpreter(folder, path)
    found = [each for each in folder.glob("usr/bin/python3.*") if each.suffix[1:].isdigit()]
    if not found:
        raise TargetError(
            f"there is no usr/bin/python3.N in {str(folder)!r}: unpack an Arm Python there (docs/bench-targets.md), or "
            "name it by the setting python."
        )
    return _Interpreter(folder, max(found, key=lambda each: int(each.suffix[1:])))


def _described(child: Child, interpreter: _Interpreter, suffix: str) -> dict[str, Any]:
    """Returns what the Arm Python is and has; TargetError where it does not work or is none."""
    try:
        about: dict[str, Any] = child.ask("describe", path=interpreter.path, doing=f"started under {PROGRAM}")[0]
    except ModelError as error:
        raise TargetError(
            f"the Arm Python does not work: {str(error).removesuffix('.')}. docs/bench-targets.md has what it needs."
        ) from error
    if about["architecture"] != _ARCHITECTURE:
        raise TargetError(
            f"{str(interpreter.path)!r} is a Python for {about['architecture']}, not for {_ARCHITECTURE}: unpack the "
            "packages of Arm (arm64)."
        )
    packages = about["packages"]
    wanted = (standalone.ONNX_RUNTIME,) if suffix == ".onnx" else standalone.LITERT
    if not any(packages[each] for each in wanted):
        raise TargetError(
            f"the Arm Python in {str(interpreter.root)!r} lacks {' or '.join(wanted)}: install its aarch64 wheel there "
            "(docs/bench-targets.md)."
        )
    return about


def _opened(child: Child, path: Path, question: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """Opens the file there; a file that was opened here and crashes it there is the runtime's fault."""
    try:
        opened: dict[str, Any] = child.ask(question, path=path, doing=f"opened under {PROGRAM}")[0]
    except ModelError as error:
        if child.is_alive:  # it answered: the runtime does not take the file
            raise
        has = ", ".join(f"{name} {version}" for name, version in about["packages"].items() if version)
        raise TargetError(
            f"the runtime of the Arm Python ({has}) crashed under {PROGRAM} when it opened {path.name!r}, which can be "
            "opened here: some releases do. docs/bench-targets.md names one that works."
        ) from error
    return opened


def _version(emulator: str) -> str:
    said = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=False).stdout.split()
    return said[2] if len(said) > 2 else "of unknown version"


def _check_interface(path: Path, opened: dict[str, Any], local: IsolatedRunner) -> None:
    """Raises ModelError unless inputs and outputs there are those here."""
    for side, specs in (("inputs", local.inputs), ("outputs", local.outputs)):
        here = [(spec.name, spec.dtype) for spec in specs]
        there = [(name, dtype or spec.dtype) for (name, dtype), spec in zip(opened[side], specs, strict=False)]
        if len(opened[side]) != len(specs) or here != there:
            raise ModelError(
                f"{path.name!r} has the {side} {here} here and {opened[side]} under {PROGRAM}: the runtimes read it "
                "differently, so nothing can be compared."
            )
