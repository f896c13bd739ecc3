"""Trainings shared by worker processes: the same weights as of one process, also when workers die or are stopped."""

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import psutil
import pytest

from edgekd import recipe
from edgekd.distill.stopping import StopRequest
from edgekd.errors import NonFiniteError, RecipeError, StoppedError, WorkerError
from edgekd.pipeline import Progress, run, worker, workers
from edgekd.pipeline.results import TrainingResult
from edgekd.pipeline.stage import MODEL_FILE, RECORD_FILE, STUDENT_DISTILLED
from edgekd.recipe import Recipe
from edgekd.records import EpochRecord

# Forty-eight steps sum in another order.
TOLERANCE = 2000 * float(np.finfo(np.float32).eps)
EPOCHS = 12
# Workers import it, too, and the chief then keeps the checkpoint of each epoch, which the next one replaces.
NETWORK = """
import os

import keras
from keras import layers

from edgekd.distill.checkpoint import Checkpoint


def save(self, state, save=Checkpoint.save):
    save(self, state)
    if state.step == 0:
        kept = self.path.parents[1] / f"after_epoch_{state.epoch}.npz"
        kept.unlink(missing_ok=True)
        os.link(self.path, kept)


if "TF_CONFIG" in os.environ:
    Checkpoint.save = save


def small(input_shape, num_classes, *, width=4):
    images = keras.Input(input_shape)
    x = layers.Conv2D(width, 3, strides=2, use_bias=False)(images)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(images, layers.Dense(num_classes)(layers.Flatten()(x)))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code of a network, a saved teacher, and room for the teacher cache and runs."""
    found = tmp_path_factory.mktemp("workers")
    (found / "networks_of_workers.py").write_text(NETWORK)
    return found


