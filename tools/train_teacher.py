"""Trains a large teacher with Keras' own `fit` on any of its backends: made for a GPU with JAX and no TensorFlow.

    python tools/train_teacher.py data --dataset tfds:fashion_mnist --out data.npz        on a machine with edgekd
    KERAS_BACKEND=jax python tools/train_teacher.py fit data.npz --architecture resnet --arguments '{"width": 20}' \
        --out teacher.weights.h5                                                          on the GPU
    python tools/train_teacher.py keep data.npz teacher.weights.h5 --out teacher.keras    back again

`edgekd train` does the same on a CPU with every check; this is for the hours that it would take there. The data are
edgekd's own splits, the views those of edgekd's augmentation, and nothing here reads the test split. `fit` needs keras,
h5py, numpy, pydantic and edgekd's sources. While it trains, the state of the last epoch lies beside `--out`, in
`teacher.weights.h5.unfinished`: the same command goes on from there.
"""

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import npz, storage
from edgekd.errors import EdgekdError, ModelError, RecipeError, StorageError, said, unknown_names

if TYPE_CHECKING:
    import keras

WEIGHTS_SUFFIX = ".weights.h5"  # Keras saves weights under no other
TRAINED = "edgekd_fit"  # the attribute of the weights' file that says of what they are: the settings, as JSON
SETTINGS_FILE = "settings.json"  # the same, beside the state of a training that is unfinished


def write_data(arguments: argparse.Namespace) -> None:
    """Writes the training and validation split of a dataset as bytes."""
    from edgekd import pipeline, recipe

    loaded = pipeline.load_data(recipe.data_section(arguments.dataset, overrides=arguments.set or ()))
    arrays: dict[str, Any] = {"fingerprint": np.asarray(loaded.fingerprint), "classes": np.asarray(loaded.num_classes)}
    for name in ("train", "validation"):
        split = loaded.splits[name]
        arrays |= {f"{name}_images": np.asarray(split.images[:]), f"{name}_labels": split.labels}
    with storage.atomic_path(arguments.out) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def fit(arguments: argparse.Namespace) -> None:
    """Trains on the training split and keeps the weights of the last epoch.

    Raises:
      RecipeError: an option that cannot be followed.
      StorageError: the data cannot be read, or another training is unfinished at the same place.
    """
    if not arguments.out.name.endswith(WEIGHTS_SUFFIX):
        raise RecipeError(f"--out {str(arguments.out)!r} does not end in {WEIGHTS_SUFFIX!r}: Keras saves no others.")
    for option in ("epochs", "batch_size", "workers"):
        if getattr(arguments, option) < 1:
            raise RecipeError(
                f"--{option.replace('_', '-')} must be at least 1, received {getattr(arguments, option)}."
            )
    settings = {
        "architecture": arguments.architecture,
        "arguments": _mapping("--arguments", arguments.arguments),
        "augment": _augmentation(arguments.augment),
        **{
            name: getattr(arguments, name) for name in ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")
        },
    }
    arrays = _read(arguments.data)
    if len(arrays["train_labels"]) < arguments.batch_size:
        raise RecipeError(
            f"--batch-size {arguments.batch_size} is more than the {len(arrays['train_labels'])} training images of "
            f"{str(arguments.data)!r}: give a smaller one."
        )
    storage.check_folder(arguments.out.parent)
    unfinished = arguments.out.with_name(f"{arguments.out.name}.unfinished")
    settings["data"] = str(arrays["fingerprint"])
    _require_same_training(unfinished, settings)
    model = _network(arrays, settings, seed=arguments.seed)
    storage.write_text(unfinished / SETTINGS_FILE, json.dumps(settings))
    _train(model, arrays, settings, unfinished, workers=arguments.workers)
    _save(model, arguments.out, unfinished)


def _network(arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], *, seed: int) -> "keras.Model":
    from edgekd import architectures

    return architectures.create(
        settings["architecture"],
        input_shape=arrays["train_images"].shape[1:],
        num_classes=int(arrays["classes"]),
        seed=seed,
        arguments=settings["arguments"],
    )


def _train(
    model: "keras.Model",
    arrays: Mapping[str, np.ndarray],
    settings: Mapping[str, Any],
    unfinished: Path,
    *,
    workers: int,
) -> None:
    import keras

    from edgekd.data.augment import augment
    from edgekd.data.dataset import as_float32

    images, labels = arrays["train_images"], arrays["train_labels"]
    seed, batch_size = settings["seed"], settings["batch_size"]

    class Views(keras.utils.PyDataset):
        """One shuffled pass over edgekd's views of an epoch."""

        def __init__(self) -> None:
            super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=64)
            self.begin(0)

        def begin(self, epoch: int) -> None:
            self._epoch = epoch
            self._order = np.random.default_rng([seed, epoch]).permutation(len(labels))

        def __len__(self) -> int:
            return len(labels) // batch_size

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            chosen = self._order[index * batch_size : (index + 1) * batch_size]
            views = augment(images[chosen], sample_ids=chosen, seed=seed, view=self._epoch, **settings["augment"])
            return as_float32(views), labels[chosen]

    views = Views()
    optimizer = keras.optimizers.SGD(
        schedule(settings["learning_rate"], epochs=settings["epochs"], steps=len(views)),
        momentum=0.9,
        nesterov=True,
        weight_decay=settings["weight_decay"],
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if len(v.shape) < 2])
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=True,
    )
    model.fit(
        views,
        epochs=settings["epochs"],
        validation_data=(as_float32(arrays["validation_images"]), arrays["validation_labels"]),
        validation_batch_size=1000,
        verbose=2,
        callbacks=[
            keras.callbacks.BackupAndRestore(str(unfinished), double_checkpoint=True, delete_checkpoint=False),
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: views.begin(epoch)),
        ],
    )


