"""What other tools make of a float network and calibration images: each as its own documentation says, int8 inside.

`tools/compare_quantisation.py` puts their files beside edgekd's. All keep float32 inputs and outputs, as edgekd does by
default, so that one test image gives all of them the same numbers.
"""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import storage
from edgekd.runtime.native_output import captured_stderr

if TYPE_CHECKING:  # importing it would import TensorFlow
    import keras

Images = np.ndarray[Any, Any]


def stock_converter(network: "keras.Model", images: Images, path: Path) -> None:
    """Writes what TensorFlow's converter makes: post-training full integer quantisation.

    Args:
      network: a float Keras network.
      images: [samples, height, width, channels] float32.
      path: of the TFLite file.
    """
    import tensorflow as tf

    def samples() -> Iterator[list[Images]]:
        for image in images:
            yield [image[np.newaxis]]

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    # Keras tells on standard output where it put the graph for the converter.
    with captured_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        content = converter.convert()
    storage.write_bytes(path, content)


def ai_edge_quantizer(float_file: Path, images: Images, path: Path) -> None:
    """Writes what ai-edge-quantizer's recipe static_wi8_ai8 makes of a float32 TFLite file; arguments as above."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    signatures = Interpreter(model_path=str(float_file)).get_signature_list()
    ((signature, tensors),) = signatures.items()
    (name,) = tensors["inputs"]
    worker = quantizer.Quantizer(str(float_file), recipe.static_wi8_ai8())
    with captured_stderr(), warnings.catch_warnings():
        # It keeps all tensors, to see the activations, and warns of itself.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        ranges = worker.calibrate({signature: [{name: image[np.newaxis]} for image in images]})
        result = worker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    storage.write_bytes(path, bytes(result.quantized_model))


def onnxruntime(float_file: Path, images: Images, path: Path) -> None:
    """Writes what ONNX Runtime's quantize_static makes of a float32 ONNX file; arguments as above.

    QDQ format, int8 weights per channel, int8 activations, after its own pre-processing.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    (name,) = (each.name for each in onnx.load(float_file).graph.input)

    class Reader(CalibrationDataReader):
        """Gives one image after the other."""

        def __init__(self) -> None:
            self._samples = iter(images)

        def get_next(self) -> dict[str, Images] | None:
            image = next(self._samples, None)
            return None if image is None else {name: image[np.newaxis]}

    with tempfile.TemporaryDirectory() as folder, storage.atomic_path(path) as temporary:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(float_file), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(temporary),
            Reader(),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
