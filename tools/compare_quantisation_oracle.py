"""Compares quantisation-aware training of edgekd's own with that of tensorflow-model-optimization, its oracle.

    python tools/compare_quantisation_oracle.py                                   embedded data, three seeds
    python tools/compare_quantisation_oracle.py --dataset idx:FOLDER --epochs 2   Fashion-MNIST of Debian's package

One float network is trained on labels. Both ways start from its weights, train with Adam on the same batches in the
same order, and are converted by the same converter. The page lists the accuracies of the int8 files, and whether the
files have the same operators in the same order.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import architectures, data, export, runtime
from edgekd.data.calibration import calibration_samples
from edgekd.data.dataset import Dataset, Split

BATCH_SIZE = 128
CALIBRATION_SAMPLES = 200


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one way of quantisation-aware training led to.

    Attributes:
      accuracy: of the int8 file on the test split, a fraction.
      operators: of the int8 file, in its order.
      size_bytes: of the int8 file.
    """

    accuracy: float
    operators: tuple[str, ...]
    size_bytes: int


@dataclasses.dataclass(frozen=True)
class Pair:
    """Both ways from one float network.

    Attributes:
      seed: of the network and of the order of the batches.
      float_accuracy: of the float network on the test split.
      native: edgekd's own way.
      oracle: tensorflow-model-optimization's.
    """

    seed: int
    float_accuracy: float
    native: Outcome
    oracle: Outcome

    @property
    def difference(self) -> float:
        """Accuracy of the native file less that of the oracle's."""
        return self.native.accuracy - self.oracle.accuracy


def compare(
    dataset: Dataset,
    *,
    architecture: str,
    arguments: dict[str, Any],
    float_epochs: int,
    epochs: int,
    learning_rate: float,
    seed: int,
) -> Pair:
    """Returns what both ways make of one network.

    Args:
      dataset: labelled; its validation split is not used.
      architecture: as `edgekd.architectures.create` takes it.
      arguments: of the architecture.
      float_epochs: passes over the training split before quantisation.
      epochs: passes of quantisation-aware training.
      learning_rate: of Adam, for the float network; a tenth of it afterwards.
      seed: of the initial weights and of the order of the batches.
    """
    import keras
    import tf_keras

    from edgekd.quantize import legacy
    from edgekd.quantize.aware import quantize_aware

    train, test = dataset.labelled_train, dataset.test
    _, samples = calibration_samples(train, samples=min(CALIBRATION_SAMPLES, len(train)), seed=0)
    network = architectures.create(
        architecture,
        input_shape=dataset.input_shape,
        num_classes=dataset.num_classes,
        seed=seed,
        arguments=arguments,
    )
    _train(network, train, keras, epochs=float_epochs, learning_rate=learning_rate, seed=seed)
    native = quantize_aware(network, samples)
    oracle = legacy.quantize_aware(legacy.to_tf_keras(network))
    for model, library in ((native, keras), (oracle, tf_keras)):
        _train(model, train, library, epochs=epochs, learning_rate=learning_rate / 10, seed=seed + 1)
    return Pair(
        seed=seed,
        float_accuracy=_accuracy(network.predict(_images(test), batch_size=256, verbose=0), test),
        native=_outcome(native, samples, test),
        oracle=_outcome(oracle, samples, test),
    )


def _train(model: Any, split: Split, library: Any, *, epochs: int, learning_rate: float, seed: int) -> None:
    images, labels = split.read(np.arange(len(split)))
    model.compile(
        library.optimizers.Adam(learning_rate), library.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    whole = len(labels) // BATCH_SIZE * BATCH_SIZE or len(labels)
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(labels))[:whole]
        model.fit(images[order], labels[order], batch_size=BATCH_SIZE, shuffle=False, verbose=0)


def _outcome(model: Any, samples: np.ndarray[Any, Any], test: Split) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.tflite")
        artifact = export.export_model(
            model, path, format="tflite", scheme="int8", name="int8", source="network", calibration=samples, batch=None
        )
        logits = runtime.predict(runtime.open_runner(path), _images(test))
        return Outcome(accuracy=_accuracy(logits, test), operators=_operators(path), size_bytes=artifact.size_bytes)


def _operators(path: Path) -> tuple[str, ...]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    return tuple(operator["op_name"] for operator in interpreter._get_ops_details())


def _images(split: Split) -> np.ndarray[Any, Any]:
    return split.read(np.arange(len(split)))[0]


def _accuracy(logits: np.ndarray[Any, Any], split: Split) -> float:
    return float(np.mean(np.argmax(logits, axis=-1) == split.labels))


def page(pairs: Sequence[Pair], command: str) -> str:
    """Returns a Markdown table of the pairs, with their mean difference."""
    rows = [
        f"| {pair.seed} | {pair.float_accuracy:.2%} | {pair.native.accuracy:.2%} | {pair.oracle.accuracy:.2%} | "
        f"{100 * pair.difference:+.2f} | {'yes' if pair.native.operators == pair.oracle.operators else 'no'} | "
        f"{pair.native.size_bytes} | {pair.oracle.size_bytes} |"
        for pair in pairs
    ]
    mean = 100 * float(np.mean([pair.difference for pair in pairs]))
    return "\n".join(
        [
            f"`{command}`",
            "",
            "| seed | float | int8, edgekd | int8, tfmot | difference, points | same operators | bytes | tfmot's |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"Mean difference: {mean:+.2f} points.",
            "",
        ]
    )


def main() -> int:
    """Prints the page; returns 1 where a mean differs by more than 0.3 points, or operators differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--train-limit", type=int)
    parser.add_argument("--architecture", default="resnet")
    parser.add_argument("--width", type=int, help="an argument of the architecture")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--float-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    loaded = data.load(options.dataset, train_limit=options.train_limit)
    pairs = [
        compare(
            loaded,
            architecture=options.architecture,
            arguments={} if options.width is None else {"width": options.width},
            float_epochs=options.float_epochs,
            epochs=options.epochs,
            learning_rate=options.learning_rate,
            seed=seed,
        )
        for seed in options.seeds
    ]
    sys.stdout.write(page(pairs, " ".join(["python", *sys.argv])))
    agree = abs(np.mean([pair.difference for pair in pairs])) <= 0.003
    return 0 if agree and all(pair.native.operators == pair.oracle.operators for pair in pairs) else 1


if __name__ == "__main__":
    sys.exit(main())
