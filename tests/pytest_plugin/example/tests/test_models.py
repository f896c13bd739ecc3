"""The shipped files are what they were when we last looked, and within their budgets."""


def test_the_float_file(conversion):
    conversion.check("models/classifier-float32.tflite", reference="models/classifier.onnx")


def test_the_int8_file(conversion):
    found = conversion.check(
        "models/classifier-int8.tflite",
        reference="models/classifier.onnx",
        data="data/windows.npz",
        max_accuracy_drop=0.02,
        min_agreement=0.95,
        max_size_bytes=4000,
    )
    assert found.golden_was == "compared"


def test_the_onnx_file(conversion):
    conversion.check("models/classifier.onnx", data="data/windows.npz", max_size_bytes=4000)
