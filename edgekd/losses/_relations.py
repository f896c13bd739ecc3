"""What losses that relate samples to each other are built from."""

import keras
from keras import ops

from edgekd.losses._directions import flattened, unit_vectors


def inner_products(rows: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the [n, n] inner products of the rows of [n, size]."""
    return ops.matmul(rows, ops.transpose(rows))


def cosines(features: keras.KerasTensor) -> keras.KerasTensor:
    """Returns the [batch, batch] cosines of [batch, ...] features; 0 with a sample whose features are all zero."""
    return inner_products(unit_vectors(flattened(features))[0])
