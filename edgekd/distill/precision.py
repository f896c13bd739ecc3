"""Mixed precision while training: the weights stay float32, the arithmetic is done in half precision."""

import contextlib
from collections.abc import Iterator, Sequence

import keras


@contextlib.contextmanager
def applied(policy: str, layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Gives every layer, at any depth, a dtype policy within the block, and its own back afterwards.

    So the saved network, its validation and its exported files are float32, whatever it was trained in.

    Args:
      policy: `float32` (nothing changes), `mixed_bfloat16` or `mixed_float16`.
      layers: networks and adapters; their variables must be float32.
    """
    if policy == "float32":
        yield
        return
    every = [inner for layer in layers for inner in layer._flatten_layers()]
    before = [layer.dtype_policy for layer in every]
    for layer in every:
        layer.dtype_policy = keras.dtype_policies.get(policy)
    try:
        yield
    finally:
        for layer, own in zip(every, before, strict=True):
            layer.dtype_policy = own
