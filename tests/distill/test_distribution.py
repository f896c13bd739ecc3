"""Sharing a step among devices and workers: the result is that of one process, for the same global batch."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from edgekd.distill import distribution
from edgekd.distill.distribution import Replicas
from edgekd.errors import ModelError, RecipeError
from edgekd.recipe import Training

SCRIPT = Path(__file__).with_name("distributed_process.py")
# Ten steps sum in another order, and batch normalisation divides by what may be small: up to 20 were seen.
TOLERANCE = 500 * float(np.finfo(np.float32).eps)
SCENARIOS = ("taught", "partly_labelled")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what one process, one process with two devices, and two worker processes came to."""
    folder = tmp_path_factory.mktemp("trained")
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for each in (one, other):  # open until the end, so that nobody gets the port before the worker listens there
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind(("127.0.0.1", 0))
            ports.append(str(each.getsockname()[1]))
        runs = [["alone"], ["0", *ports], ["1", *ports]]
        logs = [(folder / f"{number}.log").open("w+") for number in range(len(runs))]
        processes = [
            subprocess.Popen([sys.executable, str(SCRIPT), str(folder), *run], stdout=log, stderr=log)
            for run, log in zip(runs, logs, strict=True)
        ]
        try:
            statuses = [process.wait(timeout=1500) for process in processes]
        finally:
            for process, log in zip(processes, logs, strict=True):
                process.kill()
                process.wait()
                log.close()
    assert statuses == [0, 0, 0], "\n".join((folder / f"{number}.log").read_text()[-2000:] for number in range(3))
    return folder


def loaded(folder: Path, run: str, scenario: str) -> Mapping[str, np.ndarray]:
    with np.load(folder / run / f"{scenario}.npz") as file:
        return {name: file[name] for name in file.files}


def assert_near(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    weights = [name for name in expected if name.startswith("weights/")]
    assert len(weights) == 13
    for name in (*weights, "curve"):
        largest = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=TOLERANCE * largest, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_workers_reproduce_one_process(trained: Path, scenario: str) -> None:
    """Weights, averages and measurements; with mixup, an adapter, clipping, accumulation and unlabelled samples."""
    assert_near(loaded(trained, "worker_0", scenario), loaded(trained, "alone", scenario))


@pytest.mark.slow
def test_two_devices_of_one_process_reproduce_one(trained: Path) -> None:
    assert_near(loaded(trained, "mirrored", "taught"), loaded(trained, "alone", "taught"))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_workers_end_with_the_same_bits(trained: Path, scenario: str) -> None:
    chief, other = (loaded(trained, f"worker_{index}", scenario) for index in range(2))
    for name in chief:
        if name != "steps":
            np.testing.assert_array_equal(chief[name], other[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_only_the_chief_saves_and_is_watched(trained: Path, scenario: str) -> None:
    assert (trained / "worker_0" / f"{scenario}.checkpoint.npz").is_file()
    assert not (trained / "worker_1" / f"{scenario}.checkpoint.npz").exists()
    assert loaded(trained, "worker_0", scenario)["steps"] == loaded(trained, "alone", scenario)["steps"] > 0
    assert loaded(trained, "worker_1", scenario)["steps"] == 0


@pytest.mark.slow
def test_workers_that_begin_with_other_weights_are_refused_by_all(trained: Path) -> None:
    for index in range(2):
        message = (trained / f"different_start_{index}.txt").read_text()
        assert "number 1 of 0..1 not as number 0" in message


@pytest.mark.slow
def test_replicas_drop_different_features(trained: Path) -> None:
    with np.load(trained / "dropout.npz") as file:
        alone, mirrored = file["alone"], file["mirrored"]
    assert set(alone) == {0.0, 2.0}
    # The mean over two masks is 1 where one of them drops: half of the features, give or take four deviations.
    assert 0.25 < (mirrored == 1.0).mean() < 0.75
    # The first one's mask is that of a single process.
    assert not mirrored[alone == 0].max() > 1.0


@pytest.mark.slow
@pytest.mark.parametrize("run", ["alone", "mirrored"])
def test_ranges_follow_the_extremes_of_the_whole_batch(trained: Path, run: str) -> None:
    with np.load(trained / f"ranges_{run}.npz") as found, np.load(trained / "ranges_alone.npz") as alone:
        # From -1..1, with a momentum of 3/4, towards the least and the largest value of both halves: -6 and 9.
        np.testing.assert_array_equal(found["bounds"], [-0.75 - 0.25 * 6, 0.75 + 0.25 * 9])
        assert (alone["gradients"] != 0).all()
        np.testing.assert_allclose(found["gradients"], alone["gradients"], rtol=1e-6)


def test_one_process_alone_is_the_chief_of_one_worker() -> None:
    alone = Replicas()
    assert (alone.count, alone.worker, alone.is_chief) == (1, (0, 1), True)
    assert alone.from_chief(lambda: (1.0, 2.0)) == (1.0, 2.0)


def test_known_samples_alone_are_counted_and_none_is_no_division_by_zero() -> None:
    assert float(distribution.known_per_replica(tf.constant([1.0, 0.0, 1.0]))) == 2.0
    assert float(distribution.known_per_replica(tf.zeros(3))) == 1.0


def test_batches_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"batches of 33 samples.*among 2 workers.*multiple of 2"):
        distribution.check(Training(), batch_size=33, replicas=2)
    distribution.check(Training(), batch_size=33, replicas=1)


def test_xla_is_refused_with_workers() -> None:
    with pytest.raises(RecipeError, match=r"xla: true with 2 workers"):
        distribution.check(Training(xla=True), batch_size=32, replicas=2)
    distribution.check(Training(xla=True), batch_size=32, replicas=1)


def test_another_strategy_is_refused() -> None:
    with pytest.raises(ModelError, match="OneDeviceStrategy: expected MirroredStrategy"):
        Replicas(tf.distribute.OneDeviceStrategy("CPU:0"))
