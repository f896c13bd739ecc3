"""Of every network family the int8 file computes what the fake-quantised network computes, on real images.

Every integer operator is held against the network on the file's own values, and the whole network from image to logits:
all of them give the same integers. The MobileNets are not even trained for that: the first is whole, and of the second
there is a block of each kind.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgekd import architectures, data, registry
from edgekd.export import export_model
from edgekd.quantize import aware
from edgekd.quantize.aware.rounding import FakeQuantize
from edgekd.runtime import open_runner

FAMILIES = "edgekd.architectures"
NAMES = registry.discover(FAMILIES)
# Large families, made small: the layers are the same.
SMALL: dict[str, dict[str, Any]] = {
    "autoencoder": {"width": 32, "depth": 2},
    "ds_cnn": {"filters": 16, "blocks": 2},
    "lab_cnn": {"filters": [8, 16]},
    "mobilenet_v1": {"alpha": 0.25},
    "mobilenet_v2": {"alpha": 0.35, "stem_stride": 2},
    "resnet": {"width": 8},
    "scaled_cnn": {"scale": 4},
    "wide_resnet": {"depth": 10, "widen": 1},
}
# A block of each kind, which the others repeat: without expansion, with a stride, with a residual.
SHALLOW: dict[str, dict[str, Any]] = {"mobilenet_v2": {"_STAGES": ((1, 16, 1, 1), (6, 24, 2, 2))}}
EVERY_SECOND_PIXEL = ("deep_cnn", "light_cnn")
UNTRAINED = ("mobilenet_v1", "mobilenet_v2")
EPOCHS = {"lab_cnn": 9}  # of the others three are enough to tell classes apart
CLASSES = 10
BATCH = 64


@functools.cache
def embedded() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns training images and labels, and test images, of Fashion-MNIST."""
    found = data.load("embedded", train_limit=256, validation_limit=64, test_limit=128)
    images, labels = found.train.read(np.arange(len(found.train)))
    return images, labels, found.test.read(np.arange(len(found.test)))[0]


def plugin(name: str) -> dict[str, Any]:
    return registry.describe(FAMILIES, name, entry="build").constants


def shaped(name: str, images: np.ndarray) -> np.ndarray:
    """Returns the images as a family takes them: of some every second pixel, of others a vector."""
    if name in EVERY_SECOND_PIXEL:
        images = images[:, ::2, ::2]
    return images if len(plugin(name)["INPUT_SHAPE"]) == 3 else images.reshape(len(images), -1)


def reconstructs(name: str) -> bool:
    return plugin(name).get("OUTPUT") == "reconstruction"


def trained(name: str) -> keras.Model:
    """Returns a network that is trained, or has seen the statistics of the images at least."""
    images, labels, _ = embedded()
    images = shaped(name, images)
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        for constant, blocks in SHALLOW.get(name, {}).items():
            patch.setattr(registry.load(FAMILIES, name), constant, blocks)
        model = architectures.create(
            name, input_shape=images.shape[1:], num_classes=CLASSES, seed=0, arguments=SMALL.get(name, {})
        )
    if name in UNTRAINED:
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        model(images[:256], training=True)
        return model
    loss = "mse" if reconstructs(name) else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss, jit_compile=False)
    model.fit(images, images if reconstructs(name) else labels, batch_size=32, epochs=EPOCHS.get(name, 3), verbose=0)
    return model


@dataclasses.dataclass(frozen=True)
class Rounded:
    """A tensor that is rounded to int8: by which layer, and what the file makes of it."""

    layer: FakeQuantize
    tensor: Any


def rounded(model: keras.Model) -> list[Rounded]:
    """Returns the rounded tensors in the order in which a network computes them, without its input."""
    nodes = [node for _, each in sorted(model._nodes_by_depth.items(), reverse=True) for node in each]
    found = [Rounded(node.operation, node.outputs[0]) for node in nodes if isinstance(node.operation, FakeQuantize)]
    return found[1:]


def file_values(model: keras.Model, tensors: list[Rounded], path: Path, images: np.ndarray) -> list[np.ndarray]:
    """Returns what the int8 file makes of the tensors, all of them outputs of it."""
    every = keras.Model(model.inputs[0], [each.tensor for each in tensors])
    names = [f"tensor_{number}" for number in range(len(tensors))]
    artifact = export_model(
        every, path, format="tflite", scheme="int8", name="m", source="m", batch=BATCH, output_names=names
    )
    assert not artifact.float_operators
    with open_runner(path, check=False) as runner:
        batches = [runner.run([images[start : start + BATCH]]) for start in range(0, len(images), BATCH)]
    return [np.concatenate(each) for each in zip(*batches, strict=True)]


def operator_by_operator(
    model: keras.Model, tensors: list[Rounded], received: list[np.ndarray], images: np.ndarray
) -> list[np.ndarray]:
    """Returns by how many steps each tensor is off where the network computes it from what the file had before it."""
    off: list[np.ndarray] = []
    of_input = next(each for each in model.operations if isinstance(each, FakeQuantize))
    waiting = iter(zip(tensors, received, strict=True))

    def one_after_the_other(operation: Any) -> Any:
        if not isinstance(operation, FakeQuantize) or operation is of_input:
            return operation

        def compared(*args: Any, **kwargs: Any) -> Any:
            tensor, values = next(waiting)
            assert tensor.layer is operation
            off.append(np.abs(operation(*args, **kwargs).numpy() - values) / operation.scale())
            return keras.ops.convert_to_tensor(values)

        return compared

    model._run_through_graph(keras.ops.convert_to_tensor(images), one_after_the_other)
    assert len(off) == len(tensors)
    return off


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each == "mobilenet_v1" else ()) for each in NAMES]
)
def test_the_int8_file_is_the_fake_quantised_network(name: str, tmp_path: Path) -> None:
    images, _, tests = (each if each.ndim == 1 else shaped(name, each) for each in embedded())
    model = aware.quantize_aware(trained(name), images[:256])
    tensors = rounded(model)
    assert name != "mobilenet_v1" or len(tensors) == 29  # all of it, as docs/quantisation.md says
    received = file_values(model, tensors, tmp_path / "m.tflite", tests)
    for each, off in zip(tensors, operator_by_operator(model, tensors, received, tests), strict=True):
        assert off.max() < 0.01, each.layer.name
    expected = model(tests, training=False).numpy()
    assert np.abs(received[-1] - expected).max() < 0.01 * aware.output_scale(model)
    assert len(np.unique(np.rint(expected / aware.output_scale(model)))) > 50
    if not reconstructs(name) and name not in UNTRAINED:
        assert len(np.unique(expected.argmax(-1))) > CLASSES / 3  # it tells classes apart
