"""Vela itself, on a dense layer of 64 x 16."""

import pytest

from edgekd.bench.estimates import ethos_u
from edgekd.errors import ModelError, RecipeError, StorageError


@pytest.fixture(scope="module")
def dense(int8_tflite):
    return ethos_u.estimate(int8_tflite)


def test_velas_figures_are_in_the_record(dense):
    assert dense.tool.startswith("Vela ")
    assert dense.configuration["accelerator"] == "ethos-u55-128"
    assert dense.configuration["clock_mhz"] == 500.0  # of Arm's high-end embedded system
    assert dense.macs == 64 * 16
    assert dense.cpu_operators == ()
    assert dense.latency_ms.value == pytest.approx(dense.cycles / 500e3)
    assert (dense.latency_ms.low, dense.latency_ms.high) == (None, None)  # Vela states no band
    assert 64 + 16 <= dense.sram_bytes < 10_000  # input and output at least
    assert dense.flash_bytes > 0


def test_a_configuration_changes_the_figures(dense, int8_tflite):
    other = ethos_u.estimate(
        int8_tflite,
        accelerator="ethos-u55-32",
        system_config="Ethos_U55_Deep_Embedded",
        memory_mode="Sram_Only",
    )
    assert other.configuration["system_config"] == "Ethos_U55_Deep_Embedded"
    assert other.configuration["clock_mhz"] == 200.0
    assert other.latency_ms.value == pytest.approx(other.cycles / 200e3)
    assert other.cycles != dense.cycles


def test_a_file_of_which_the_npu_computes_nothing_is_refused(dense_tflite):
    with pytest.raises(ModelError, match=r"all 1 are left to the CPU \(FULLY_CONNECTED y\)\. Export it as int8"):
        ethos_u.estimate(dense_tflite)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"accelerator": "ethos-u55-100"}, RecipeError, "unknown accelerator 'ethos-u55-100'. Did you mean"),
        ({"memory_mode": "Sram_Only"}, RecipeError, "takes the first two together"),
        ({"config": "vela.ini"}, RecipeError, "needs them for a config"),
        ({"config": "gone.ini", "system_config": "A", "memory_mode": "B"}, StorageError, "'gone.ini' does not exist"),
        ({"system_config": "A", "memory_mode": "Sram_Only"}, RecipeError, "Vela does not take this configuration: .*A"),
    ],
)
def test_what_vela_cannot_be_told_is_refused(int8_tflite, settings, error, words):
    with pytest.raises(error, match=words):
        ethos_u.estimate(int8_tflite, **settings)


def test_a_file_that_vela_cannot_read_is_refused(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"Vela cannot compile 'model\.tflite' for ethos-u55-128: "):
        ethos_u.estimate(tmp_path / "model.tflite")
