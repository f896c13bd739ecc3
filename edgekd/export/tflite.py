"""TFLite flatbuffers for LiteRT (mobile, embedded Linux, microcontrollers), made of built-in operators."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgekd import flatbuffer, quantize
from edgekd.export import _outcome, _reopen
from edgekd.export._graph import frozen_function
from edgekd.export._tflite_converter import convert
from edgekd.runtime import litert

SUFFIX = ".tflite"


def export(
    model: keras.Model,
    path: Path,
    calibration: np.ndarray[Any, Any] | None,
    *,
    scheme: str = "float32",
    batch: int | None = 1,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
    output_name: str = "logits",
    allow_select_tf_ops: bool = False,
    allow_float_operators: bool = False,
    layers: dict[str, str] | None = None,
) -> tuple[str, ...]:
    """Writes the model to `path`, and returns the operators that the scheme left in float32.

    `edgekd.export.export_model` is the checked way here.

    Args:
      model: one input, one output; see `edgekd.export.export_model`.
      path: the file to write.
      calibration: [samples, ...] float32 for a scheme that needs it, else None.
      scheme: a scheme's name or alias.
      batch: the batch size, or None for one that the runtime may change.
      input_dtype: float32, or another one of the scheme's.
      output_dtype: likewise.
      output_name: the output tensor's name; the input keeps the Keras input's.
      allow_select_tf_ops: whether operators that TFLite lacks may become TensorFlow ("Flex") operators, which need a
        runtime that includes them. No Python runtime does since TensorFlow 2.20.
      allow_float_operators: whether operators without an integer kernel may compute with float32 in a scheme of integer
        arithmetic, which needs a device with floating point.
      layers: other schemes for some layers: {pattern of names: scheme}, such as {"logits": "float32"}. In a pattern *
        stands for anything; a layer of a nested network is called NETWORK/LAYER. What the converter has joined to one
        operator, such as a convolution, its batch normalisation and ReLU, has one scheme.

    Returns:
      Each as its operator and the name of its output, such as `CONV_2D stem_relu/Relu`: with integer arithmetic those
      that compute with float32, else those whose weights are stored as float32. A float32 file has none.

    Raises:
      RecipeError: a pattern of `layers` that names no layer, or two that contradict each other.
      ModelError: an operator cannot be converted or quantised.
    """
    chosen = quantize.scheme(scheme)
    content = convert(
        frozen_function(model, batch=batch, output_name=output_name),
        scheme=chosen,
        calibration=calibration,
        input_dtype=input_dtype,
        output_dtype=output_dtype,
        allow_select_tf_ops=allow_select_tf_ops,
        allow_float_operators=allow_float_operators,
        layers=layers,
    )
    path.write_bytes(content)
    return _outcome.float_operators(flatbuffer.read(content), chosen)


def embed(path: Path, key: str, text: str) -> None:
    """Puts a text into a metadata buffer of the file."""
    path.write_bytes(flatbuffer.with_metadata(path.read_bytes(), key, text.encode()))


def reopen(path: Path, sample: _reopen.Samples) -> _reopen.Specs:
    """Returns the file's input and output specs after LiteRT has run one sample.

    A file with TensorFlow operators, which the user asked for, cannot be run here: a warning says so.
    """
    flex = litert.select_operators(path)
    if flex:
        warnings.warn(
            f"{path.name!r} was written but not run: no Python runtime includes its TensorFlow operators "
            f"({', '.join(flex)}). Test it on the device.",
            stacklevel=2,
        )
        return litert.read_specs(path)
    return _reopen.run_one(path, sample)
