"""The same model gives the same bytes in another process, whatever that process has done before."""

import json
import os
import subprocess
import sys

from edgekd import quantize

SCRIPT = """
import hashlib, json, sys
from pathlib import Path
import keras, numpy as np
from keras import layers
from edgekd import quantize
from edgekd.export import export_model

for _ in range(int(sys.argv[2])):
    keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
keras.utils.set_random_seed(0)
image = keras.Input((8, 8, 3), name="image")
stem = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)
stem = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(stem))
x = layers.Conv2D(16, 3, padding="same", name="conv")(stem)
x = layers.Add(name="add")([layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x), stem])
x = layers.ReLU(name="relu_2")(layers.BatchNormalization(name="bn_2")(x))
x = layers.Conv2D(16, 3, padding="same", groups=4, name="grouped")(x)
model = keras.Model(image, layers.Dense(5, name="logits")(layers.GlobalAveragePooling2D(name="pool")(x)))
samples = np.random.default_rng(0).random((8, 8, 8, 3), dtype=np.float32)
kinds = [(kind, scheme.name) for scheme in quantize.all_schemes() for kind in scheme.formats]
if int(sys.argv[2]):
    kinds.reverse()
hashes = {}
for kind, scheme in kinds:
    path = Path(sys.argv[1]) / f"{scheme}.{kind}"
    export_model(model, path, format=kind, scheme=scheme, name="m", source="m", calibration=samples, batch=None)
    hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
print(json.dumps(hashes))
"""


def started(folder, *, models_before, hash_seed):
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(folder), str(models_before)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def hashes(child):
    said, errors = child.communicate()
    assert child.returncode == 0, errors
    return json.loads(said.splitlines()[-1])


def test_every_kind_of_file_is_the_same_in_two_processes_with_different_pasts(tmp_path):
    children = [
        started(tmp_path / "first", models_before=0, hash_seed=1),
        started(tmp_path / "second", models_before=3, hash_seed=2),
    ]
    first, second = [hashes(child) for child in children]
    assert len(first) == sum(len(scheme.formats) for scheme in quantize.all_schemes()) >= 11
    assert first == second
