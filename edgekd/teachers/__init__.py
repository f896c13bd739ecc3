"""Teachers of any kind: whatever gives logits for images, opened once, checked, and never changed.

A teacher is a Keras 3 network, in memory or in a `.keras` or `.h5` file; a network of the older Keras (tf_keras), in
memory or in an `.h5` file; a SavedModel folder; a `.tflite` or `.onnx` file; or a Python function. Importing this
package imports none of their libraries.
"""

from edgekd.teachers.frozen import RECONSTRUCTION, FrozenTeacher
from edgekd.teachers.opening import kind_of, open_teacher

__all__ = ["RECONSTRUCTION", "FrozenTeacher", "kind_of", "open_teacher"]
