"""The few layers that adapters are made of, with seeds and names of their own."""

from collections.abc import Sequence

import keras
from keras import layers

from edgekd.data import randomness
from edgekd.distill.adapters._checks import FLAT

# The released codes' statistics follow within tens of steps; the least epsilon that the fused kernel takes.
_MOMENTUM = 0.9
_EPSILON = 1.001e-5


def channel_map(
    rank: int,
    channels: int,
    *,
    name: str,
    initializer: keras.initializers.Initializer,
    kernel: int = 1,
    use_bias: bool = False,
) -> keras.layers.Layer:
    """Returns a linear map to a number of channels: a convolution that keeps the size, or a dense layer for rank 1."""
    if rank == FLAT:
        return layers.Dense(channels, use_bias=use_bias, kernel_initializer=initializer, name=name)
    return layers.Conv2D(channels, kernel, padding="same", use_bias=use_bias, kernel_initializer=initializer, name=name)


def batch_norm(*, name: str, affine: bool = True, epsilon: float = _EPSILON) -> keras.layers.Layer:
    """Returns a batch normalisation; `affine` is whether it has a trained scale and offset."""
    return layers.BatchNormalization(momentum=_MOMENTUM, epsilon=epsilon, center=affine, scale=affine, name=name)


def build_chain(chain: Sequence[keras.layers.Layer], shape: tuple[int, ...]) -> None:
    """Builds layers that are called one after the other, for a shape without the batch and of any height and width."""
    for layer in chain:
        layer.build((None, *(None for _ in shape[:-1]), shape[-1]))
        shape = layer.compute_output_shape((None, *shape))[1:]


def chained(chain: Sequence[keras.layers.Layer], x: keras.KerasTensor, *, training: bool) -> keras.KerasTensor:
    """Returns what the layers make of an array, one after the other."""
    for layer in chain:
        x = layer(x, training=training)
    return x


def layer_seed(seed: int, layer: str) -> int:
    """Returns the seed of one layer's initialiser, a function of the adapter's seed and the layer's name alone."""
    return randomness.key(f"adapter.{layer}", seed) % 2**31
