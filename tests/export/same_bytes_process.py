"""Exports one model in every kind, in a process with a past, and prints the files' hashes for test_same_bytes.py.

Usage: same_bytes_process.py FOLDER MODELS_BEFORE
"""

import hashlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from edgekd import quantize
from edgekd.export import export_model


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)
    stem = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(stem))
    x = layers.Conv2D(16, 3, padding="same", name="conv")(stem)
    x = layers.Add(name="add")([layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x), stem])
    x = layers.ReLU(name="relu_2")(layers.BatchNormalization(name="bn_2")(x))
    x = layers.Conv2D(16, 3, padding="same", groups=4, name="grouped")(x)
    return keras.Model(image, layers.Dense(5, name="logits")(layers.GlobalAveragePooling2D(name="pool")(x)))


def hashes(folder: Path, *, models_before: int) -> dict[str, str]:
    """Returns the SHA-256 of each kind of file; a process that has made models before makes them in reverse order."""
    for _ in range(models_before):
        keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    model = network()
    samples = np.random.default_rng(0).random((8, 8, 8, 3), dtype=np.float32)
    kinds = [(kind, scheme.name) for scheme in quantize.all_schemes() for kind in scheme.formats]
    found = {}
    for kind, scheme in reversed(kinds) if models_before else kinds:
        path = folder / f"{scheme}.{kind}"
        export_model(model, path, format=kind, scheme=scheme, name="m", source="m", calibration=samples, batch=None)
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


if __name__ == "__main__":
    print(json.dumps(hashes(Path(sys.argv[1]), models_before=int(sys.argv[2]))))  # noqa: T201
