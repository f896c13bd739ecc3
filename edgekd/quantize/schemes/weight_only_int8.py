"""Weights are stored as int8 (per channel) and dequantised to float32 before use: a quarter of the size.

Activations keep float32's precision, so that outputs are closer to the network's than dynamic_int8's; it saves space,
not time. Not for TFLite Micro: its DEQUANTIZE takes one scale for a whole tensor and returns wrong numbers without a
word.
"""

WEIGHT_BITS = 8
ACTIVATION_BITS = 32
ARITHMETIC = "float"
NEEDS_CALIBRATION = False
AWARE = False
ALIASES = ("weight_only_wi8_afp32",)
FORMATS = ("tflite",)
DTYPES = ("float32",)
RUNTIMES = ("litert",)
