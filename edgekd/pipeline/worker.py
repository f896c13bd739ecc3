"""One of the processes that do a training stage together: `python -m edgekd.pipeline.worker`, started by `workers`."""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import errors, recipe
from edgekd.errors import DataError, EdgekdError, RecipeError
from edgekd.pipeline.execution import load_data, stages
from edgekd.pipeline.progress import Progress
from edgekd.pipeline.stage import Work
from edgekd.records import EpochRecord

if TYPE_CHECKING:  # importing it takes seconds, and what is printed meanwhile belongs into the log
    import tensorflow as tf

Send = Callable[[dict[str, Any]], None]


class _Telling(Progress):
    """Passes on what the chief's training tells."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def training_started(self, epochs: int, steps_per_epoch: int, *, done_epochs: int, done_steps: int) -> None:
        self._send({"started": [epochs, steps_per_epoch, done_epochs, done_steps]})

    def training_step(self, epoch: int, step: int, means: dict[str, float], images_per_second: float) -> None:
        self._send({"step": [epoch, step, means, images_per_second]})

    def training_epoch(self, row: EpochRecord) -> None:
        self._send({"epoch": row.model_dump(mode="json")})

    def item(self, done: int, total: int, what: str) -> None:
        self._send({"item": [done, total, what]})


class _Warning(logging.Handler):
    """Passes the chief's warnings on, besides the log."""

    def __init__(self, send: Send) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send({"warning": record.getMessage()})


def main() -> None:
    """Does the job that standard input brings, and sends what comes of it to standard output."""
    send = _sender()
    job = json.loads(sys.stdin.readline())
    watching = threading.Thread(target=_end_with_parent, daemon=True)
    watching.start()
    if job["debug"]:
        logging.getLogger("edgekd").setLevel(logging.DEBUG)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        send({"files": _work(job, send)})
    except EdgekdError as error:
        traceback.print_exc()  # for the log
        named = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        send({"error": named.__name__, "message": str(error)})
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # TensorFlow's own way out may wait for a worker that has died
    watching.join()  # an end of its own accord is a failure


def _work(job: dict[str, Any], send: Send) -> list[str]:
    from edgekd.distill.distribution import worker_of
    from edgekd.distill.stopping import StopRequest

    strategy = _strategy()
    index, _ = worker_of(strategy)
    if index == 0:
        logging.getLogger("edgekd").addHandler(_Warning(send))
    run = Path(job["run"])
    chosen = recipe.load(str(run / recipe.RECIPE_FILE))
    stop = StopRequest()
    with stop.handling_signals():
        data = load_data(chosen.data, task=chosen.task)
        if data.fingerprint != job["fingerprint"]:
            raise DataError(
                f"worker {index} finds other data than the process that started it (fingerprints "
                f"{data.fingerprint} and {job['fingerprint']}): leave the data alone while they are trained on."
            )
        (stage,) = (stage for stage in stages(chosen) if stage.name == job["stage"])
        work = Work(
            recipe=chosen,
            data=data,
            key=job["key"],
            run=run,
            folder=run / stage.name,
            progress=_Telling(send) if index == 0 else Progress(),
            stop=stop if index == 0 else None,
            strategy=strategy,
        )
        return [path.relative_to(work.folder).as_posix() for path in stage.work(work)]


def _strategy() -> "tf.distribute.MultiWorkerMirroredStrategy":
    """Returns the strategy of TF_CONFIG's cluster; before anything else is done with TensorFlow.

    Raises:
      RecipeError: this machine has graphics processors, but not one for each worker.
    """
    import tensorflow as tf

    task = json.loads(os.environ["TF_CONFIG"])
    index, workers = task["task"]["index"], len(task["cluster"]["worker"])
    devices = tf.config.list_physical_devices("GPU")
    if devices and len(devices) < workers:
        raise RecipeError(
            f"{workers} workers need a graphics processor each, and this machine has {len(devices)}: use fewer "
            "workers, or hide them with CUDA_VISIBLE_DEVICES=-1."
        )
    if devices:
        tf.config.set_visible_devices(devices[index], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(max(1, (os.cpu_count() or 1) // workers))
    return tf.distribute.MultiWorkerMirroredStrategy()


def _sender() -> Send:
    """Keeps standard output for messages; what libraries print goes to the log."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock:
            channel.write(json.dumps(message) + "\n")
            channel.flush()

    return send


def _end_with_parent() -> None:
    """Ends this process, and what it started, when the one that watches it is gone, however that ended."""
    sys.stdin.read()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
