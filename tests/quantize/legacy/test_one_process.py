"""What importing tensorflow-model-optimization does to the rest of the process: nothing that code of ours can see."""

import json
import subprocess
import sys

PROGRAM = """
import json, os
import keras
import numpy as np
import tf_keras
from edgekd.quantize.legacy import prune_low_magnitude, to_tf_keras
from edgekd.distill.taps import TappedModel
import edgekd.architectures as architectures

model = architectures.create("lab_cnn", input_shape=(8, 8, 1), num_classes=3, seed=0)
pruned = prune_low_magnitude(to_tf_keras(model), sparsity=0.5, end_step=4, frequency=2)
import tensorflow
again = architectures.create("lab_cnn", input_shape=(8, 8, 1), num_classes=3, seed=0)
again.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
again.fit(np.zeros((4, 8, 8, 1), "float32"), np.zeros(4, int), verbose=0)
print(json.dumps({
    "environment": os.environ.get("TF_USE_LEGACY_KERAS"),
    "keras": keras.__version__,
    "of_tensorflow": tensorflow.keras.__version__,
    "model": type(again).__module__,
    "pruned": type(pruned).__module__,
}))
"""


def test_keras_stays_keras_3_after_tfmot_was_imported_first(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["environment"] is None
    assert found["keras"].startswith("3.")
    assert found["of_tensorflow"] == found["keras"]
    assert found["model"].startswith("keras.")
    assert found["pruned"].startswith("tf_keras.")
