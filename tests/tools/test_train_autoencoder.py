"""The script that trains an autoencoder: its file, its scores, and what it refuses."""

import io
import re
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from scipy import stats

import edgekd
from tests import test_docs

VALUES, RANK = 24, 3
FLOATS = np.zeros((20, 4), np.float32)
LABELS = np.arange(20) % 2


def windows(rng, count, basis, noise):
    return (rng.uniform(-2, 2, (count, RANK)) @ basis + noise * rng.normal(size=(count, VALUES))).astype(np.float32)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A folder with normal windows, which lie in three dimensions, and clips of which half have something more."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(RANK, VALUES))
    np.savez(folder / "sounds.npz", x=windows(rng, 600, basis, 0.1))
    clip = rng.permutation(np.repeat(np.arange(60), 3 + np.arange(60) % 3))  # clips of 3, 4 or 5 windows
    label = clip % 2
    np.savez(folder / "test.npz", x=windows(rng, 240, basis, 0.1 + 0.9 * label[:, None]), y=label, clip=clip)
    return folder


@pytest.fixture(scope="module")
def road(script):
    """The script, with a smaller network."""
    create = edgekd.create_model
    with pytest.MonkeyPatch.context() as patch:
        small = {"width": 32, "depth": 1, "bottleneck": 4}
        patch.setattr(edgekd, "create_model", lambda *given, **named: create(*given, **named, **small))
        yield script("train_autoencoder")


@pytest.fixture(scope="module")
def trained(road, sounds):
    """The folder of files, the exit status and what was printed."""
    printed, out = io.StringIO(), sounds / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", printed)
        arguments = [str(sounds / "sounds.npz"), "--test", str(sounds / "test.npz"), "--epochs", "20"]
        status = road.main([*arguments, "--out", str(out)])
    return out, status, printed.getvalue()


def litert(path, samples):
    """Returns the file's reconstructions as LiteRT itself computes them, one sample after the other."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for sample in samples:
        interpreter.set_tensor(given["index"], sample[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(gives["index"])[0])
    assert any(each["dtype"] == np.int8 for each in interpreter.get_tensor_details())
    return np.array(outputs, np.float64)


def area(arrays, outputs):
    """Returns the share of pairs of clips in which the anomalous one has the larger error."""
    errors = ((arrays["x"].astype(np.float64) - outputs) ** 2).mean(axis=1)
    scores = np.array([errors[arrays["clip"] == clip].mean() for clip in range(60)])
    normal, anomalous = scores[0::2], scores[1::2]
    return np.mean([(a > n) + (a == n) / 2 for a in anomalous for n in normal])


def test_the_printed_areas_and_ratio_are_those_of_the_network_and_of_the_file_in_litert(sounds, trained):
    out, status, printed = trained
    assert status == 0
    network, file = keras.models.load_model(out / "autoencoder.keras"), out / "autoencoder-int8.tflite"
    arrays = np.load(sounds / "test.npz")
    expected = {"float network": network.predict(arrays["x"], verbose=0), file.name: litert(file, arrays["x"])}
    told = re.findall(r"^(.+): AUC ([\d.]+) \[([\d.]+) to ([\d.]+)\] \(MLPerf Tiny asks for 0.85\)$", printed, re.M)
    assert [name for name, *_ in told] == list(expected)
    for name, value, low, high in told:
        assert float(value) == pytest.approx(area(arrays, expected[name]), abs=0.0006), name
        assert 0.5 < float(low) < float(value) < float(high) <= 1
    last = np.load(sounds / "sounds.npz")["x"][540:]
    reference, candidate = network.predict(last, verbose=0), litert(file, last)
    ratio = 20 * np.log10(np.linalg.norm(reference) / np.linalg.norm(reference - candidate))
    told = re.search(r"int8.tflite: ([\d,]+) bytes, SQNR ([\d.]+) dB on 60 validation windows: passed", printed)
    assert int(told[1].replace(",", "")) == file.stat().st_size
    assert float(told[2]) == pytest.approx(ratio, abs=0.06)
    assert "540 windows of 24 values to train on, 60 to validate\n" in printed
    assert "60 clips in 240 windows, 30 anomalous\n" in printed


@pytest.mark.parametrize(
    ("anomalous", "normal", "expected"),  # of intervals the roots of Newcombe's equation as a quartic
    [
        ([3, 4], [1, 2], (1, 0.3856357, 1)),  # nothing overlaps
        ([6, 7, 8, 9, 10], [1, 2, 3, 4, 5], (1, 0.6427028, 1)),
        ([1, 2, 3], [4, 5, 6, 7], (0, 0, 0.4603083)),
        ([3, 5, 7, 8, 9], [1, 2, 4, 6, 6.5], (0.8, 0.4290940, 0.9505471)),
        ([2, 4], [3, 4, 5], (0.25, 0.0400224, 0.7398732)),  # of six pairs one and a tie
    ],
)
def test_an_area_has_the_interval_of_newcombe_where_clips_do_not_overlap_too(road, anomalous, normal, expected):
    assert road.auc(np.float64(anomalous), np.float64(normal)) == pytest.approx(expected, abs=1e-6)


def test_of_few_clips_intervals_hold_the_area_as_often_as_they_say(road):
    """Of 400 draws of five and five normal scores; a bootstrap's holds four of five, and has no width in some."""
    rng, area = np.random.default_rng(0), stats.norm.cdf(1.5 / np.sqrt(2))
    intervals = [road.auc(rng.normal(1.5, size=5), rng.normal(size=5))[1:] for _ in range(400)]
    held = np.mean([low <= area <= high for low, high in intervals])
    assert held >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)
    assert all(low < high for low, high in intervals)


