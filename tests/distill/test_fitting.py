"""A network that does not fit the data is refused in words, before TensorFlow trains something else than was meant."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest

from edgekd import api, data
from edgekd.data.dataset import Dataset
from edgekd.distill import fitting
from edgekd.errors import DataError, ModelError, ShapeError


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(3)

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        return self.dense(self.flat(images))


def test_a_network_of_the_datas_shape_and_classes_fits(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset
) -> None:
    fitting.check(tiny_network(), tiny_data, role="student")


def test_a_network_of_open_height_and_width_fits(tiny_data: Dataset) -> None:
    images = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(images))
    fitting.check(keras.Model(images, pooled), tiny_data, role="teacher")


def test_what_does_not_fit_is_named(tiny_network: Callable[..., keras.Model], tiny_data: Dataset) -> None:
    model = tiny_network()
    wider = data.load("synthetic", arguments={"samples": 240, "classes": 3, "shape": [9, 8, 1]})
    two = keras.Model(model.inputs, [*model.outputs, model.get_layer("flat").output])
    with pytest.raises(ShapeError, match=r"the teacher takes inputs of shape \(8, 8, 1\).*\(9, 8, 1\)"):
        fitting.check(model, wider, role="teacher")
    with pytest.raises(ShapeError, match="1 inputs and 2 outputs"):
        fitting.check(two, tiny_data, role="teacher")
    with pytest.raises(ModelError, match=r"student is a subclassed network \(Subclassed\).*functional API"):
        fitting.check(Subclassed(), tiny_data, role="student")


def test_a_classifier_is_not_trained_on_one_class(tiny_network: Callable[..., keras.Model], tiny_data: Dataset) -> None:
    alike = dataclasses.replace(tiny_data.train, labels=np.ones_like(tiny_data.train.labels))
    with pytest.raises(DataError, match=r"all \d+ training labels are class 1"):
        api.train_model(tiny_network(), dataclasses.replace(tiny_data, train=alike), epochs=1)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_python_api_trains_no_network_of_other_classes(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset, classes: int
) -> None:
    # With fewer outputs than classes the labels beyond them would count as no class at all.
    with pytest.raises(ShapeError, match=rf"output has shape \({classes},\).*3 classes"):
        api.train_model(tiny_network(classes=classes), tiny_data, epochs=1)
    with pytest.raises(ShapeError, match=rf"teacher .tiny. has outputs of shape \[{classes}\].*3 classes"):
        api.distill_model(tiny_network(), tiny_network(classes=classes), tiny_data, epochs=1)


def test_a_network_that_gives_probabilities_is_refused_and_the_advice_mends_it(
    tiny_network: Callable[..., keras.Model], tiny_data: Dataset
) -> None:
    images = keras.Input((8, 8, 1))
    dense = keras.Model(images, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(images)))
    model = tiny_network()
    layer = keras.Model(model.input, keras.layers.Softmax()(model.output))
    activation = keras.Model(model.input, keras.layers.Activation("sigmoid")(model.output))
    operation = keras.Model(model.input, keras.ops.softmax(model.output))
    nested = keras.Sequential([keras.Input((8, 8, 1)), dense])
    for network, name in ((dense, "softmax"), (layer, "softmax"), (activation, "sigmoid"), (operation, "softmax"),
                          (nested, "softmax")):  # fmt: skip
        with pytest.raises(
            ModelError, match=f"the teacher ends in {name}.*logits.*--set teacher.outputs=probabilities,"
        ):
            fitting.check(network, tiny_data, role="teacher")
    dense.layers[-1].activation = keras.activations.linear
    fitting.check(dense, tiny_data, role="teacher")
    fitting.check(keras.Model(layer.input, layer.layers[-1].input), tiny_data, role="teacher")
