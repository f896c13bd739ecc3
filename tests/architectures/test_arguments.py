"""Bad arguments are refused at the door, with what was received and what was expected."""

import numpy as np
import pytest

from edgekd import architectures
from edgekd.errors import ModelError, RecipeError, ShapeError


def create(name, input_shape=(32, 32, 3), num_classes=10, seed=0, **arguments):
    return architectures.create(name, input_shape=input_shape, num_classes=num_classes, seed=seed, arguments=arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnet", {"width": 0}, "width must be a whole number of at least 1, received 0"),
        ("resnet", {"width": 16.0}, "received 16.0"),
        ("resnet", {"blocks": True}, "blocks must be a whole number of at least 1, received True"),
        ("resnet", {"stem_stride": 3}, "stem_stride must be one of 1, 2, received 3"),
        ("resnet", {"shortcut": "pda"}, "shortcut must be one of 'projection', 'pad', received 'pda'"),
        ("ds_cnn", {"kernel": (3,)}, r"kernel must be a list of 2 positive whole numbers, received \(3,\)"),
        ("ds_cnn", {"dropout": 1}, r"dropout must be a number from 0 \(no dropout\) to below 1, received 1"),
        ("mobilenet_v1", {"alpha": 0}, "alpha must be a number above 0 and up to 2.0, received 0"),
        ("mobilenet_v1", {"alpha": 0.01}, r"int\(alpha · 32\) must be a whole number of at least 1, received 0"),
        ("mobilenet_v2", {"alpha": float("nan")}, "alpha must be a number above 0 and up to 2.0, received nan"),
        ("wide_resnet", {"depth": 18}, r"depth must be 6·n \+ 4 .*received 18"),
        ("wide_resnet", {"dropout": "0.3"}, "received '0.3'"),
        ("lab_cnn", {"filters": []}, r"filters must be a list of positive whole numbers, received \[\]"),
        ("lab_cnn", {"filters": 16}, "filters must be a list of positive whole numbers, received 16"),
        ("lab_cnn", {"filters": [16, -1]}, "received"),
        ("autoencoder", {"bottleneck": -1}, "bottleneck must be a whole number of at least 1, received -1"),
        ("scaled_cnn", {"scale": 0}, "scale must be a whole number of at least 1, received 0"),
    ],
)
def test_an_argument_out_of_its_range_is_refused(name, arguments, words):
    with pytest.raises(ModelError, match=f"architecture '{name}': .*{words}"):
        create(name, **arguments)


@pytest.mark.parametrize("num_classes", [0, 1, -3, 2.0, "10", True])
def test_fewer_than_two_classes_are_refused(num_classes):
    with pytest.raises(ModelError, match="num_classes must be a whole number of at least 2"):
        create("resnet", num_classes=num_classes)


@pytest.mark.parametrize(
    ("name", "input_shape", "words"),
    [
        ("resnet", (32, 32), r"must be \(height, width, channels\), received \(32, 32\)"),
        ("resnet", (32, None, 3), r"positive whole numbers, received \(32, None, 3\)"),
        ("resnet", (2, 32, 3), r"at least 3x3 pixels, received input_shape \(2, 32, 3\)"),
        ("mobilenet_v1", (16, 16, 3), r"at least 17x17 pixels, received input_shape \(16, 16, 3\).*stem_stride=1"),
        ("mobilenet_v2", (16, 32, 3), "at least 17x17 pixels"),
        ("wide_resnet", (2, 2, 3), "at least 3x3 pixels"),
        ("scaled_cnn", (7, 32, 3), "at least 8x8 pixels"),
        ("light_cnn", (3, 3, 1), "at least 4x4 pixels"),
        ("autoencoder", (), "positive whole numbers"),
        ("autoencoder", (0,), "positive whole numbers"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(name, input_shape, words):
    with pytest.raises(ShapeError, match=words):
        create(name, input_shape=input_shape)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("resnet", 3), ("mobilenet_v1", 17), ("wide_resnet", 3), ("scaled_cnn", 8), ("light_cnn", 4), ("ds_cnn", 2)],
)
def test_the_smallest_accepted_image_still_gives_logits(name, smallest):
    model = create(name, input_shape=(smallest, smallest, 1))
    assert np.all(np.isfinite(model(np.ones((2, smallest, smallest, 1), "float32"))))


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_a_stride_1_stem_leaves_small_images_a_2x2_map(name):
    model = create(name, input_shape=(28, 28, 1), stem_stride=1)
    assert model.get_layer(architectures.default_taps(name)[-1]).output.shape[1:3] == (2, 2)


def test_unknown_names_and_arguments_suggest_the_nearest():
    with pytest.raises(RecipeError, match=r"unknown architecture 'resent'. Did you mean 'resnet'\?"):
        create("resent")
    with pytest.raises(RecipeError, match=r"unknown argument of architecture 'resnet' 'widht'. Did you mean 'width'\?"):
        architectures.check("resnet", {"widht": 8})
    with pytest.raises(RecipeError, match=r"not of the form package\.module:function"):
        architectures.check("my-package:build", {})


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None])
def test_a_seed_that_numpy_cannot_take_is_refused(seed):
    with pytest.raises(RecipeError, match="seed must be a whole number from 0 to 4294967295"):
        create("lab_cnn", seed=seed)
