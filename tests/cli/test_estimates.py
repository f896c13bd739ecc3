"""edgekd bench on targets that are reckoned for."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from edgekd.bench.report import EstimateReport
from edgekd.pipeline import RunResult

Command = Callable[..., Any]


@pytest.fixture
def int8_file(finished: RunResult) -> str:
    return str(finished.folder / "export" / "student-int8.tflite")


def test_an_estimate_is_printed_with_its_band_and_is_not_called_a_measurement(edgekd_command, int8_file):
    result = edgekd_command("bench", int8_file, "--target", "cortex-m", "--set", "core=cortex-m85")
    assert result.status == 0, result.err
    assert "Estimated time, ms (band)" in result.out
    assert "nothing in this table was measured" in result.out
    assert "core=cortex-m85, kernels=optimised, clock_mhz=480.0" in result.out


def test_json_holds_the_records(edgekd_command, int8_file):
    result = edgekd_command("bench", int8_file, "--target", "cortex_m", "--json")
    report = EstimateReport.model_validate(json.loads(result.out))
    assert report.estimates[0].figures.latency_ms.low < report.estimates[0].figures.latency_ms.value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "2"], "--threads is for measuring, and cortex-m is reckoned for"),
        (["--compare"], "--compare is for measuring"),
        (["--format", "csv"], "--format csv is for measurements"),
        (["--set", "core=cortex-m0"], "nothing is known of 'cortex-m0'"),
        (["--set", "seed=1"], "--set seed"),
        (["--seed", "1"], "unknown setting of target 'cortex-m' 'seed'"),
    ],
)
def test_what_is_of_measuring_is_refused(edgekd_command, int8_file, arguments, words):
    result = edgekd_command("bench", int8_file, "--target", "cortex-m", *arguments)
    assert result.status == 2
    assert words in result.err
    assert result.out == ""


def test_no_model_is_a_usage_error(edgekd_command):
    result = edgekd_command("bench", "--target", "cortex-m")
    assert (result.status, result.out) == (2, "")
    assert "name at least one MODEL" in result.err