@pytest.fixture(scope="module", autouse=True)
def _importable(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield


@pytest.fixture(scope="module")
def made(folder: Path) -> Callable[..., Recipe]:
    """Returns the recipe: a student with batch normalisation, taught from the cache by a saved teacher."""

    def build(*overrides: str) -> Recipe:
        teacher = folder / "teacher.keras"
        if not teacher.exists():
            import keras

            from edgekd import architectures

            keras.utils.set_random_seed(1)
            arguments = {"width": 8}
            model = architectures.create(
                "networks_of_workers:small", input_shape=(8, 8, 1), num_classes=3, seed=1, arguments=arguments
            )
            architectures.save_model(model, teacher)
        document = {
            "name": "workers",
            "seed": 3,
            "data": {
                "dataset": "synthetic",
                "samples": 240,
                "classes": 3,
                "shape": [8, 8, 1],
                "batch_size": 32,
                "augment": {"shift": 1},
            },
            "teacher": {"model": str(teacher)},
            "student": {"architecture": "networks_of_workers:small", "epochs": EPOCHS, "learning_rate": 0.01},
            "distill": {
                "losses": [{"loss": "soft_logits", "weight": 0.9}],
                "cache": {"folder": str(folder / "cache"), "views": 2},
            },
            "export": [],
        }
        return recipe.from_document(document, overrides=overrides)

    return build


class Watching(Progress):
    """Remembers what it is told, and does something at the first step of each of some epochs, once."""

    def __init__(self, acts: Mapping[int, Callable[[], None]] = MappingProxyType({})) -> None:
        self.epochs: list[int] = []
        self.restarts: list[str] = []
        self.filled: list[str] = []
        self._acts = dict(acts)

    def training_step(self, epoch: int, step: int, means: dict[str, float], images_per_second: float) -> None:  # noqa: ARG002
        if step == 1 and epoch in self._acts:
            self._acts.pop(epoch)()

    def training_epoch(self, row: EpochRecord) -> None:
        self.epochs.append(row.epoch)

    def item(self, done: int, total: int, what: str) -> None:  # noqa: ARG002
        self.filled.append(what)

    def workers_restarted(self, reason: str) -> None:
        self.restarts.append(reason)


def trained(chosen: Recipe, out: Path, **options: Any) -> None:
    run(chosen, out=out, until=(STUDENT_DISTILLED,), **options)


def weights_in(out: Path) -> list[np.ndarray]:
    from edgekd import architectures

    model = architectures.load_model(out / STUDENT_DISTILLED / MODEL_FILE)
    return [variable.numpy() for variable in model.variables]


def curve_in(out: Path) -> list[dict[str, Any]]:
    """Returns the rows of the training's curve, without what depends on the clock."""
    curve = TrainingResult.read(out / STUDENT_DISTILLED / RECORD_FILE).curve
    return [row.model_dump(exclude={"images_per_second"}) for row in curve]


def worker_processes() -> list[psutil.Process]:
    """Returns this process' workers, the chief first."""
    found = [each for each in psutil.Process().children() if "edgekd.pipeline.worker" in each.cmdline()]
    return sorted(found, key=lambda each: each.pid)


def state_after(epoch: int, out: Path) -> dict[str, np.ndarray]:
    """Returns weights, the optimizer's state and the best weights as the chief of two workers saved them."""
    with np.load(out / f"after_epoch_{epoch}.npz") as found:
        return {name: found[name] for name in found if name != "about"}


@pytest.fixture(scope="module")
def shared(folder: Path, made: Callable[..., Recipe]) -> Path:
    """The folder of an undisturbed run with two workers."""
    out = folder / "shared"
    watching = Watching()
    trained(made(), out, worker_processes=2, progress=watching)
    assert watching.epochs == list(range(1, EPOCHS + 1))
    assert not watching.restarts
    # Where the other worker was first with all of it, the chief has nothing to fill and tells nothing.
    assert all(what.startswith("teacher's outputs of ") for what in watching.filled)
    return out


@dataclasses.dataclass(frozen=True)
class Disturbed:
    """A run of two workers, the second of which was killed in epoch 3, and which SIGTERM stopped from epoch 6 on."""

    folder: Path
    epochs: list[int]
    restarts: list[str]
    stopped: StoppedError
    left: list[psutil.Process]


@pytest.fixture(scope="module")
def disturbed(folder: Path, made: Callable[..., Recipe]) -> Disturbed:
    """Tests that change its folder copy it."""

    def kill_the_second() -> None:
        worker_processes()[1].kill()

    watching = Watching({3: kill_the_second, 6: lambda: os.kill(os.getpid(), signal.SIGTERM)})
    stop = StopRequest()
    with pytest.raises(StoppedError) as stopped, stop.handling_signals():
        trained(made(), folder / "disturbed", worker_processes=2, progress=watching, stop=stop)
    return Disturbed(folder / "disturbed", watching.epochs, watching.restarts, stopped.value, worker_processes())


def test_how_far_the_chief_has_filled_the_cache_reaches_who_started_it() -> None:
    sent: list[dict[str, Any]] = []
    worker._Telling(sent.append).item(3, 8, "teacher's outputs of 240 samples")
    watching = Watching()
    workers._tell(watching, json.loads(json.dumps(sent.pop())))
    assert watching.filled == ["teacher's outputs of 240 samples"]


@pytest.mark.slow
def test_two_worker_processes_reproduce_one(folder: Path, shared: Path, made: Callable[..., Recipe]) -> None:
    alone = folder / "alone"
    trained(made(), alone)
    for ours, expected in zip(weights_in(shared), weights_in(alone), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
    found, expected = (TrainingResult.read(out / STUDENT_DISTILLED / RECORD_FILE) for out in (shared, alone))
    assert [row.loss for row in found.curve] == pytest.approx([row.loss for row in expected.curve], rel=TOLERANCE)
    assert (shared / STUDENT_DISTILLED / "curve.csv").is_file()
    assert {path.name for path in (shared / STUDENT_DISTILLED).glob("*.log")} == {"worker_0.log", "worker_1.log"}
    # A number of workers is no other recipe: nothing is to be done again.
    assert run(made(), out=shared, until=(STUDENT_DISTILLED,)).worked == ()


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_every_epoch_ends_with_the_bits_of_an_undisturbed_group(
    disturbed: Disturbed, shared: Path
) -> None:
    (restart,) = disturbed.restarts
    assert "worker 1 of 0..1 was killed by SIGKILL" in restart
    assert len(disturbed.epochs) >= 5
    for epoch in disturbed.epochs:
        found, expected = state_after(epoch, disturbed.folder), state_after(epoch, shared)
        assert found.keys() == expected.keys()
        assert {name.partition("/")[0] for name in expected} == {"model", "optimizer", "best"}
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=f"{name} after epoch {epoch}")


@pytest.mark.slow
def test_a_signal_stops_the_group_after_a_checkpoint(disturbed: Disturbed) -> None:
    assert disturbed.stopped.exit_code == 143
    assert re.search(r"stopped by SIGTERM (in|after) epoch .*the state is saved", str(disturbed.stopped))
    assert disturbed.epochs[-1] < EPOCHS
    assert disturbed.left == []


@pytest.mark.slow
def test_one_process_goes_on_with_what_a_group_began(
    tmp_path: Path, disturbed: Disturbed, shared: Path, made: Callable[..., Recipe]
) -> None:
    out = Path(shutil.copytree(disturbed.folder, tmp_path / "run"))
    going_on = Watching()
    trained(made(), out, progress=going_on)
    assert going_on.epochs == list(range(disturbed.epochs[-1] + 1, EPOCHS + 1))
    assert curve_in(out)[: len(disturbed.epochs)] == curve_in(shared)[: len(disturbed.epochs)]
    # One process sums in another order.
    for ours, theirs in zip(weights_in(out), weights_in(shared), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * np.abs(theirs).max())


@pytest.mark.slow
def test_an_error_in_the_workers_is_raised_as_what_it_is(tmp_path: Path, made: Callable[..., Recipe]) -> None:
    with pytest.raises(NonFiniteError, match="not finite at epoch 1"):
        trained(made("student.learning_rate=1e30"), tmp_path / "run", worker_processes=2)
    assert worker_processes() == []


def test_workers_that_die_again_and_again_are_given_up(
    tmp_path: Path, made: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MODULE", "no_such_module")
    watching = Watching()
    with pytest.raises(WorkerError, match=r"ended with status 1, after 3 new starts.*worker_\d.log"):
        trained(made(), tmp_path / "run", worker_processes=2, progress=watching)
    assert len(watching.restarts) == 3
    assert "no_such_module" in (tmp_path / "run" / STUDENT_DISTILLED / "worker_0.log").read_text()


def test_a_workers_port_is_kept_for_it_until_it_listens() -> None:
    """Starting takes seconds, and another process that asks for any free port must not get this one meanwhile."""
    with workers._reserved_port() as reservation:
        address = reservation.getsockname()
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(address)
        with socket.socket() as worker:  # as TensorFlow does with TF_GRPC_REUSE_PORT
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(address)
            worker.listen()
            with socket.create_connection(address, timeout=60) as caller, worker.accept()[0] as called:
                caller.sendall(b"reached")
                assert called.recv(7) == b"reached"


FORKING = """
import os, sys, time
from pathlib import Path

here = Path(__file__).parent
sys.stdin.readline()
if os.fork() == 0:  # keeps the worker's standard output open
    (here / f"child_{os.getpid()}").touch()
    time.sleep(500)  # longer than the end of a worker takes to be noticed on the busiest machine
    (here / "outlived").touch()
    os._exit(0)
while not list(here.glob("child_*")):
    time.sleep(0.01)
print('{"warning": "last words"}', flush=True)
os._exit(3)
"""


def test_a_dead_worker_is_noticed_and_its_children_are_ended_though_they_hold_its_output_open(
    tmp_path: Path, made: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "forking_worker.py").write_text(FORKING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(workers, "_MODULE", "forking_worker")
    with pytest.raises(WorkerError, match=r"ended with status 3, after 3 new starts"):
        trained(made(), tmp_path / "run", worker_processes=2)
    children = [int(path.name.removeprefix("child_")) for path in tmp_path.glob("child_*")]
    assert children
    assert not (tmp_path / "outlived").exists()
    found = [psutil.Process(pid) for pid in children if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(found, timeout=30)  # a killed process may take a moment on a busy machine
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert "last words" in caplog.text


@pytest.mark.parametrize(
    ("override", "message"),
    [("data.batch_size=33", "batches of 33 samples.*2 workers"), ("student.xla=true", "xla: true with 2 workers")],
)
def test_what_cannot_be_shared_is_refused_before_anything_is_written(
    tmp_path: Path, made: Callable[..., Recipe], override: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        trained(made(override), tmp_path / "run", worker_processes=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("value", "message"), [("a:1,b:2", "workers are processes of this machine"), ("0", "not in the range"), ("x", "x")]
)
def test_workers_must_be_a_number_of_processes(edgekd_command: Callable[..., Any], value: str, message: str) -> None:
    result = edgekd_command("run", "quickstart", "--workers", value)
    assert result.status == 2
    assert message in result.err
