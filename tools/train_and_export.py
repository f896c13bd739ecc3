"""Trains a teacher and a student, makes the student int8, exports both to TFLite and ONNX and proves the files.

    python tools/train_and_export.py                                   on the images that come with edgekd
    python tools/train_and_export.py --dataset image_folder:photos --image-size 32 --epochs 20
    python tools/train_and_export.py --dataset tfds:fashion_mnist --teacher models/fashion_mnist/teacher.keras

The whole road through edgekd's Python interface, to copy and change; `edgekd run` walks it from a recipe, resumes where
it was stopped, and writes a report. Exit status 1 where a file is not the network that was trained.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import edgekd
from edgekd.records import Comparison, EpochRecord

AUGMENT = {"shift": 1, "flip": True}
LOSSES = [{"loss": "dist", "temperature": 4.0, "weight": 2.0}]  # the largest mean gain in docs/methods.md
AWARE = {"epochs": 2, "learning_rate": 0.01}  # of quantisation-aware training
MAX_ACCURACY_DROP = 0.01  # of a file, against the network that it was exported from
MIN_AGREEMENT = 0.98


def main(arguments: Sequence[str] | None = None) -> int:
    """Walks the road; 1 where a file fails, 2 where something cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="embedded", help="as in a recipe (default: embedded)")
    parser.add_argument("--image-size", type=int, help="that images of a folder are resized to")
    parser.add_argument("--limit", type=int, help="so many images of each split, to try it (default: all)")
    parser.add_argument("--teacher", type=Path, help="a trained network (default: one is trained)")
    parser.add_argument("--width", type=int, default=8, help="of the student's first stage (default: 8)")
    parser.add_argument("--epochs", type=int, default=6, help="of each network (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("exported"), help="folder of the files (default: exported)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    try:
        return _run(options)
    except edgekd.EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    seed, training = options.seed, {"epochs": options.epochs, "augment": AUGMENT, "seed": options.seed}
    settings = {f"{split}_limit": options.limit for split in ("train", "validation", "test")}
    settings["image_size"] = options.image_size
    data = edgekd.load_data(options.dataset, **{key: value for key, value in settings.items() if value is not None})

    teacher = options.teacher
    if teacher is None:
        teacher = edgekd.create_model("resnet", data, seed=seed + 1, width=4 * options.width, stem_stride=2)
        _tell("teacher", edgekd.train_model(teacher, data, **training))
    student = edgekd.create_model("resnet", data, seed=seed, width=options.width, stem_stride=2)
    _tell("student", edgekd.distill_model(student, teacher, data, losses=LOSSES, labels_weight=1.0, **training))

    # The int8 network computes what its file will compute, and the teacher goes on teaching it.
    int8 = edgekd.quantize_model(student, data, seed=seed)
    _tell("int8", edgekd.distill_model(int8, teacher, data, losses=LOSSES, labels_weight=1.0, **{**training, **AWARE}))

    passed = True
    for network, scheme in ((student, "float32"), (int8, "int8")):
        for suffix in ("tflite", "onnx"):
            path = options.out / f"student-{scheme}.{suffix}"
            file = edgekd.export_model(network, path, scheme=scheme, data=data, seed=seed)
            passed &= _proven(edgekd.verify_model(network, path, data.test), file.size_bytes)
    return 0 if passed else 1


def _proven(comparison: Comparison, size_bytes: int) -> bool:
    """Prints how far a file is from its network on the test split, and returns whether that is near enough."""
    assert comparison.accuracy_drop is not None and comparison.agreement is not None  # noqa: S101, PT018 - has labels
    drop, agreement = comparison.accuracy_drop.value, comparison.agreement.value
    passed = drop <= MAX_ACCURACY_DROP and agreement >= MIN_AGREEMENT
    sys.stdout.write(
        f"{comparison.candidate}: {size_bytes:,} bytes, accuracy {comparison.candidate_accuracy:.2%}, drop "
        f"{100 * drop:+.2f} points, agreement {agreement:.2%}: {'passed' if passed else 'FAILED'}\n"
    )
    return passed


def _tell(name: str, curve: Sequence[EpochRecord]) -> None:
    accuracies = {row.epoch: row.validation_accuracy for row in curve if row.validation_accuracy is not None}
    best = max(accuracies, key=lambda epoch: accuracies[epoch])
    sys.stdout.write(f"{name}: validation accuracy {accuracies[best]:.2%} in epoch {best}\n")


if __name__ == "__main__":
    sys.exit(main())
