"""The estimate for Cortex-M cores against the numbers that it comes from, and against arithmetic by hand."""

import math

import pytest

from edgekd.bench import cortex_m_model as model
from edgekd.bench.estimates import cortex_m
from edgekd.errors import ModelError, RecipeError

# Published cycles per MAC: keyword spotting, visual wake words, image classification, anomaly detection.
CYCLES_PER_MAC = {
    ("cortex-m4", "reference"): (8.2, 9.6, 6.8, 4.6),
    ("cortex-m4", "optimised"): (1.96, 1.43, 1.59, 2.18),
    ("cortex-m7", "optimised"): (1.19, 0.89, 0.91, 1.30),
    ("cortex-m85", "optimised"): (0.63, 0.86, 0.33, 0.96),
}


def conv(height, width, out, inputs, kernel=9):
    return height * width * out * inputs * kernel


def test_the_networks_macs_are_those_of_their_layers():
    spotting = {
        "convolution": conv(25, 5, 64, 1, kernel=40) + 4 * conv(25, 5, 64, 64, kernel=1),
        "depthwise": 4 * conv(25, 5, 64, 1),
        "dense": 64 * 12,
    }
    blocks = [(48, 8, 16), (24, 16, 32), (24, 32, 32), (12, 32, 64), (12, 64, 64), (6, 64, 128)]
    blocks += [(6, 128, 128)] * 5 + [(3, 128, 256), (3, 256, 256)]  # output size, channels in, channels out
    words = {
        "convolution": conv(48, 48, 8, 3) + sum(conv(size, size, out, inputs, 1) for size, inputs, out in blocks),
        "depthwise": sum(conv(size, size, inputs, 1) for size, inputs, _ in blocks),
        "dense": 256 * 2,
    }
    images = conv(32, 32, 16, 3) + 2 * conv(32, 32, 16, 16)
    for size, inputs, out in ((16, 16, 32), (8, 32, 64)):
        images += conv(size, size, out, inputs) + conv(size, size, out, out) + conv(size, size, out, inputs, 1)
    anomalies = 2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8
    assert {
        "keyword_spotting": spotting,
        "visual_wake_words": words,
        "image_classification": {"convolution": images, "depthwise": 0, "dense": 64 * 10},
        "anomaly_detection": {"convolution": 0, "depthwise": 0, "dense": anomalies},
    } == model.NETWORKS
    totals = [sum(macs.values()) / 1e6 for macs in model.NETWORKS.values()]
    assert totals == pytest.approx([2.657, 7.490, 12.50, 0.264], rel=1e-3)


@pytest.mark.parametrize("library", model.LIBRARIES, ids=lambda each: f"{each.core}-{each.kernels}")
def test_the_latencies_are_those_of_the_published_cycles_per_mac(library):
    for (name, macs), published in zip(
        model.NETWORKS.items(), CYCLES_PER_MAC[library.core, library.kernels], strict=True
    ):
        cycles = library.milliseconds[name] * library.clock_mhz * 1e3
        assert cycles / sum(macs.values()) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("library", model.LIBRARIES, ids=lambda each: f"{each.core}-{each.kernels}")
def test_networks_of_one_kind_of_operator_set_its_coefficient(library):
    _, _, images, anomalies = CYCLES_PER_MAC[library.core, library.kernels]
    found = model.fitted(library).cycles_per_mac
    assert found["dense"] == pytest.approx(anomalies, rel=0.02)
    assert found["convolution"] == pytest.approx(images, rel=0.05)


@pytest.mark.parametrize("library", model.LIBRARIES, ids=lambda each: f"{each.core}-{each.kernels}")
def test_a_kind_that_no_network_has_gets_the_mean_of_the_others(library):
    # The ridge alone decides then: log c_dense = (log c_convolution + log c_depthwise) / 2.
    convolution, depthwise, dense = model.coefficients(
        library, [name for name in model.NETWORKS if name != "anomaly_detection"]
    )
    assert dense == pytest.approx(math.sqrt(convolution * depthwise), rel=0.01)
    macs = model.NETWORKS["anomaly_detection"]["dense"]
    published = CYCLES_PER_MAC[library.core, library.kernels][3] * macs
    assert model.left_out_ratios(library)["anomaly_detection"] == pytest.approx(dense * macs / published, rel=0.02)


@pytest.mark.parametrize("library", model.LIBRARIES, ids=lambda each: f"{each.core}-{each.kernels}")
def test_the_band_holds_every_network_that_was_left_out(library):
    factor = model.fitted(library).band_factor
    ratios = model.left_out_ratios(library)
    assert len(ratios) == 4
    assert all(1 / factor <= ratio * (1 + 1e-9) and ratio <= factor * (1 + 1e-9) for ratio in ratios.values())
    assert any(max(ratio, 1 / ratio) == pytest.approx(factor) for ratio in ratios.values())
    assert 1.2 < factor < 3.5


def test_a_dense_file_takes_its_macs_times_the_dense_coefficient(int8_tflite):
    found = cortex_m.estimate(int8_tflite)
    cycles = 64 * 16 * 2.18
    assert found.macs == 64 * 16
    assert found.cycles == pytest.approx(cycles, rel=0.02)
    assert found.latency_ms.value == pytest.approx(cycles / 120e3, rel=0.02)
    assert found.latency_ms.low < found.latency_ms.value < found.latency_ms.high
    factor = model.fitted(model.library("cortex-m4", "optimised")).band_factor
    assert found.latency_ms.high / found.latency_ms.value == pytest.approx(factor)
    assert cortex_m.estimate(int8_tflite, clock_mhz=60.0).latency_ms.value == pytest.approx(2 * found.latency_ms.value)


def test_what_nothing_is_known_of_is_refused(int8_tflite, dense_tflite):
    with pytest.raises(RecipeError, match="nothing is known of 'cortex-m0' with 'optimised' kernels: choose one of"):
        cortex_m.estimate(int8_tflite, core="cortex-m0")
    with pytest.raises(RecipeError, match="nothing is known of 'cortex-m7' with 'reference' kernels"):
        cortex_m.estimate(int8_tflite, core="cortex-m7", kernels="reference")
    with pytest.raises(RecipeError, match="clock_mhz is 0"):
        cortex_m.estimate(int8_tflite, clock_mhz=0.0)
    with pytest.raises(ModelError, match=r"computes FULLY_CONNECTED in float32: .*Export the scheme int8"):
        cortex_m.estimate(dense_tflite)