def schedule(peak: float, *, epochs: int, steps: int) -> "keras.optimizers.schedules.CosineDecay":
    """Returns a learning rate that rises over the first epoch and falls as a cosine; a single epoch is halved.

    Args:
      peak: the highest rate.
      epochs: at least 1.
      steps: of an epoch, at least 1.
    """
    import keras

    rising = min(steps, epochs * steps // 2)
    return keras.optimizers.schedules.CosineDecay(0.0, epochs * steps - rising, warmup_target=peak, warmup_steps=rising)


def _save(model: "keras.Model", out: Path, unfinished: Path) -> None:
    """Writes the weights with the settings that they are of, and removes what the training kept on its way."""
    import h5py

    whole = unfinished / out.name
    with storage.storage_errors(out):
        model.save_weights(whole)
        with h5py.File(whole, "r+") as file:
            file.attrs[TRAINED] = (unfinished / SETTINGS_FILE).read_text(encoding="utf-8")
        whole.replace(out)
        shutil.rmtree(unfinished)


def keep(arguments: argparse.Namespace) -> None:
    """Puts trained weights into a .keras file and prints its validation accuracy.

    Raises:
      ModelError: the weights are of other data, or of another network.
      StorageError: a file cannot be read.
    """
    from edgekd import architectures
    from edgekd.data.dataset import Split
    from edgekd.distill.evaluate import Predictor

    if arguments.out.suffix != ".keras":
        raise RecipeError(f"--out {str(arguments.out)!r} does not end in '.keras': correct it.")
    arrays = _read(arguments.data)
    network = {
        "architecture": arguments.architecture,
        "arguments": _mapping("--arguments", arguments.arguments),
    }
    _require_weights_of(arguments.weights, network | {"data": str(arrays["fingerprint"])})
    model = _network(arrays, network, seed=0)
    model.load_weights(arguments.weights)
    architectures.save_model(model, arguments.out)
    validation = Split(arrays["validation_images"], arrays["validation_labels"])
    _, accuracy = Predictor(model).loss_and_accuracy(validation)
    sys.stdout.write(f"validation accuracy {accuracy:.4f}, {arguments.out.stat().st_size:,} bytes\n")


def _read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays that `write_data` wrote."""
    storage.require_file(path, "data file")
    parts = (f"{split}_{kind}" for split in ("train", "validation") for kind in ("images", "labels"))
    names = ("fingerprint", "classes", *parts)
    try:
        found = npz.read(path)
        absent = [name for name in names if name not in found]
        if absent:
            raise ValueError(f"it lacks {', '.join(absent)}")
    except ValueError as error:
        raise StorageError(
            f"{str(path)!r} is no data file of this tool{said(error)}: write it with its `data` verb."
        ) from error
    return found


def _mapping(option: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise RecipeError(f"{option} {text!r} is not JSON ({error}): write such as '{{\"width\": 20}}'.") from error
    if not isinstance(found, dict):
        raise RecipeError(f"{option} {text!r} is no JSON object: write such as '{{\"width\": 20}}'.")
    return found


def _augmentation(text: str) -> dict[str, Any]:
    from edgekd.data.augment import Augmentation

    found, known = _mapping("--augment", text), [field.name for field in dataclasses.fields(Augmentation)]
    unknown = set(found) - set(known)
    if unknown:
        raise RecipeError(unknown_names("key of --augment", unknown, known))
    return dataclasses.asdict(Augmentation(**found))


def _require_same_training(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises StorageError where a folder has the state of a training with other settings."""
    path = folder / SETTINGS_FILE
    if not folder.exists() or [each.name for each in folder.iterdir()] == [SETTINGS_FILE]:
        return  # nothing was trained
    before = _settings_in(path.read_bytes()) if path.is_file() else {}
    if not before:
        raise StorageError(
            f"{str(folder)!r} does not say of what training it is: remove the folder, or choose another --out."
        )
    other = [name for name, value in settings.items() if before.get(name) != value]
    if other:
        raise StorageError(
            f"{str(folder)!r} holds an unfinished training with another {', '.join(other)}: give what it began with, "
            "remove the folder, or choose another --out."
        )


def _require_weights_of(path: Path, expected: Mapping[str, Any]) -> None:
    import h5py

    storage.require_file(path, "weights")
    try:
        with h5py.File(path) as file:
            trained = _settings_in(file.attrs.get(TRAINED))
    except OSError as error:
        raise StorageError(f"{str(path)!r} is no HDF5 file, or is cut short: copy it again.") from error
    if not expected.keys() <= trained.keys():
        raise ModelError(f"{str(path)!r} does not say of what data and network it is: give a file of the `fit` verb.")
    for name, value in expected.items():
        if trained[name] != value:
            raise ModelError(
                f"the weights {str(path)!r} are of {name} {trained[name]!r}, not of {value!r}: give what `fit` was "
                "given."
            )


def _settings_in(text: object) -> dict[str, Any]:
    """Returns the settings that a file of this tool tells; none where another hand wrote it, or it is cut short."""
    try:
        found = json.loads(text) if isinstance(text, str | bytes) else None
    except ValueError:  # of JSON or of UTF-8
        return {}
    return found if isinstance(found, dict) else {}


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
    try:
        options.work(options)
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
