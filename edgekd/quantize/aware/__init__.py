"""Quantisation-aware training of Keras 3 networks: a network that computes in float what its int8 file will compute.

`quantize_aware` is a transform: what it returns is trained like any other network, by any loop and with any teacher.
"""

from edgekd.quantize.aware.biases import round_biases
from edgekd.quantize.aware.mixing import Mixable, Unit
from edgekd.quantize.aware.transform import (
    check,
    exporting,
    is_quantize_aware,
    output_scale,
    quantize_aware,
    unsupported,
)

__all__ = [
    "Mixable",
    "Unit",
    "check",
    "exporting",
    "is_quantize_aware",
    "output_scale",
    "quantize_aware",
    "round_biases",
    "unsupported",
]
