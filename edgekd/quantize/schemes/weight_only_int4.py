"""Weights are stored as int4 (per channel) and dequantised to float32 before use: an eighth of the size.

Depthwise and transposed convolutions have no 4-bit kernels: their weights are int8. It saves space, not time.
"""

WEIGHT_BITS = 4
OTHER_WEIGHT_BITS = 8
ACTIVATION_BITS = 32
ARITHMETIC = "float"
NEEDS_CALIBRATION = False
AWARE = False
ALIASES = ("weight_only_wi4_afp32",)
FORMATS = ("tflite",)
DTYPES = ("float32",)
RUNTIMES = ("litert",)
