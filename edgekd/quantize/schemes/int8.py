"""Weights (per channel) and activations (per tensor) are calibrated int8: integer arithmetic only."""

WEIGHT_BITS = 8
ACTIVATION_BITS = 8
ARITHMETIC = "integer"
NEEDS_CALIBRATION = True
AWARE = True
ALIASES = ("wi8_ai8",)
FORMATS = ("tflite", "onnx")
DTYPES = ("float32", "int8", "uint8")
RUNTIMES = ("litert", "onnxruntime", "tflite_micro")
