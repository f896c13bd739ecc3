"""tensorflow-model-optimization, imported so that the rest of the process does not notice."""

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_SWITCH = "TF_USE_LEGACY_KERAS"


@functools.cache
def tfmot() -> Any:
    """Returns the module `tensorflow_model_optimization`.

    Importing it sets an environment variable by which TensorFlow's own attribute `keras`, where nobody has used it yet,
    would become tf_keras for the whole process, and for child processes as well. Both are kept as they were.
    """
    vars(tf)["keras"].layers  # noqa: B018 - TensorFlow chooses the library at the first use
    before = os.environ.get(_SWITCH)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "distutils Version classes are deprecated", DeprecationWarning)
            import tensorflow_model_optimization
    finally:
        if before is None:
            os.environ.pop(_SWITCH, None)
        else:
            os.environ[_SWITCH] = before
    return tensorflow_model_optimization


def wrapper(kind: str) -> Any:
    """Returns the class that wraps a layer; tfmot's public interface has only one of them.

    Args:
      kind: `pruning`, `clustering` or `quantization`.
    """
    tfmot()
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapper
    from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import PruneLowMagnitude

    return {"pruning": PruneLowMagnitude, "clustering": ClusterWeights, "quantization": QuantizeWrapper}[kind]


@contextlib.contextmanager
def scope() -> Iterator[None]:
    """Lets tf_keras make layers that tfmot has wrapped from their configuration."""
    with tfmot().quantization.keras.quantize_scope():
        yield
