"""Activations are calibrated int8 (per tensor), weights int4 (per channel): integer arithmetic, half of int8's size.

Depthwise and transposed convolutions have no 4-bit kernels: their weights are int8. TFLite Micro refuses such a file:
it has no fully connected operator with 4-bit weights per channel.
"""

WEIGHT_BITS = 4
OTHER_WEIGHT_BITS = 8
ACTIVATION_BITS = 8
ARITHMETIC = "integer"
NEEDS_CALIBRATION = True
AWARE = False
ALIASES = ("wi4_ai8",)
FORMATS = ("tflite",)
DTYPES = ("float32", "int8")
RUNTIMES = ("litert",)
