"""Weights and activations stay 32-bit floats: the reference that every other scheme is judged against."""

WEIGHT_BITS = 32
ACTIVATION_BITS = 32
NEEDS_CALIBRATION = False
ALIASES = ("wfp32_afp32",)
FORMATS = ("tflite", "onnx")
