"""Mixed precision while training: the weights stay float32, the arithmetic is done in half precision."""

import contextlib
from collections.abc import Iterator, Sequence

import keras


@contextlib.contextmanager
def applied(policy: str, layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Gives every float32 layer, at any depth, a dtype policy within the block, and its own back afterwards.

    Losses are computed in float32 all the same, of logits and features in half precision. The saved network, its
    validation and its exported files are float32, whatever it was trained in.

    Args:
      policy: `float32` (nothing changes), `mixed_bfloat16` or `mixed_float16`.
      layers: networks and adapters; their variables must be float32.
    """
    if policy == "float32":
        yield
        return
    every = [inner for layer in layers for inner in layer._flatten_layers() if inner.dtype_policy.name == "float32"]
    before = [layer.dtype_policy for layer in every]
    try:
        for layer in every:
            layer.dtype_policy = keras.dtype_policies.get(policy)
        yield
    finally:
        for layer, own in zip(every, before, strict=True):
            layer.dtype_policy = own
