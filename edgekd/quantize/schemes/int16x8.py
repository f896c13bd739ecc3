"""Activations are calibrated int16 (per tensor, zero point 0), weights int8 (per channel): integers, 256 times finer.

For networks whose activations are too wide for 8 bits, on processors without floating point. LiteRT's accelerated
kernels (XNNPACK) have no 16-bit activations: on phones and computers such a file is tens of times slower than a float32
one. Fewer operators exist than for int8: export says which are missing.
"""

WEIGHT_BITS = 8
ACTIVATION_BITS = 16
ARITHMETIC = "integer"
NEEDS_CALIBRATION = True
AWARE = False
ALIASES = ("wi8_ai16",)
FORMATS = ("tflite",)
DTYPES = ("float32", "int16")
RUNTIMES = ("litert", "tflite_micro")
