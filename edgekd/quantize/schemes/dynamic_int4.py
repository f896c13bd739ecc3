"""Weights are stored as int4 (per channel), activations are quantised to int8 while running: no calibration.

Depthwise and transposed convolutions have no 4-bit kernels: their weights are int8. It saves space, not time: LiteRT
unpacks 4-bit weights while running.
"""

WEIGHT_BITS = 4
OTHER_WEIGHT_BITS = 8
ACTIVATION_BITS = 32
ARITHMETIC = "dynamic"
NEEDS_CALIBRATION = False
AWARE = False
ALIASES = ("wi4_afp32", "dynamic_wi4_afp32")
FORMATS = ("tflite",)
DTYPES = ("float32",)
RUNTIMES = ("litert",)
