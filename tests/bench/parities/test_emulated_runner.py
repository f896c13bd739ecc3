"""The runner of an Arm Python, see conftest.py."""

import ast
from pathlib import Path

import numpy as np
import pytest

from edgekd import runtime
from edgekd.errors import ModelError, TargetError
from edgekd.runtime import qemu_aarch64, standalone
from tests.bench.parities.conftest import FLIP


def test_outputs_are_those_of_the_python_that_is_emulated(arm, monkeypatch, int8_tflite):
    monkeypatch.setenv("SECRET_TOKEN", "do not pass on")
    arrays = [np.arange(64, dtype=np.int8).reshape(1, 64)]
    with runtime.open_runner(int8_tflite) as local:
        expected = local.run(arrays)
        inputs, outputs = local.inputs, local.outputs
    with runtime.open_runner(int8_tflite, runtime="qemu_aarch64", cpu="cortex-a53") as runner:
        assert (runner.inputs, runner.outputs) == (inputs, outputs)
        np.testing.assert_array_equal(runner.run(arrays)[0], expected[0])
        assert runner.arm.emulator == "qemu-aarch64 0.9"
        assert runner.arm.runtime.startswith("ai-edge-litert ")
        assert runner.arm.numpy == np.__version__
        assert runner.arm.delegate == "XNNPACK, 1 partition"
    told = (arm.folder / "arguments").read_text().split()
    assert told[:6] == ["-cpu", "cortex-a53", "-L", str(arm.root), str(arm.root / "usr/bin/python3.11"), "-I"]
    assert "SECRET_TOKEN" not in (arm.folder / "environment").read_text()
    arm.emulate(more=FLIP)
    with runtime.open_runner(int8_tflite, runtime="qemu_aarch64_builtin") as runner:
        np.testing.assert_array_equal(runner.run(arrays)[0], expected[0] ^ 1)
        assert runner.arm.delegate is None


def test_an_onnx_file_runs_with_an_open_batch(arm, dense_onnx):
    arrays = [np.linspace(-1, 1, 192, dtype=np.float32).reshape(3, 64)]
    with (
        runtime.open_runner(dense_onnx, runtime="qemu_aarch64") as runner,
        runtime.open_runner(dense_onnx) as local,
    ):
        np.testing.assert_array_equal(runner.run(arrays)[0], local.run(arrays)[0])


def test_what_is_missing_is_named_with_what_to_do(arm, monkeypatch, tmp_path, dense_tflite):
    def opened(**options):
        runtime.open_runner(dense_tflite, runtime="qemu_aarch64", **options).close()

    with pytest.raises(TargetError, match=r"no 'opt/python' in '.*root': name the Arm interpreter"):
        opened(python="opt/python")
    with pytest.raises(TargetError, match=r"the folder '.*gone', which is to hold an Arm Python, does not exist"):
        opened(sysroot=str(tmp_path / "gone"))
    with pytest.raises(TargetError, match=r"no usr/bin/python3\.N in .*: unpack an Arm Python there"):
        opened(sysroot=str(tmp_path))
    monkeypatch.delenv("EDGEKD_AARCH64_SYSROOT")
    with pytest.raises(TargetError, match="name one by the setting sysroot or by EDGEKD_AARCH64_SYSROOT"):
        opened()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TargetError, match=r"no qemu-aarch64 on this machine.*Debian: qemu-user"):
        opened(sysroot=str(arm.root))


def test_a_python_that_does_not_do_is_refused(arm, dense_tflite):
    def opened():
        runtime.open_runner(dense_tflite, runtime="qemu_aarch64").close()

    arm.emulate(machine="x86_64")
    with pytest.raises(TargetError, match=r"is a Python for x86_64, not for aarch64: unpack the packages of Arm"):
        opened()
    arm.emulate(
        more="import importlib.metadata as m; m.version = lambda name: (_ for _ in ()).throw(m.PackageNotFoundError)"
    )
    with pytest.raises(TargetError, match="lacks ai-edge-litert or tflite-runtime: install its aarch64 wheel there"):
        opened()
    arm.emulate(python="/bin/false")
    with pytest.raises(TargetError, match=r"the Arm Python does not work: .*docs/bench-targets\.md has what"):
        opened()
    arm.emulate(more="import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(TargetError, match=r"the Arm Python does not work: .* SIGSEGV when it was started"):
        opened()


def test_a_file_that_the_runtime_there_refuses_is_reported_in_its_words(arm, dense_tflite):
    arm.emulate(more=(
        "from ai_edge_litert.interpreter import Interpreter\n"
        "def refuse(self):\n"
        "    raise RuntimeError(\"Didn\\x27t find op\")\n"
        "Interpreter.allocate_tensors = refuse\n"
    ))  # fmt: skip
    with pytest.raises(ModelError, match="Didn't find op"):
        runtime.open_runner(dense_tflite, runtime="qemu_aarch64")


def test_a_runtime_that_crashes_with_a_good_file_is_blamed_and_not_the_file(arm, dense_tflite):
    arm.emulate(
        more="import os, ai_edge_litert.interpreter as i\ni.Interpreter.allocate_tensors = lambda self: os.abort()"
    )
    with pytest.raises(
        TargetError, match=r"the Arm Python \(numpy .*, ai-edge-litert .*\) crashed under .* some releases"
    ):
        runtime.open_runner(dense_tflite, runtime="qemu_aarch64")


def test_what_runs_there_reads_no_clock_and_nothing_of_edgekd():
    tree = ast.parse(Path(standalone.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in imported} & {"time", "timeit", "datetime", "resource", "edgekd"}
    names = set(qemu_aarch64.Arm.__dataclass_fields__)
    assert not any(word in name for name in names for word in ("_ms", "second", "latency", "time_"))
