"""Weights and activations stay 32-bit floats: the reference that every other scheme is judged against."""

WEIGHT_BITS = 32
ACTIVATION_BITS = 32
ARITHMETIC = "float"
NEEDS_CALIBRATION = False
AWARE = False
ALIASES = ("wfp32_afp32",)
FORMATS = ("tflite", "onnx")
DTYPES = ("float32",)
RUNTIMES = ("litert", "onnxruntime", "tflite_micro")
