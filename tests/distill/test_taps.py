"""Taps: the right array of the right layer, from one forward pass, in every way in which a network can be written."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgekd.distill.taps import TappedModel
from edgekd.errors import ModelError

SEED = keras.initializers.GlorotUniform(seed=3)
IMAGES = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)


def dense(units, name, **options):
    return layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed=units), name=name, **options)


def inner_block():
    inputs = keras.Input((5,), name="inner_in")
    hidden = dense(4, "deep", activation="tanh")(inputs)
    return keras.Model(inputs, dense(3, "last")(hidden), name="inner")


def functional():
    """The chain image -> first -> middle(inner(deep, last)) -> logits."""
    inputs = keras.Input((6,), name="image")
    x = dense(5, "first", activation="relu")(inputs)
    middle = keras.Sequential([keras.Input((5,)), inner_block(), layers.ReLU(name="relu")], name="middle")
    return keras.Model(inputs, dense(2, "logits")(middle(x)), name="outer")


class Block(layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.project = dense(units, "projection")
        self.norm = layers.BatchNormalization(momentum=0.5)

    def build(self, shape):
        self.project.build(shape)
        self.norm.build((shape[0], self.project.units))

    def call(self, x, training=None):
        return self.norm(self.project(x), training=training)


class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.stem = Block(5)
        self.blocks = [Block(4), Block(3)]
        self.heads = {"main": dense(2, "head"), "unused": dense(2, "unused_head")}
        self.heads["unused"].build((None, 3))

    def call(self, x, training=None):
        x = self.stem(x, training=training)
        for block in self.blocks:
            x = block(x, training=training)
        return self.heads["main"](x)


def subclassed():
    model = Subclassed(name="own")
    model(IMAGES)
    return model


def weights(model, name):
    """A dense layer's kernel and bias, wherever it is."""
    layer = next(each for each in model._flatten_layers() if each.name == name)
    return (variable.numpy() for variable in layer.trainable_variables)


def affine(model, name, x):
    kernel, bias = weights(model, name)
    return x @ kernel + bias


