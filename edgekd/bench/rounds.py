"""The order in which models are measured: rounds of fresh processes, with the models' blocks shuffled.

A disturbance of the machine then meets all models alike, and a round is the unit of every comparison.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgekd.bench.connection import Connection
from edgekd.bench.plan import Plan
from edgekd.bench.samples import Process
from edgekd.errors import RecipeError

Round = tuple[Process, ...]
"""What one fresh process of each model measured, in the order of the models."""

OnProgress = Callable[[int, int, str], None]
_Thing = TypeVar("_Thing")


class StoppedWithinRound(KeyboardInterrupt):
    """Someone stopped a sustained measurement: `measured` is what there is, of all models or of the first ones."""

    def __init__(self, measured: Round) -> None:
        super().__init__()
        self.measured = measured


def run(
    paths: Sequence[Path],
    plan: Plan,
    start: Callable[[Path], AbstractContextManager[Connection]],
    *,
    on_progress: OnProgress | None = None,
) -> Generator[Round, None, None]:
    """Yields one round after the other.

    A round starts one process per model, warms each up, then runs their blocks in an order that is shuffled anew for
    every block; only one process works at any time. Its processes have ended when it is yielded. A sustained plan has
    one round, in which each model runs alone for its minutes; after a KeyboardInterrupt its worker is still asked for
    the blocks that there are.

    Args:
      paths: the models.
      plan: how to measure them.
      start: opens a worker that has loaded its model and run it once, and ends it however the block is left.
      on_progress: called with (steps done, steps in all, what was done); a step is a warm-up or a block.

    Raises:
      RecipeError: no model, or one twice.
      ModelError: a model cannot be measured; the message has the runtime's own words.
      StoppedWithinRound: a KeyboardInterrupt came after the first block of a sustained plan.
    """
    check(paths)
    if plan.minutes is not None:
        yield _sustained_round(paths, plan.minutes, start, on_progress)
        return
    generator = np.random.default_rng(plan.seed)
    steps, total = itertools.count(1), plan.processes * len(paths) * (1 + plan.blocks)

    def report(path: Path, what: str) -> None:
        if on_progress is not None:
            on_progress(next(steps), total, f"{what} {path.name}")

    for _ in range(plan.processes):
        with contextlib.ExitStack() as alive:
            workers = {}
            for path in shuffled(paths, generator):
                workers[path] = alive.enter_context(start(path))
                workers[path].ask("warm-up")
                report(path, "warmed up")
            for _ in range(plan.blocks):
                for path in shuffled(paths, generator):
                    workers[path].ask("block")
                    report(path, "measured")
            measured = tuple(workers[path].finish() for path in paths)
        yield measured


def check(paths: Sequence[Path]) -> None:
    """Raises RecipeError unless there is a model, and none twice."""
    if not paths or len(set(paths)) < len(paths):
        raise RecipeError(
            f"received {len(paths)} models, {len(set(paths))} of them different: name at least one, once."
        )


def _sustained_round(
    paths: Sequence[Path],
    minutes: float,
    start: Callable[[Path], AbstractContextManager[Connection]],
    on_progress: OnProgress | None,
) -> Round:
    seconds = 60 * minutes
    measured: list[Process] = []
    try:
        for index, path in enumerate(paths):
            with start(path) as worker:
                worker.ask("warm-up")
                begin_ns: int | None = None
                elapsed = 0.0  # by the worker's own clock: what it takes to ask for a block is not part of it
                try:
                    while elapsed < seconds:
                        block = worker.ask("block")
                        begin_ns = block["begin_ns"] if begin_ns is None else begin_ns
                        elapsed = (block["end_ns"] - begin_ns) / 1e9
                        if on_progress is not None:
                            done = index * seconds + min(elapsed, seconds)
                            on_progress(int(done), round(len(paths) * seconds), f"measured {path.name}")
                except KeyboardInterrupt:
                    if begin_ns is not None:
                        measured.append(worker.finish())
                    raise
                measured.append(worker.finish())
    except KeyboardInterrupt as stop:
        if not measured:
            raise
        raise StoppedWithinRound(tuple(measured)) from stop
    return tuple(measured)


def shuffled(things: Sequence[_Thing], generator: np.random.Generator) -> list[_Thing]:
    """Returns things in random order."""
    return [things[index] for index in generator.permutation(len(things))]
