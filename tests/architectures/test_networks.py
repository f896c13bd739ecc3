"""What single families promise beyond the conformance suite."""

import keras
import numpy as np

from edgekd import architectures


def create(name, input_shape=(32, 32, 3), num_classes=10, **arguments):
    return architectures.create(name, input_shape=input_shape, num_classes=num_classes, seed=0, arguments=arguments)


def test_the_pad_shortcut_takes_every_second_pixel_and_pads_the_channels_with_zeros():
    model = create("resnet", width=2, shortcut="pad", input_shape=(8, 8, 1))
    shortcut = keras.Model(
        model.input, [model.get_layer("stage1").output, model.get_layer("stage2_block1_shortcut_pad").output]
    )
    before, after = (np.asarray(x) for x in shortcut(np.random.default_rng(0).random((1, 8, 8, 1), "float32")))
    expected = np.zeros((1, 4, 4, 4), "float32")
    expected[..., 1:3] = before[:, ::2, ::2, :]
    np.testing.assert_array_equal(after, expected)
    assert before.max() > 0


def test_ds_cnn_names_one_tap_per_block():
    model = create("ds_cnn", filters=8, blocks=2, input_shape=(28, 28, 1))
    assert [f"block{index}" in {layer.name for layer in model.layers} for index in (1, 2, 3)] == [True, True, False]


def test_an_image_autoencoder_reconstructs_the_images_shape():
    assert create("autoencoder", input_shape=(8, 6, 3)).output_shape == (None, 8, 6, 3)


def test_the_number_of_classes_does_not_change_an_autoencoder():
    two, ten = (create("autoencoder", (16,), num_classes=classes) for classes in (2, 10))
    assert architectures.weights_sha256(two) == architectures.weights_sha256(ten)


def test_wide_resnet_drops_out_between_the_convolutions_of_a_block_only_when_asked():
    def dropouts(model):
        return [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]

    assert dropouts(create("wide_resnet", depth=10, widen=1)) == []
    assert dropouts(create("wide_resnet", depth=10, widen=1, dropout=0.3)) == [
        "stage1_block1_dropout",
        "stage2_block1_dropout",
        "stage3_block1_dropout",
    ]
