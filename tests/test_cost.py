"""Multiply-accumulates and parameters: every expected number is counted by hand or taken from a converted file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from edgekd import architectures
from edgekd.cost import count_folded_parameters, count_macs, count_parameters
from edgekd.errors import ModelError


def model_of(input_shape, *stack):
    inputs = keras.Input(input_shape)
    x = inputs
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    ("input_shape", "layer", "expected"),
    [
        ((8, 8, 3), layers.Conv2D(5, 3, padding="same"), 8 * 8 * 5 * 3 * 3 * 3),
        ((8, 8, 3), layers.Conv2D(5, (3, 2)), 6 * 7 * 5 * 3 * 2 * 3),
        ((9, 9, 3), layers.Conv2D(5, 3, strides=2, padding="same"), 5 * 5 * 5 * 3 * 3 * 3),
        ((9, 9, 2), layers.Conv2D(5, 3, dilation_rate=2), 5 * 5 * 5 * 3 * 3 * 2),
        ((9, 9, 2), layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"), 9 * 9 * 2 * 3 * 3),
        ((9, 2), layers.Conv1D(5, 3, dilation_rate=3, padding="causal"), 9 * 5 * 3 * 2),
        ((8, 8, 4), layers.Conv2D(6, 3, groups=2, padding="same"), 8 * 8 * 6 * 3 * 3 * 2),
        ((8, 8, 4), layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), 8 * 8 * 8 * 3 * 3),
        ((8, 8, 4), layers.SeparableConv2D(5, 3, padding="same"), 8 * 8 * 4 * 3 * 3 + 8 * 8 * 4 * 5),
        ((4, 4, 3), layers.Conv2DTranspose(5, 3, strides=2, padding="same"), 4 * 4 * 3 * 3 * 3 * 5),
        ((8, 3), layers.Conv1D(5, 3, padding="same"), 8 * 5 * 3 * 3),
        ((4, 4, 4, 2), layers.Conv3D(3, 2), 3 * 3 * 3 * 3 * 2 * 2 * 2 * 2),
        ((7,), layers.Dense(5), 7 * 5),
        ((6, 7), layers.Dense(5), 6 * 7 * 5),
        ((6, 7), layers.EinsumDense("abc,cde->abde", output_shape=(None, 3, 2)), 6 * 7 * 3 * 2),
        ((6, 7), layers.EinsumDense("...x,xy->...y", output_shape=3), 6 * 7 * 3),
        ((8, 8, 3), layers.MaxPooling2D(), 0),
        ((8, 8, 3), layers.BatchNormalization(), 0),
        ((8, 8, 3), layers.Activation("gelu"), 0),
        ((5, 3), layers.SimpleRNN(2, unroll=True), 5 * (3 * 2 + 2 * 2)),
    ],
)
def test_one_layer_costs_what_a_hand_count_gives(input_shape, layer, expected):
    assert count_macs(model_of(input_shape, layer)) == expected


def test_attention_counts_projections_and_both_products():
    sequence = keras.Input((6, 8))
    model = keras.Model(sequence, layers.MultiHeadAttention(2, 4)(sequence, sequence))
    projections = 4 * 6 * 8 * 8  # query, key, value and output
    assert count_macs(model) == projections + 2 * (2 * 6 * 6 * 4)


def test_products_of_two_activations_count():
    left, right = keras.Input((4, 3)), keras.Input((3, 5))
    assert count_macs(keras.Model([left, right], keras.ops.matmul(left, right))) == 4 * 3 * 5
    assert count_macs(keras.Model([left, right], keras.ops.einsum("bij,bjk->bik", left, right))) == 4 * 3 * 5


def test_a_layer_that_is_called_twice_counts_twice():
    dense = layers.Dense(4)
    assert count_macs(model_of((4,), dense, dense)) == 2 * 16
    assert count_parameters(model_of((4,), dense, dense)) == 20


def test_functional_nested_sequential_and_subclassed_models_cost_the_same():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential([layers.Conv2D(4, 3), layers.Flatten()])
            self.dense = layers.Dense(3)

        def call(self, inputs):
            return self.dense(self.inner(inputs))

    stack = [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]
    subclassed = Subclassed()
    subclassed(np.zeros((1, 6, 6, 1), "float32"))
    models = [
        model_of((6, 6, 1), *stack),
        keras.Sequential([keras.Input((6, 6, 1)), *stack]),
        model_of((6, 6, 1), model_of((6, 6, 1), *stack[:2]), stack[2]),
        subclassed,
    ]
    assert {count_macs(model) for model in models} == {4 * 4 * 4 * 9 + 64 * 3}
    assert {count_parameters(model) for model in models} == {9 * 4 + 4 + 64 * 3 + 3}


def test_a_function_that_tensorflow_compiles_apart_is_looked_into():
    class Apart(layers.Layer):
        @tf.function
        def inner(self, x):
            return tf.matmul(x, tf.ones((4, 3)))

        def call(self, x):
            return self.inner(x)

    fixed, open_batch = keras.Input((4,), batch_size=1), keras.Input((4,))
    assert count_macs(keras.Model(fixed, Apart()(fixed))) == 12
    with pytest.raises(ModelError, match=r"works on open shape \(None, 4\)"):
        count_macs(keras.Model(open_batch, Apart()(open_batch)))


def test_a_loop_is_refused_because_its_arithmetic_is_not_known():
    with pytest.raises(ModelError, match=r"arithmetic of operation 'TensorList.*' .*is not known"):
        count_macs(model_of((5, 3), layers.SimpleRNN(2)))


def test_an_unknown_operation_is_refused_by_name():
    class Inverse(layers.Layer):
        def call(self, x):
            return tf.linalg.inv(x)

    with pytest.raises(ModelError, match="arithmetic of operation 'MatrixInverse'"):
        count_macs(model_of((3, 3), Inverse()))


def test_an_open_input_size_must_be_given():
    model = model_of((None, None, 1), layers.Conv2D(2, 3, padding="same"))
    with pytest.raises(ModelError, match=r"open size \(None, None, 1\): give input_shape"):
        count_macs(model)
    assert count_macs(model, input_shape=(5, 4, 1)) == 5 * 4 * 2 * 9


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(ModelError, match="is not built"):
        count_macs(keras.Sequential([layers.Dense(2)]))


def test_parameters_count_moving_statistics_but_not_random_state():
    model = model_of((4,), layers.Dense(3), layers.BatchNormalization(), layers.Dropout(0.5))
    assert count_parameters(model) == 4 * 3 + 3 + 4 * 3


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ([layers.Conv2D(5, 3, use_bias=False), layers.BatchNormalization()], 3 * 9 * 5 + 5),
        ([layers.Conv2D(5, 3), layers.BatchNormalization(scale=False)], 3 * 9 * 5 + 5),
        ([layers.DepthwiseConv2D(3, use_bias=False), layers.BatchNormalization()], 3 * 9 + 3),
        ([layers.Dense(5, use_bias=False), layers.BatchNormalization(center=False)], 3 * 5 + 5),
        ([layers.BatchNormalization(), layers.Conv2D(5, 3)], 2 * 3 + 3 * 9 * 5 + 5),
        ([layers.Conv2D(5, 3), layers.ReLU(), layers.BatchNormalization()], 3 * 9 * 5 + 5 + 2 * 5),
        ([layers.Conv2D(5, 3, activation="relu"), layers.BatchNormalization()], 3 * 9 * 5 + 5 + 2 * 5),
    ],
)
def test_batch_normalisation_folds_into_the_layer_before_it_and_nowhere_else(stack, expected):
    assert count_folded_parameters(model_of((6, 6, 3), *stack)) == expected
    assert count_folded_parameters(keras.Sequential([keras.Input((6, 6, 3)), *stack])) == expected


def test_batch_normalisation_does_not_fold_where_something_else_reads_the_convolution():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(5, 3, use_bias=False)(inputs)
    model = keras.Model(inputs, layers.Add()([layers.BatchNormalization()(x), x]))
    assert count_folded_parameters(model) == 3 * 9 * 5 + 2 * 5


def test_batch_normalisation_folds_across_the_border_of_a_nested_model():
    inner = model_of((4, 4, 5), layers.BatchNormalization(), layers.ReLU())
    assert count_folded_parameters(model_of((6, 6, 3), layers.Conv2D(5, 3, use_bias=False), inner)) == 3 * 9 * 5 + 5
    outer = model_of((6, 6, 3), model_of((6, 6, 3), layers.Conv2D(5, 3, use_bias=False)), layers.BatchNormalization())
    assert count_folded_parameters(outer) == 3 * 9 * 5 + 5


def test_a_shared_batch_normalisation_does_not_fold():
    shared = layers.BatchNormalization()
    model = model_of((4,), layers.Dense(4, use_bias=False), shared, layers.Dense(4, use_bias=False), shared)
    assert count_folded_parameters(model) == 2 * 16 + 2 * 4


def test_folding_a_subclassed_model_on_paper_is_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    model = Subclassed()
    model(np.zeros((1, 2), "float32"))
    with pytest.raises(ModelError, match="is subclassed or not built"):
        count_folded_parameters(model)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("wide_resnet", {"depth": 10, "widen": 1}), ("ds_cnn", {"filters": 8, "blocks": 2}), ("resnet", {"width": 4})],
)
def test_the_folded_count_is_what_the_tflite_converter_leaves(name, arguments):
    model = architectures.create(name, input_shape=(16, 16, 3), num_classes=10, seed=0, arguments=arguments)
    generator = np.random.default_rng(0)
    for weight in model.weights:  # constants that are equal, such as fresh biases, would be stored once
        weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    file = schema.ModelT.InitFromPackedBuf(content, 0)
    stored = (
        file.buffers[tensor.buffer].data
        for tensor in file.subgraphs[0].tensors
        if tensor.type == schema.TensorType.FLOAT32
    )
    # A convolution without bias is given one of zeros.
    constants = [data.view("float32") for data in stored if data is not None and np.any(data)]
    assert sum(constant.size for constant in constants) == count_folded_parameters(model)
