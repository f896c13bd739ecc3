"""Schemes that TensorFlow's converter does not write: Google's AI Edge Quantizer makes them of a float32 file."""

import re
import warnings
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from edgekd import flatbuffer
from edgekd.errors import ModelError
from edgekd.quantize import Scheme
from edgekd.runtime.native_output import captured_stderr

_SIGNATURE = "serving_default"
_EVERYTHING = ".*"  # matches the name of every operator
_EVERYTHING_AGAIN = "^.*"  # rules of one pattern replace each other, those of another one come after them


def is_written_by_it(scheme: Scheme) -> bool:
    """Returns whether TensorFlow's converter leaves a scheme to this quantizer: 4-bit weights, and weights only."""
    weight_only = scheme.weight_bits == 8 and scheme.arithmetic == "float"
    return scheme.weight_bits < 8 or weight_only


def quantise(
    content: bytes,
    *,
    scheme: Scheme,
    calibration: np.ndarray[Any, Any] | None,
    batch: int,
    input_dtype: str,
    output_dtype: str,
    operators: Mapping[str, Scheme] = MappingProxyType({}),
) -> bytes:
    """Returns a float32 TFLite file in which numbers are stored as the scheme says.

    Weights are symmetric per output channel: scale = max|w| / (2^(bits−1) − 1), rounded to nearest. Activations have
    the range that they showed on all the calibration samples. Operators that the scheme has no kernel for stay as they
    are; see `edgekd.export._outcome`.

    Args:
      content: the float32 file, with a signature.
      scheme: one that `is_written_by_it`.
      calibration: [samples, ...] float32, for a scheme that needs it.
      batch: how many samples the file takes at a time.
      input_dtype: float32, or int8 with integer activations.
      output_dtype: likewise.
      operators: other schemes for some operators, by their scopes (see `edgekd.export._layers.scope`).

    Raises:
      ModelError: an operator's weights cannot be quantised.
    """
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils

    rules = recipe_manager.RecipeManager()
    _add_rules(rules, scheme, _EVERYTHING, _EVERYTHING_AGAIN)
    for scope, own in operators.items():
        _add_rules(rules, own, f"^{re.escape(scope)}$", f"^(?:{re.escape(scope)})$")
    for dtype, operation in (
        (input_dtype, qtyping.TFLOperationName.INPUT),
        (output_dtype, qtyping.TFLOperationName.OUTPUT),
    ):
        if dtype == "float32":
            rules.add_quantization_config(
                _EVERYTHING_AGAIN, operation, None, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE
            )
    worker = quantizer.Quantizer(content)
    worker.load_quantization_recipe(rules.get_quantization_recipe())
    with captured_stderr(), warnings.catch_warnings():
        # It keeps all tensors, to see the activations, and warns of itself.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        try:
            ranges = None if calibration is None else _ranges(content, calibration, rules, batch)
            result = worker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(f"ai-edge-quantizer cannot write scheme {scheme.name!r}: {reason}") from error
    # It keeps buffers outside the flatbuffer from 256 KiB on, where few readers look for them: reading joins them. And
    # it calls a float output of integer arithmetic NAME_dequant.
    packed = flatbuffer.pack(tfl_flatbuffer_utils.read_model(result.quantized_model))
    return flatbuffer.with_signature_names(packed)


def _add_rules(rules: Any, scheme: Scheme, pattern: str, pattern_again: str) -> None:
    """Adds a rule for the bits that every kernel has, then one for the scheme's own, which holds where it can.

    Both patterns match the same operators. They must be two.
    """
    from ai_edge_quantizer import quantizer

    everything = "*"
    for each, bits in ((pattern, scheme.other_weight_bits), (pattern_again, scheme.weight_bits)):
        if bits == 32:
            rules.add_quantization_config(each, everything, None, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
        elif scheme.arithmetic == "float":
            rules.add_weight_only_config(each, everything, bits)
        elif scheme.arithmetic == "dynamic":
            rules.add_dynamic_config(each, everything, bits)
        else:
            rules.add_static_config(each, everything, scheme.activation_bits, bits)


def _ranges(content: bytes, calibration: np.ndarray[Any, Any], rules: Any, batch: int) -> dict[str, Any]:
    """Returns every activation's least and largest value over all samples, by the tensor's name."""
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils

    worker = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    (name,) = worker.get_signature_list()[_SIGNATURE]["inputs"]

    def batches() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for start in range(0, len(calibration), batch):
            # The last batch is filled up with the first samples, which changes no range.
            yield {name: np.take(calibration, range(start, start + batch), axis=0, mode="wrap")}

    worker.calibrate({_SIGNATURE: list(batches())}, rules)
    return dict(worker.get_model_qsvs())
