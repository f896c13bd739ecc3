"""What is recorded of outputs under emulation, see conftest.py."""

import json

import pytest

from edgekd import bench, records
from edgekd.bench.report import ParityReport
from edgekd.errors import ModelError, RecipeError, TargetError
from tests.bench.parities.conftest import FLIP

pytestmark = pytest.mark.usefixtures("kept_children")


def test_a_record_says_what_ran_and_how_far_the_outputs_are_apart(arm, int8_tflite):
    (same,) = bench.check_parity([int8_tflite], target="qemu-aarch64", samples=2, seed=3)
    assert (same.artifact, same.target, same.size_bytes) == (
        "int8.tflite",
        "qemu-aarch64",
        int8_tflite.stat().st_size,
    )
    found = same.findings
    assert (found.samples, found.seed, found.cpu) == (2, 3, "cortex-a76")
    (output,) = found.outputs
    assert (output.elements, output.differing, output.max_lsb, output.agreement) == (2 * 16, 0.0, 0, 1.0)
    arm.emulate(more=FLIP)  # the lowest bit of every value
    (other,) = bench.check_parity([int8_tflite], target="qemu-aarch64", samples=2)
    (output,) = other.findings.outputs
    assert (output.differing, output.max_lsb, output.beyond_one_lsb) == (1.0, 1, 0.0)


def test_the_command_prints_no_time_and_takes_no_option_of_measuring(arm, edgekd_command, int8_tflite):
    target = ("bench", int8_tflite, "--target", "qemu-aarch64")
    shown = edgekd_command(*target, "--set", "samples=1", "--set", "delegate=none")
    assert shown.status == 0, shown.err
    assert "Emulation tells no time." in shown.out
    assert "qemu-aarch64 0.9 as cortex-a76, against ai-edge-litert" in shown.out
    assert " ms" not in shown.out
    found = json.loads(edgekd_command(*target, "--set", "samples=1", "--json").out)
    assert ParityReport.model_validate(found).parities[0].findings.outputs[0].differing == 0.0
    for option in (("--threads", "2"), ("--compare",), ("--history", "x"), ("--profile",), ("--roofline",)):
        refused = edgekd_command(*target, *option)
        assert (refused.status, refused.out) == (2, "")


def test_no_time_can_be_had_of_it(tmp_path, int8_tflite):
    with pytest.raises(RecipeError, match="compares outputs and never gives a time, so it cannot be measured on"):
        bench.measure([int8_tflite], raw_folder=tmp_path, target="qemu-aarch64")
    with pytest.raises(RecipeError, match=r"'qemu-aarch64' is compared with .*, not reckoned for"):
        bench.estimate([int8_tflite], target="qemu-aarch64")
    with pytest.raises(RecipeError, match=r"'local' is measured on .*: its outputs are not compared"):
        bench.check_parity([int8_tflite], target="local")
    fields = {
        name for kind in (records.Parity, records.ParityFindings, records.OutputParity) for name in kind.model_fields
    }
    assert not any(word in name for name in fields for word in ("_ms", "second", "latency", "time_", "cycles"))


def test_what_is_missing_is_said_before_anything_runs(monkeypatch, int8_tflite, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("EDGEKD_AARCH64_SYSROOT", raising=False)
    with pytest.raises(
        TargetError, match=r"needs the program qemu-aarch64 \(.*Debian: qemu-user\) and a folder, named"
    ):
        bench.check_parity([int8_tflite], target="qemu-aarch64")
    with pytest.raises(TargetError) as caught:
        bench.check_parity([int8_tflite], target="qemu-aarch64", sysroot=str(tmp_path))
    assert "a folder" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"samples": 0}, "samples is 0: expected at least 1"),
        ({"delegate": "gpu"}, "delegate is 'gpu': expected 'xnnpack', 'none' or null"),
        ({"sample": 3}, "Did you mean 'samples'"),
    ],
)
def test_settings_are_checked(arm, int8_tflite, settings, words):
    with pytest.raises(RecipeError, match=words):
        bench.check_parity([int8_tflite], target="qemu-aarch64", **settings)


def test_a_file_that_cannot_be_run_there_gives_a_record_only_where_that_is_asked_for(arm, int8_tflite):
    arm.emulate(more="import ai_edge_litert.interpreter as i; i.Interpreter.invoke = lambda self: 1 / 0")
    with pytest.raises(ModelError, match="int8"):
        bench.check_parity([int8_tflite], target="qemu-aarch64")
    (found,) = bench.check_parity([int8_tflite], target="qemu-aarch64", keep_refused=True)
    assert found.findings is None
    assert "division by zero" in found.refusal