def test_a_file_that_is_too_far_from_its_network_fails(road, trained, sounds, monkeypatch, capsys):
    out, *_ = trained
    monkeypatch.setattr(road, "MIN_SQNR_DB", 90.0)  # no int8 file reaches it
    held_out = np.load(sounds / "sounds.npz")["x"][540:]
    assert road._proven(out / "autoencoder.keras", out / "autoencoder-int8.tflite", held_out, 7) is False
    assert "at least 90 dB must be" in capsys.readouterr().out


def test_the_seed_decides_the_weights_and_the_order(road, monkeypatch):
    begun = []

    def fit(network, *_, **__):
        begun.append((network.get_weights()[0].tobytes(), tf.random.shuffle(tf.range(100)).numpy().tobytes()))
        return types.SimpleNamespace(history={"loss": [0.0], "val_loss": [0.0]})

    monkeypatch.setattr(keras.Model, "fit", fit)
    data = road._dataset(FLOATS, "sounds")
    for seed in (0, 1, 0):
        road._trained(data, epochs=1, seed=seed)
    assert begun[0] == begun[2]
    assert all(first != second for first, second in zip(begun[0], begun[1], strict=True))


def test_a_loss_that_is_not_finite_is_told(road, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: types.SimpleNamespace(history={"loss": [1.0, np.nan]}))
    with pytest.raises(edgekd.EdgekdError, match="the loss became NaN or infinite"):
        road._trained(road._dataset(FLOATS, "sounds"), epochs=1, seed=0)


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([*range(40, 20, -1)], "still falling, from 23 to 21 in the last 2 of 20 epochs: give more --epochs"),
        ([*range(40, 22, -1), 22, 22], ""),
        ([7], ""),
    ],
)
def test_a_training_that_ends_too_early_is_told(road, monkeypatch, capsys, losses, told):
    history = {"loss": losses, "val_loss": losses}
    monkeypatch.setattr(keras.Model, "fit", lambda *_, **__: types.SimpleNamespace(history=history))
    road._trained(road._dataset(FLOATS, "sounds"), epochs=len(losses), seed=0)
    said = capsys.readouterr().out
    assert told in said
    assert bool(told) == bool(said)


def test_what_the_page_says_to_type_gets_through(trained, sounds, edgekd_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained[0] / "autoencoder.keras", tmp_path)
    samples = np.load(sounds / "sounds.npz")["x"]
    np.savez("sounds.npz", x=samples[:64])
    np.savez("labelled.npz", x=samples, y=np.arange(600) % 2)
    # bench needs TFLM
    export, verify, _ = (each for each in test_docs.commands() if "autoencoder" in " ".join(each))
    exported = edgekd_command(*export)
    assert exported.status == 0, exported.err
    verified = edgekd_command(*verify)
    assert verified.status == 0, verified.out + verified.err
    assert "Accuracy" not in verified.out
    assert verified.out.endswith("1 candidate: 1 passed\n")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": FLOATS}, "no array 'x', but ['images']"),
        ({"x": FLOATS[..., None]}, "x is float32 [20, 4, 1]: expected floats [samples, values]"),
        ({"x": LABELS[:, None]}, "x is int64 [20, 1]"),
        ({"x": np.where(np.arange(20) == 7, np.nan, FLOATS.T).T}, "window 7 of x is not finite"),
        ({"x": np.full((20, 4), 1e300)}, "window 0 of x is not finite in float32"),
        ({"x": FLOATS[:1]}, "split is empty"),
        ({"x": np.array([{}, {}])}, "holds Python objects"),
    ],
)
def test_windows_that_cannot_be_used_are_told(road, tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "sounds.npz", **arrays)
    assert road.main([str(tmp_path / "sounds.npz"), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": FLOATS[:, :3], "y": LABELS}, "windows of 3 values: expected 4"),
        ({"x": FLOATS}, "expected y with 0 (normal) or 1 (anomalous)"),
        ({"x": FLOATS, "y": LABELS[:7]}, "expected y with 0 (normal) or 1 (anomalous)"),
        ({"x": FLOATS, "y": LABELS + 1}, "expected y with 0 (normal) or 1 (anomalous)"),
        ({"x": FLOATS, "y": 0 * LABELS}, "two or more normal and two or more anomalous"),
        ({"x": FLOATS, "y": LABELS, "clip": LABELS}, "two or more normal and two or more anomalous"),
        ({"x": FLOATS, "y": LABELS, "clip": LABELS[:5]}, "clip has the shape [5]"),
        ({"x": FLOATS, "y": LABELS, "clip": np.arange(20) // 2}, "some windows of one clip are 0 in y and others 1"),
    ],
)
def test_a_test_file_that_cannot_be_used_is_told_before_anything_is_trained(
    road, tmp_path, capsys, monkeypatch, arrays, message
):
    monkeypatch.delattr(road, "_trained")
    np.savez(tmp_path / "sounds.npz", x=FLOATS)
    np.savez(tmp_path / "test.npz", **arrays)
    files = [str(tmp_path / "sounds.npz"), "--test", str(tmp_path / "test.npz")]
    assert road.main([*files, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"'{tmp_path / 'test.npz'}'" in said
    assert message in said
    assert not (tmp_path / "out").exists()


def test_no_epochs_are_refused(road):
    with pytest.raises(SystemExit) as ended:
        road.main(["sounds.npz", "--epochs", "0"])
    assert ended.value.code == 2
