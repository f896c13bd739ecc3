"""Trains a large teacher with Keras' own `fit` on any of its backends: made for a GPU with JAX and no TensorFlow.

    python tools/train_teacher.py data --dataset tfds:fashion_mnist --out data.npz        on a machine with edgekd
    KERAS_BACKEND=jax python tools/train_teacher.py fit data.npz --architecture resnet --arguments '{"width": 20}' \
        --out teacher.weights.h5                                                          on the GPU
    python tools/train_teacher.py keep data.npz teacher.weights.h5 --out teacher.keras    back again

`edgekd train` does the same on a CPU, resumable, with every check; this is for the hours that it would take there. The
data are edgekd's own splits, the views those of edgekd's augmentation, and nothing here reads the test split. `fit`
needs keras, h5py, numpy, pydantic and edgekd's sources.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_data(arguments: argparse.Namespace) -> None:
    """Writes the training and validation split of a dataset as bytes."""
    from edgekd import pipeline, recipe, storage

    loaded = pipeline.load_data(recipe.data_section(arguments.dataset, overrides=arguments.set or ()))
    arrays: dict[str, Any] = {"fingerprint": np.asarray(loaded.fingerprint), "classes": np.asarray(loaded.num_classes)}
    for name in ("train", "validation"):
        split = loaded.splits[name]
        arrays |= {f"{name}_images": np.asarray(split.images[:]), f"{name}_labels": split.labels}
    with storage.atomic_path(arguments.out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def fit(arguments: argparse.Namespace) -> None:
    """Trains on the training split and keeps the weights of the last epoch."""
    import keras

    from edgekd import architectures
    from edgekd.data.augment import augment
    from edgekd.data.dataset import as_float32

    arrays = np.load(arguments.data, allow_pickle=False)
    images, labels = arrays["train_images"], arrays["train_labels"]

    class Views(keras.utils.PyDataset):
        """One shuffled pass over edgekd's views of an epoch."""

        def __init__(self) -> None:
            super().__init__(workers=arguments.workers, use_multiprocessing=False, max_queue_size=64)
            self.epoch = 0
            self._order = self._shuffled()

        def _shuffled(self) -> np.ndarray:
            return np.random.default_rng([arguments.seed, self.epoch]).permutation(len(labels))

        def __len__(self) -> int:
            return len(labels) // arguments.batch_size

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            chosen = self._order[index * arguments.batch_size : (index + 1) * arguments.batch_size]
            views = augment(
                images[chosen], sample_ids=chosen, seed=arguments.seed, view=self.epoch, **json.loads(arguments.augment)
            )
            return as_float32(views), labels[chosen]

        def on_epoch_end(self) -> None:
            self.epoch += 1
            self._order = self._shuffled()

    model = architectures.create(
        arguments.architecture,
        input_shape=images.shape[1:],
        num_classes=int(arrays["classes"]),
        seed=arguments.seed,
        arguments=json.loads(arguments.arguments),
    )
    views = Views()
    steps = arguments.epochs * len(views)
    warmup = len(views)
    optimizer = keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(
            0.0, steps - warmup, warmup_target=arguments.learning_rate, warmup_steps=warmup
        ),
        momentum=0.9,
        nesterov=True,
        weight_decay=arguments.weight_decay,
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if len(v.shape) < 2])
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=True,
    )
    validation = (as_float32(arrays["validation_images"]), arrays["validation_labels"])
    model.fit(views, epochs=arguments.epochs, validation_data=validation, validation_batch_size=1000, verbose=2)
    model.save_weights(arguments.out)


def keep(arguments: argparse.Namespace) -> None:
    """Puts trained weights into a .keras file and prints its validation accuracy."""
    from edgekd import architectures
    from edgekd.data.dataset import Split
    from edgekd.distill.evaluate import Predictor

    arrays = np.load(arguments.data, allow_pickle=False)
    model = architectures.create(
        arguments.architecture,
        input_shape=arrays["train_images"].shape[1:],
        num_classes=int(arrays["classes"]),
        seed=0,
        arguments=json.loads(arguments.arguments),
    )
    model.load_weights(arguments.weights)
    architectures.save_model(model, arguments.out)
    validation = Split(arrays["validation_images"], arrays["validation_labels"])
    _, accuracy = Predictor(model).loss_and_accuracy(validation)
    sys.stdout.write(f"validation accuracy {accuracy:.4f}, {arguments.out.stat().st_size:,} bytes\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Does one of the three."""
    parser = argparse.ArgumentParser(description="Trains a large teacher with Keras' fit, such as on a GPU with JAX.")
    verbs = parser.add_subparsers(required=True, metavar="data | fit | keep")
    verb = verbs.add_parser("data", help="write a dataset's training and validation split")
    verb.add_argument("--dataset", default="tfds:fashion_mnist")
    verb.add_argument("--set", action="append", metavar="KEY=VALUE", help="an option of the source")
    verb.set_defaults(work=write_data)
    training = verbs.add_parser("fit", help="train")
    training.add_argument("data", type=Path)
    training.add_argument("--epochs", type=int, default=120)
    training.add_argument("--batch-size", type=int, default=128)
    training.add_argument("--learning-rate", type=float, default=0.1)
    training.add_argument("--weight-decay", type=float, default=5e-3, help="decoupled (default: 5e-3)")
    training.add_argument("--augment", default='{"shift": 2, "flip": true, "cutout": 8}', help="as in a recipe, JSON")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--workers", type=int, default=4)
    training.set_defaults(work=fit)
    kept = verbs.add_parser("keep", help="put weights into a .keras file")
    kept.add_argument("data", type=Path)
    kept.add_argument("weights", type=Path)
    kept.set_defaults(work=keep)
    for each in (training, kept):
        each.add_argument("--architecture", default="resnet")
        each.add_argument("--arguments", default='{"width": 20, "blocks": 3}', help="of the architecture, JSON")
    for each in (verb, training, kept):
        each.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    from edgekd.errors import EdgekdError

    try:
        options.work(options)
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
