"""Parameters and multiply-accumulates of every family against published tables, or counts done by hand."""

import pytest

from edgekd import architectures
from edgekd.cost import count_folded_parameters, count_macs, count_parameters


def create(name, input_shape, num_classes, **arguments):
    return architectures.create(name, input_shape=input_shape, num_classes=num_classes, seed=0, arguments=arguments)


def trainable(model):
    return sum(weight.numpy().size for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("name", "input_shape", "num_classes", "macs", "folded"),
    [
        ("ds_cnn", (49, 10, 1), 12, 2.657e6, 22.6e3),
        ("mobilenet_v1", (96, 96, 3), 2, 7.490e6, 210.9e3),
        ("resnet", (32, 32, 3), 10, 12.50e6, 77.7e3),
        ("autoencoder", (640,), 2, 0.264e6, 265.9e3),
    ],
)
def test_the_mlperf_tiny_networks_cost_what_the_benchmark_publishes(name, input_shape, num_classes, macs, folded):
    model = create(name, input_shape, num_classes)
    assert count_macs(model) == pytest.approx(macs, rel=1e-3)
    assert count_folded_parameters(model) == pytest.approx(folded, abs=60)  # published to the nearest hundred


def test_resnet8_has_the_parameters_counted_by_hand():
    # Each convolution with its folded bias: stem, stage 1, stages 2 and 3 with their 1x1 shortcut, dense.
    stem = 27 * 16 + 16
    stage1 = 2 * (9 * 16 * 16 + 16)
    stage2 = (9 * 16 * 32 + 32) + (9 * 32 * 32 + 32) + (16 * 32 + 32)
    stage3 = (9 * 32 * 64 + 64) + (9 * 64 * 64 + 64) + (32 * 64 + 64)
    assert count_folded_parameters(create("resnet", (32, 32, 3), 10)) == stem + stage1 + stage2 + stage3 + 64 * 10 + 10


@pytest.mark.parametrize(
    ("blocks", "published_millions", "exact"),
    [(3, 0.27, 269_722), (5, 0.46, 464_154), (9, 0.85, 853_018), (18, 1.7, 1_727_962)],
)
def test_deeper_resnets_have_the_published_parameters(blocks, published_millions, exact):
    parameters = trainable(create("resnet", (32, 32, 3), 10, blocks=blocks, shortcut="pad"))
    assert parameters == exact  # another library's count of the same network
    assert parameters / 1e6 == pytest.approx(published_millions, rel=0.02)


def test_projection_shortcuts_add_two_1x1_convolutions_with_batch_norm():
    pad, projection = (
        trainable(create("resnet", (32, 32, 3), 10, blocks=3, shortcut=shortcut)) for shortcut in ("pad", "projection")
    )
    assert projection - pad == 16 * 32 + 32 * 64 + 2 * (32 + 64)


def test_a_stride_2_stem_costs_about_a_quarter_of_the_arithmetic():
    full, half = (count_macs(create("resnet", (32, 32, 3), 10, stem_stride=stride)) for stride in (1, 2))
    assert half == (full - 640) / 4 + 640  # all but the dense layer


@pytest.mark.parametrize(("depth", "widen", "published_millions"), [(16, 4, 2.7), (28, 10, 36.5)])
def test_wide_resnets_have_the_published_parameters(depth, widen, published_millions):
    model = create("wide_resnet", (32, 32, 3), 10, depth=depth, widen=widen)
    assert trainable(model) / 1e6 == pytest.approx(published_millions, abs=0.05)


def test_mobilenet_v1_has_the_published_cost_at_full_width():
    model = create("mobilenet_v1", (224, 224, 3), 1000, alpha=1)
    assert count_macs(model) / 1e6 == pytest.approx(569, abs=0.5)
    assert trainable(model) / 1e6 == pytest.approx(4.2, abs=0.05)


def test_mobilenet_v2_has_the_published_cost_at_full_width():
    model = create("mobilenet_v2", (224, 224, 3), 1000)
    assert count_macs(model) / 1e6 == pytest.approx(300, rel=0.01)
    assert trainable(model) == 3_504_872  # 3.5 M in the paper; the exact figure is other libraries' count
    assert count_parameters(model) - trainable(model) == 34_112  # moving means and variances


@pytest.mark.parametrize(("alpha", "published_millions"), [(0.35, 1.66), (1.4, 6.06)])
def test_mobilenet_v2_rounds_its_filters_as_published(alpha, published_millions):
    parameters = trainable(create("mobilenet_v2", (96, 96, 3), 1000, alpha=alpha))
    assert parameters / 1e6 == pytest.approx(published_millions, rel=0.02)


def test_the_pytorch_tutorials_pair_has_its_published_parameters():
    assert count_parameters(create("deep_cnn", (32, 32, 3), 10)) == 1_186_986
    assert count_parameters(create("light_cnn", (32, 32, 3), 10)) == 267_738


def test_light_cnn_has_the_multiply_accumulates_counted_by_hand():
    by_hand = 32 * 32 * 16 * 27 + 16 * 16 * 16 * 9 * 16 + 8 * 8 * 16 * 256 + 256 * 10
    assert count_macs(create("light_cnn", (32, 32, 3), 10)) == by_hand


def test_the_labs_pair_has_the_parameters_counted_by_hand():
    teacher, student = create("lab_cnn", (28, 28, 1), 10), create("lab_cnn", (28, 28, 1), 10, filters=[16])
    assert count_parameters(teacher) == (9 * 32 + 32) + (9 * 32 * 64 + 64) + (64 * 10 + 10)
    assert count_parameters(student) == (9 * 16 + 16) + (16 * 10 + 10)


def test_scaled_cnn_shrinks_fourfold_when_its_scale_halves():
    big, small = (count_parameters(create("scaled_cnn", (32, 32, 3), 10, scale=scale)) for scale in (32, 16))
    assert big / 1e6 == pytest.approx(4.3, abs=0.05)
    assert small / 1e6 == pytest.approx(1.1, abs=0.05)