def test_layers_at_every_depth_give_what_numpy_computes() -> None:
    model = functional()
    tapped = TappedModel(model, ["first", "middle/inner/deep", "middle", "middle/relu:input", "logits"])
    outputs = tapped(IMAGES, training=False)

    first = np.maximum(affine(model, "first", IMAGES), 0)
    deep = np.tanh(affine(model, "deep", first))
    last = affine(model, "last", deep)
    expected = {
        "first": first,
        "middle/inner/deep": deep,
        "middle": np.maximum(last, 0),
        "middle/relu:input": last,
        "logits": affine(model, "logits", np.maximum(last, 0)),
    }
    assert list(outputs.taps) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(outputs.taps[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(outputs.logits, model(IMAGES, training=False))


def test_layers_of_a_subclassed_network_are_found_by_attribute_and_by_name() -> None:
    model = subclassed()
    outputs = TappedModel(model, ["stem/project", "blocks.1", "heads.main", "head:input"])(IMAGES, training=False)
    np.testing.assert_allclose(
        outputs.taps["stem/project"], IMAGES @ model.stem.project.kernel.numpy(), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(outputs.taps["heads.main"], outputs.logits)
    np.testing.assert_array_equal(outputs.taps["head:input"], outputs.taps["blocks.1"])
    assert outputs.taps["blocks.1"].shape == (3, 3)


def test_the_input_of_a_layer_is_what_the_layer_before_gives() -> None:
    outputs = TappedModel(functional(), ["first", "first:input", "middle:input"])(IMAGES, training=False)
    np.testing.assert_array_equal(outputs.taps["first:input"], IMAGES)
    np.testing.assert_array_equal(outputs.taps["middle:input"], outputs.taps["first"])


class Counting(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x + 1.0


@pytest.mark.parametrize("taps", [(), ("a",), ("a", "b", "nested/c", "nested/c:input", "nested")])
def test_the_network_runs_once_however_many_taps_there_are(taps: tuple[str, ...]) -> None:
    inner = keras.Sequential([keras.Input((6,)), Counting(name="c")], name="nested")
    inputs = keras.Input((6,))
    counters = [Counting(name="a"), Counting(name="b"), inner.layers[0]]
    model = keras.Model(inputs, inner(counters[1](counters[0](inputs))))
    for counter in counters:
        counter.calls = 0
    TappedModel(model, taps)(IMAGES, training=False)
    assert [counter.calls for counter in counters] == [1, 1, 1]


@pytest.mark.parametrize(
    ("build", "taps"),
    [
        (functional, ("first", "middle/inner/deep", "middle/relu:input")),
        (subclassed, ("stem", "blocks.0/project", "blocks.1/norm:input")),
    ],
)
def test_a_graph_of_unknown_batch_size_gives_what_the_eager_call_gives(build, taps: tuple[str, ...]) -> None:
    tapped = TappedModel(build(), taps)

    @tf.function(autograph=False)
    def graph(images):
        outputs = tapped(images, training=False)
        return outputs.logits, outputs.taps

    concrete = graph.get_concrete_function(tf.TensorSpec([None, 6], tf.float32))
    for count in (1, 3):
        logits, arrays = concrete(tf.constant(IMAGES[:count]))
        eager = tapped(IMAGES[:count], training=False)
        np.testing.assert_allclose(logits, eager.logits, rtol=1e-6, atol=1e-7)
        for name in taps:
            np.testing.assert_allclose(arrays[name], eager.taps[name], rtol=1e-6, atol=1e-7)


def test_gradients_flow_through_taps_into_the_networks_own_weights() -> None:
    model = functional()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(
            TappedModel(model, ["middle/inner/deep"])(IMAGES, training=True).taps["middle/inner/deep"]
        )
    gradients = tape.gradient(total, model.trainable_variables)
    pairs = zip(model.trainable_variables, gradients, strict=True)
    reached = {variable.path.split("/")[-2] for variable, gradient in pairs if gradient is not None}
    assert reached == {"first", "deep"}
    model.layers[1].bias.assign_add(np.ones(5, np.float32))
    np.testing.assert_array_equal(TappedModel(model)(IMAGES, training=False).logits, model(IMAGES))


@pytest.mark.parametrize(("training", "moves"), [(True, True), (False, False)])
def test_the_training_flag_reaches_nested_layers(training: bool, moves: bool) -> None:
    model = subclassed()
    before = model.stem.norm.moving_mean.numpy()
    TappedModel(model, ["stem/project"])(IMAGES, training=training)
    assert (model.stem.norm.moving_mean.numpy() != before).any() == moves


def test_nothing_stays_on_the_users_network() -> None:
    model = functional()
    tapped = TappedModel(model, ["middle/inner/deep", "first"])
    held = {id(layer): set(vars(layer)) for layer in model._flatten_layers()}
    variables = [variable.path for variable in model.variables]
    tapped(IMAGES, training=True)
    assert {id(layer): set(vars(layer)) for layer in model._flatten_layers()} == held
    assert [variable.path for variable in model.variables] == variables


def test_a_call_that_fails_leaves_nothing_behind_either() -> None:
    model = functional()
    with pytest.raises(ValueError, match="incompatible"):
        TappedModel(model, ["middle/inner/deep"])(IMAGES[:, :4], training=False)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


def test_a_call_that_others_had_replaced_on_the_layer_is_used_and_given_back() -> None:
    model = functional()
    deep = model.get_layer("middle").layers[0].get_layer("deep")

    def replaced(x, **options):
        return tf.zeros((len(x), 4))

    vars(deep)["call"] = replaced
    outputs = TappedModel(model, ["middle/inner/deep"])(IMAGES, training=False)
    assert not outputs.taps["middle/inner/deep"].numpy().any()
    assert vars(deep)["call"] is replaced


class Meeting(layers.Layer):
    """Holds every forward pass until all threads are in the middle of theirs."""

    def __init__(self, barrier, **options):
        super().__init__(**options)
        self.barrier = barrier

    def call(self, x):
        if self.barrier is not None and not isinstance(x, keras.KerasTensor) and tf.executing_eagerly():
            self.barrier.wait(timeout=60)
        return 2.0 * x


def test_threads_that_run_one_network_at_once_hear_their_own_arrays_only() -> None:
    barrier = threading.Barrier(2)
    inner = keras.Sequential([keras.Input((6,)), Meeting(None, name="meet"), layers.ReLU(name="after")], name="inner")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, inner(inputs))
    inner.layers[0].barrier = barrier
    got = {}

    def run(factor: float, tap: str) -> None:
        got[factor] = TappedModel(model, [tap])(factor * np.abs(IMAGES), training=False).taps[tap].numpy()

    threads = [
        threading.Thread(target=run, args=arguments) for arguments in ((1.0, "inner/after"), (3.0, "inner/after:input"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(got[1.0], 2 * np.abs(IMAGES), rtol=1e-6)
    np.testing.assert_allclose(got[3.0], 6 * np.abs(IMAGES), rtol=1e-6)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


def test_layers_of_a_sequential_model_that_grew_layer_by_layer_are_called_once() -> None:
    # Keras calls all layers anew whenever one is added.
    model = keras.Sequential()
    for each in (keras.Input((6,)), dense(4, "one"), dense(3, "two"), dense(2, "three")):
        model.add(each)
    outputs = TappedModel(model, ["one", "two:input"])(IMAGES, training=False)
    np.testing.assert_allclose(outputs.taps["one"], affine(model, "one", IMAGES), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(outputs.taps["one"], outputs.taps["two:input"])


def test_a_layer_that_is_shared_with_another_network_is_called_once_in_this_one() -> None:
    shared = dense(4, "shared")
    models = []
    for name in ("a", "b"):
        inputs = keras.Input((6,))
        models.append(keras.Model(inputs, dense(2, "logits")(shared(inputs)), name=name))
    assert all(
        TappedModel(model, ["shared"])(IMAGES, training=False).taps["shared"].shape == (3, 4) for model in models
    )


def test_a_layer_that_is_called_twice_is_refused_in_a_graph_and_inside_a_nested_model() -> None:
    inputs = keras.Input((5,), name="image")
    inner = inner_block()
    doubled = layers.Concatenate(name="both")([inner(inputs), inner(layers.ReLU(name="relu")(inputs))])
    model = keras.Model(inputs, doubled, name="siamese")
    with pytest.raises(ModelError, match=r"tap 'inner' of model 'siamese'.*more than once \(2 times\)"):
        TappedModel(model, ["inner"])
    with pytest.raises(ModelError, match=r"tap 'inner/deep' of model 'siamese'.*more than once \(2 times\)"):
        TappedModel(model, ["inner/deep"])(IMAGES[:, :5], training=False)


def test_a_layer_that_the_network_does_not_call_is_refused() -> None:
    with pytest.raises(ModelError, match=r"tap 'heads.unused' of model 'own': the layer was not called"):
        TappedModel(subclassed(), ["heads.unused"])(IMAGES, training=False)


def test_wrong_names_are_all_told_with_the_near_and_the_known_ones_of_their_level() -> None:
    with pytest.raises(ModelError) as raised:
        TappedModel(functional(), ["frist", "first", "middle/inner/dep", "middle/nothing", "deep:input"])
    message = str(raised.value)
    for part in (
        "unknown tap 'frist' of model 'outer': no layer is called 'frist'. Did you mean 'first'? Known: first, image",
        "unknown tap 'middle/inner/dep' of model 'outer': no layer in 'middle/inner' is called 'dep'. "
        "Did you mean 'deep'? Known: deep, inner_in, last.",
        "no layer in 'middle' is called 'nothing'. Known: inner, relu.",
        "It is a layer inside another: middle/inner/deep.",
    ):
        assert part in message
    assert "'first' of model" not in message


def test_a_path_into_a_plain_layer_says_that_nothing_is_in_it() -> None:
    with pytest.raises(ModelError, match=r"no layer in 'first' is called 'kernel'\. Known: none"):
        TappedModel(functional(), ["first/kernel"])


def test_two_layers_of_one_name_are_told_apart_by_their_attributes() -> None:
    class Twins(keras.Model):
        def __init__(self):
            super().__init__(name="twins")
            self.left, self.right = dense(2, "twin"), dense(2, "twin")

        def call(self, x):
            return self.left(x) - self.right(x)

    model = Twins()
    model(IMAGES)
    with pytest.raises(ModelError, match=r"2 layers are called 'twin'.*attribute"):
        TappedModel(model, ["twin"])
    model.left.bias.assign([1.0, 1.0])
    outputs = TappedModel(model, ["left", "right"])(IMAGES, training=False)
    np.testing.assert_allclose(outputs.taps["left"] - outputs.taps["right"], outputs.logits, atol=1e-6)
    np.testing.assert_allclose(outputs.taps["left"], IMAGES @ model.left.kernel.numpy() + 1, rtol=1e-5, atol=1e-5)


def test_a_network_that_is_not_built_is_refused() -> None:
    for model in (Subclassed(name="new"), keras.Sequential([dense(3, "a")], name="new")):
        with pytest.raises(ModelError, match=r"'new' is not built.*sample"):
            TappedModel(model, ["stem"])


def test_several_inputs_or_outputs_are_refused() -> None:
    inputs = [keras.Input((2,)), keras.Input((2,))]
    with pytest.raises(ModelError, match="2 inputs and 1 outputs"):
        TappedModel(keras.Model(inputs, layers.Add()(inputs)))

    class Pair(keras.Model):
        def call(self, x):
            return x, x

    model = Pair()
    model(IMAGES)
    with pytest.raises(ModelError, match="returns 2 arrays"):
        TappedModel(model)(IMAGES, training=False)


def test_the_input_of_a_layer_that_joins_two_is_refused_in_a_graph_and_inside_a_nested_model() -> None:
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Add(name="join")([dense(2, "a")(inputs), dense(2, "b")(inputs)]), name="inner")
    nested = keras.Sequential([keras.Input((6,)), model])
    with pytest.raises(ModelError, match=r"'join:input'.*takes 2 arrays.*before"):
        TappedModel(model, ["join:input"])
    with pytest.raises(ModelError, match=r"'inner/join:input'.*takes 2 arrays.*before"):
        TappedModel(nested, ["inner/join:input"])(IMAGES, training=False)


def test_a_layer_inside_a_compiled_part_of_the_network_is_refused() -> None:
    class Compiled(keras.Model):
        def __init__(self):
            super().__init__(name="compiled")
            self.hidden = dense(2, "hidden")

        @tf.function(autograph=False)
        def call(self, x):
            return self.hidden(x)

    model = Compiled()
    model.hidden.build((None, 6))
    model.built = True
    tapped = TappedModel(model, ["hidden"])
    with pytest.raises(ModelError, match=r"'hidden'.*tf\.function"):
        tapped(IMAGES, training=False)
    with pytest.raises(ModelError, match=r"'hidden'.*tf\.function"):
        tapped(IMAGES, training=False)


def test_a_layer_that_is_recomputed_in_the_backward_pass_is_refused_where_it_would_lose_its_gradient() -> None:
    with keras.RematScope(mode="full"):
        inner = keras.Sequential([keras.Input((6,)), dense(2, "inside")], name="inner")
    model = keras.Sequential([keras.Input((6,)), inner], name="outer")
    with pytest.raises(ModelError, match="RematScope"):
        TappedModel(model, ["inner/inside"])


def test_a_layer_named_logits_that_is_not_the_output_is_refused() -> None:
    model = keras.Sequential([keras.Input((6,)), dense(2, "logits"), layers.ReLU(name="end")])
    with pytest.raises(ModelError, match="'logits' that is not its output"):
        TappedModel(model, ["logits"])(IMAGES, training=False)


def test_shapes_are_those_of_one_sample_also_where_the_network_leaves_sizes_open() -> None:
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(inputs)
    nested = keras.Sequential([keras.Input((None, None, 4)), layers.MaxPooling2D(name="half")], name="nested")
    x = layers.GlobalAveragePooling2D(name="pool")(nested(x))
    tapped = TappedModel(keras.Model(inputs, dense(2, "logits")(x)), ["conv", "nested/half", "pool", "conv:input"])
    assert tapped.shapes((10, 8, 3)) == {
        "logits": (2,),
        "conv": (5, 4, 4),
        "nested/half": (2, 2, 4),
        "pool": (4,),
        "conv:input": (10, 8, 3),
    }


def test_a_call_of_the_network_beside_the_taps_does_not_warn_about_the_inputs_structure() -> None:
    inputs = keras.Input((6,))
    model = keras.Model([inputs], [dense(2, "logits")(dense(3, "a")(inputs))])
    assert TappedModel(model, ["a"])(IMAGES, training=False).taps["a"].shape == (3, 3)


def test_a_quantised_layer_inside_a_nested_model_is_heard() -> None:
    model = functional()
    model.get_layer("middle").layers[0].get_layer("deep").quantize("int8")
    outputs = TappedModel(model, ["middle/inner/deep", "middle/inner/last:input"])(IMAGES, training=False)
    np.testing.assert_array_equal(outputs.taps["middle/inner/deep"], outputs.taps["middle/inner/last:input"])


def test_tapping_does_not_change_the_automatic_names_of_later_networks() -> None:
    model = functional()
    before = keras.backend.get_uid("functional")
    TappedModel(model, ["first", "middle/inner/deep"])(IMAGES, training=False)
    assert keras.backend.get_uid("functional") == before + 1
