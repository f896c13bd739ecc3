"""A user's own network by package.module:function."""

import sys

import keras
import pytest

from edgekd import architectures
from edgekd.errors import ModelError, ShapeError

SOURCE = """
import keras


def build(input_shape, num_classes, *, units=4):
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(units)(x))
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x))


class Net(keras.Model):
    def __init__(self, num_classes):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.dense = keras.layers.Dense(num_classes)

    def call(self, inputs):
        return self.dense(self.flatten(inputs))


def subclassed(input_shape, num_classes):
    return Net(num_classes)


def sequential(input_shape, num_classes):
    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(num_classes)])


def wrong_classes(input_shape, num_classes):
    return build(input_shape, num_classes + 1)


def wrong_input(input_shape, num_classes):
    return build((*input_shape[:-1], 5), num_classes)


def two_outputs(input_shape, num_classes):
    inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [keras.layers.Dense(num_classes)(x), x])


def no_model(input_shape, num_classes):
    return [num_classes]


def too_few(input_shape):
    return None


def fails(input_shape, num_classes):
    return 1 / 0


constant = 3
"""


@pytest.fixture
def own_networks(tmp_path, monkeypatch):
    """A folder with the user's module, which is the current one but not on Python's path."""
    (tmp_path / "own_networks.py").write_text(SOURCE)
    (tmp_path / "own_broken.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "own_syntax.py").write_text("def build(:\n")
    monkeypatch.chdir(tmp_path)
    yield
    for module in ("own_networks", "own_broken", "own_syntax"):
        sys.modules.pop(module, None)


def create(name, **arguments):
    return architectures.create(name, input_shape=(4, 4, 1), num_classes=3, seed=5, arguments=arguments)


@pytest.mark.usefixtures("own_networks")
@pytest.mark.parametrize("function", ["build", "subclassed", "sequential"])
def test_functional_subclassed_and_sequential_networks_come_back_built(function):
    path = list(sys.path)
    model = create(f"own_networks:{function}")
    assert model.built
    assert model.weights[-1].shape == (3,)
    assert architectures.weights_sha256(create(f"own_networks:{function}")) == architectures.weights_sha256(model)
    assert sys.path == path


@pytest.mark.usefixtures("own_networks")
def test_arguments_reach_the_function():
    assert create("own_networks:build", units=9).layers[2].units == 9


@pytest.mark.usefixtures("own_networks")
def test_automatic_names_start_anew_and_older_networks_can_still_be_extended():
    first = create("own_networks:build")
    older = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    assert [layer.name for layer in create("own_networks:build").layers] == [layer.name for layer in first.layers]
    extended = keras.Model(older.inputs, keras.layers.Dense(1)(older.outputs[0]))
    assert len({layer.name for layer in extended.layers}) == len(extended.layers)


@pytest.mark.usefixtures("own_networks")
def test_the_users_dtype_policy_survives():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = create("own_networks:build")
        assert keras.config.dtype_policy().name == model.layers[-1].dtype_policy.name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.usefixtures("own_networks")
@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("own_networks:wrong_classes", ShapeError, r"must return \[batch, 3\] .*but returns \[batch, 4\]"),
        ("own_networks:wrong_input", ShapeError, r"asked for input \[batch, 4, 4, 1\], but takes \[batch, 4, 4, 5\]"),
        ("own_networks:two_outputs", ShapeError, "one input and one output, but has 1 and 2"),
        ("own_networks:no_model", ModelError, "must return a keras.Model of Keras 3, received builtins.list"),
        ("own_networks:too_few", ModelError, r"must accept \(input_shape, num_classes\), but its signature is"),
        ("own_networks:fails", ModelError, "failed with ZeroDivisionError"),
        ("own_networks:constant", ModelError, "object of type int, not a function"),
        ("own_networks:absent", ModelError, "no function 'absent'"),
        ("own_absent:build", ModelError, "there is no module 'own_absent' in"),
        ("own_absent.networks:build", ModelError, "there is no module 'own_absent' in"),
        (
            "own_broken:build",
            ModelError,
            "importing 'own_broken' failed: No module named 'a_package_that_is_not_there'",
        ),
        ("own_syntax:build", ModelError, "importing 'own_syntax' failed with SyntaxError"),
    ],
)
def test_a_function_that_does_not_fit_is_named_with_the_reason(name, error, words):
    with pytest.raises(error, match=words):
        create(name)


@pytest.mark.usefixtures("own_networks")
def test_an_argument_that_the_function_does_not_take_is_named():
    with pytest.raises(ModelError, match=r"must accept \(input_shape, num_classes, width=\)"):
        create("own_networks:build", width=3)


@pytest.mark.usefixtures("own_networks")
def test_checking_a_name_imports_nothing():
    architectures.check("own_networks:build", {"anything": 1})
    assert architectures.default_taps("own_networks:build") == ()
    assert "own_networks" not in sys.modules
