#!/usr/bin/env python3
"""Trains MLPerf Tiny's autoencoder on normal windows, exports it in int8 and tells how well it finds anomalies.

    python tools/train_autoencoder.py sounds.npz
    python tools/train_autoencoder.py sounds.npz --test test.npz --out runs/anomalies

`sounds.npz` has windows of normal sound as `x`, [samples, values] floats; the benchmark's are 640 values, five frames
of 128 mel bands in decibels. `test.npz` has other windows as `x`, with `y`: 0 normal, 1 anomalous; and, where several
windows are of one recording, its number or name for each window as `clip`. An anomaly's score is the mean squared error
of its reconstruction, over all windows of a clip. The AUC is the probability that an anomaly has a higher score than
what is normal: of chance 0.5. The benchmark asks for 0.85. Intervals are of 95 %, take clips (windows, without `clip`)
as independent, and have a width where no two clips overlap, too: 1.000 of 5 and 5 clips is [0.643 to 1.000].

Written to --out: autoencoder.keras and autoencoder-int8.tflite. Exit status 1 where the file is not near enough to the
network, 2 where something cannot be done. edgekd's recipes train classifiers; this is a script to copy and change.

Loss, optimiser, epochs, batch and the last tenth for validation are those of the benchmark's reference:
https://github.com/mlcommons/tiny/tree/master/benchmark/training/anomaly_detection (baseline.yaml, 00_train.py), and so
is the score (01_test.py), whose AUC is of each machine: give a test file for each.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

import edgekd
from edgekd import runtime, storage
from edgekd.data.arrays import read_npz
from edgekd.data.dataset import UNLABELLED, Dataset, Split
from edgekd.errors import DataError, NonFiniteError
from edgekd.teachers.runnable import open_runnable

Array = np.ndarray[Any, Any]

FIT = {"epochs": 100, "batch_size": 512}
HELD_OUT = 0.1  # of the windows, from the end, so that few clips lie on both sides
QUALITY_TARGET = 0.85  # MLPerf Tiny's AUC
CALIBRATED = 4096  # training windows, where there are as many; few miss the loudest, which the file then cuts off
STILL_FALLING = 0.95  # of the validation loss, in a tenth of the epochs
MIN_SQNR_DB = 25.0  # of the file's reconstructions against the network's
MOST_COMPARED = 2000  # windows; more tell no more
Z = stats.norm.ppf(0.975)
EDGE = 1e-12  # of what an interval may reach


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, exports, verifies and scores; 1 where the file fails, 2 where something cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("windows", type=Path, help=".npz file with normal windows as x")
    parser.add_argument("--test", type=Path, help=".npz file with x, y and perhaps clip")
    parser.add_argument("--epochs", type=int, default=FIT["epochs"], help=f"(default: {FIT['epochs']})")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("exported"), help="folder of the files (default: exported)")
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs is {options.epochs}: expected 1 or more")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    try:
        return _run(options)
    except edgekd.EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


def _run(options: argparse.Namespace) -> int:
    from edgekd import architectures

    storage.check_folder(options.out)
    windows = _windows(read_npz(options.windows), options.windows)
    test = None if options.test is None else _labelled(options.test, like=windows)
    data = _dataset(windows, options.windows.name)
    held_out = data.validation.images
    told = f"{len(data.train):,} windows of {windows.shape[1]} values to train on, {len(held_out):,} to validate"
    _tell(f"{data.name}: {told}")

    network = _trained(data, epochs=options.epochs, seed=options.seed)
    architectures.save_model(network, options.out / "autoencoder.keras")
    file = options.out / "autoencoder-int8.tflite"
    calibration = {"data": data, "samples": CALIBRATED, "seed": options.seed}
    size = edgekd.export_model(network, file, scheme="int8", **calibration).size_bytes
    passed = _proven(network, file, held_out[:: -(-len(held_out) // MOST_COMPARED)], size)
    if test is not None:
        _tell_aucs(test, network, file)
    return 0 if passed else 1


def _dataset(windows: Array, name: str) -> Dataset:
    """Returns windows without classes as a dataset, which gives the network its shape and the file its calibration."""
    cut = len(windows) - round(HELD_OUT * len(windows))
    held_out = Split(windows[cut:], np.zeros(len(windows) - cut, np.int64))
    return Dataset(name, Split(windows[:cut], np.full(cut, UNLABELLED)), held_out, held_out, ("normal", "anomalous"))


def _trained(data: Dataset, *, epochs: int, seed: int) -> Any:
    import keras

    network = edgekd.create_model("autoencoder", data, seed=seed)
    keras.utils.set_random_seed(seed)  # decides the order of the windows
    network.compile(optimizer="adam", loss="mean_squared_error")
    windows, held_out = data.train.images, data.validation.images
    fit = {**FIT, "epochs": epochs, "validation_data": (held_out, held_out), "verbose": 2}
    curve = network.fit(windows, windows, **fit).history
    if not np.isfinite(curve["loss"]).all():
        raise NonFiniteError("the loss became NaN or infinite: scale the windows to smaller numbers.")
    tenth = max(1, epochs // 10)
    before, last = curve["val_loss"][-tenth - 1 :][0], curve["val_loss"][-1]
    if last < STILL_FALLING * before:
        ended = f"from {before:.4g} to {last:.4g} in the last {tenth} of {epochs} epochs"
        _tell(f"the validation loss was still falling, {ended}: give more --epochs, as few windows make few steps")
    return network


def _proven(network: Any, file: Path, windows: Array, size_bytes: int) -> bool:
    """Prints how near the file's reconstructions are to the network's, and returns whether that is near enough."""
    split = Split(windows, np.full(len(windows), UNLABELLED))
    verification = edgekd.verify_models(network, [file], data=split, min_sqnr_db=MIN_SQNR_DB)
    (output,) = verification.comparisons[0].outputs
    ratio = "the same" if output.sqnr_db is None else f"SQNR {output.sqnr_db:.1f} dB"
    judged = "passed" if verification else f"FAILED, {verification.verdicts[0].reason}"
    _tell(f"{file.name}: {size_bytes:,} bytes, {ratio} on {len(windows):,} validation windows: {judged}")
    return bool(verification)


def _tell_aucs(test: Mapping[str, Array], network: Any, file: Path) -> None:
    """Prints how well the network and the file tell the anomalies of a test file."""
    clips, of_window = np.unique(test["clip"], return_inverse=True)
    anomalous = np.bincount(of_window, test["y"]) > 0
    _tell(f"{len(clips):,} clips in {len(of_window):,} windows, {anomalous.sum():,} anomalous")
    for name, model in (("float network", network), (file.name, file)):
        with open_runnable(model).runner as runner:
            outputs = runtime.predict(runner, test["x"], batch_size=FIT["batch_size"])
        errors = np.square(test["x"] - outputs).mean(axis=1, dtype=np.float64)
        scores = np.bincount(of_window, errors) / np.bincount(of_window)
        value, low, high = auc(scores[anomalous], scores[~anomalous])
        _tell(f"{name}: AUC {value:.3f} [{low:.3f} to {high:.3f}] (MLPerf Tiny asks for {QUALITY_TARGET})")


def auc(anomalous: Array, normal: Array) -> tuple[float, float, float]:
    """Returns the probability that an anomaly's score exceeds a normal one's, ties counting half, and its interval.

    The interval is of the θ from which the value is at most z standard deviations away: with m and n scores and
    N = (m + n) / 2 - 1 the variance is θ(1 - θ) [1 + N(1 - θ) / (2 - θ) + Nθ / (1 + θ)] / mn, that of Hanley and McNeil
    but for N. Unlike a bootstrap's it has a width where all anomalies exceed all that is normal.

    References:
      R. G. Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2:
      asymptotic methods and evaluation", Statistics in Medicine 25, 2006, method 5. https://doi.org/10.1002/sim.2324
    """
    pairs = len(anomalous) * len(normal)
    value = float(stats.mannwhitneyu(anomalous, normal, method="asymptotic").statistic) / pairs
    mean = (len(anomalous) + len(normal)) / 2 - 1

    def beyond(theta: float) -> float:
        factor = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        return float((value - theta) ** 2 - Z**2 * theta * (1 - theta) * factor / pairs)

    # At 0 and at 1 there is no variance: a value there is a root of its own, which the brackets leave out.
    low = optimize.brentq(beyond, 0.0, min(value, 1 - EDGE)) if value > 0 else 0.0
    high = optimize.brentq(beyond, max(value, EDGE), 1.0) if value < 1 else 1.0
    return value, low, high


def _windows(arrays: Mapping[str, Array], path: Path) -> Array:
    if "x" not in arrays:
        raise DataError(f"'{path}' has no array 'x', but {sorted(arrays)}: expected windows as x.")
    if arrays["x"].ndim != 2 or arrays["x"].dtype.kind != "f":
        received = f"{arrays['x'].dtype} {list(arrays['x'].shape)}"
        raise DataError(f"'{path}': x is {received}: expected floats [samples, values].")
    with np.errstate(over="ignore"):  # what float32 cannot hold is told below
        windows = arrays["x"].astype(np.float32)
    finite = np.isfinite(windows).all(axis=1)
    if not finite.all():
        raise DataError(f"'{path}': window {np.argmin(finite)} of x is not finite in float32: repair or leave it out.")
    return windows


def _labelled(path: Path, *, like: Array) -> dict[str, Array]:
    """Returns x, y and clip of a test file, whose windows are clips of their own where it has none."""
    arrays = read_npz(path)
    windows = _windows(arrays, path)
    if windows.shape[1:] != like.shape[1:]:
        raise DataError(f"'{path}': windows of {windows.shape[1]} values: expected {like.shape[1]}, as in training.")
    labels, clips = arrays.get("y"), arrays.get("clip", np.arange(len(windows)))
    if labels is None or labels.shape != windows.shape[:1] or not np.isin(labels, (0, 1)).all():
        raise DataError(f"'{path}': expected y with 0 (normal) or 1 (anomalous) for each window of x.")
    if clips.shape != labels.shape:
        raise DataError(f"'{path}': clip has the shape {list(clips.shape)}: expected a number or name for each window.")
    if len(np.unique(clips)) < len({*zip(clips.tolist(), labels.tolist(), strict=True)}):
        raise DataError(f"'{path}': some windows of one clip are 0 in y and others 1: expected one label for a clip.")
    if min(len(np.unique(clips[labels == kind])) for kind in (0, 1)) < 2:
        raise DataError(f"'{path}': expected two or more normal and two or more anomalous clips, or windows, in y.")
    return {"x": windows, "y": labels.astype(np.int64), "clip": clips}


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
