"""What differences a machine can show: a model is measured against copies of itself."""

import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import bench, external_data
from edgekd.bench import comparing, stats
from edgekd.bench.rounds import OnProgress
from edgekd.bench.samples import RawSamples
from edgekd.errors import RecipeError
from edgekd.records import LatencySelfTest, LatencyVerdict

COPIES = 4
DIFFERENCES = (0.01, 0.02, 0.05, 0.10)
MOST_ROUNDS = 1000  # more than anyone waits for


def write_model(path: Path) -> None:
    """Writes a small .onnx network for a self-test without a model: four convolutions, about a millisecond a run."""
    import onnx

    generator = np.random.default_rng(0)
    kernels = [generator.normal(0, 0.05, (32, 32, 3, 3)).astype(np.float32) for _ in range(4)]
    nodes = [
        onnx.helper.make_node("Conv", [f"x{index}", f"kernel{index}"], [f"x{index + 1}"], pads=[1, 1, 1, 1])
        for index in range(len(kernels))
    ]
    value, kind, shape = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT, (1, 32, 32, 32)
    graph = onnx.helper.make_graph(
        nodes,
        "self_test",
        [value("x0", kind, shape)],
        [value(f"x{len(kernels)}", kind, shape)],
        [onnx.numpy_helper.from_array(kernel, f"kernel{index}") for index, kernel in enumerate(kernels)],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


def run(
    model: Path,
    *,
    copies: int = COPIES,
    floor: float = comparing.FLOOR,
    on_progress: OnProgress | None = None,
    on_broken_off: Callable[[BaseException], None] | None = None,
    **settings: Any,
) -> LatencySelfTest:
    """Measures copies of a model together and returns what that says of the machine.

    Args:
      model: a .tflite or .onnx file.
      copies: how many, at least two; each pair of them is an A/A comparison.
      floor: the smallest difference that matters, as a share.
      on_progress: called with (steps done, steps in all, what was done).
      on_broken_off: as for `bench.measure`.
      settings: as for `bench.measure`.

    Raises:
      RecipeError: fewer than two copies, or an unknown setting.
      ModelError: the model cannot be measured.
    """
    if copies < 2:
        raise RecipeError(f"copies is {copies}: a comparison needs at least two.")
    with tempfile.TemporaryDirectory(prefix="edgekd-self-test-") as temporary:
        folder = Path(temporary)
        paths = [folder / f"copy_{index + 1}{model.suffix}" for index in range(copies)]
        for path in paths:
            shutil.copyfile(model, path)
        for path in external_data.beside(model):  # which all copies share, as they share a name for it
            copy = folder / path.relative_to(model.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        measured = bench.measure(
            paths, raw_folder=folder / "samples", on_progress=on_progress, on_broken_off=on_broken_off, **settings
        )
        raw = [RawSamples.read(folder / str(each.samples_path)) for each in measured]
    return judge(raw, model=model.name, runtime=measured[0].runtime, floor=floor)


def judge(raw: Sequence[RawSamples], *, model: str, runtime: str, floor: float = comparing.FLOOR) -> LatencySelfTest:
    """Returns what the rounds of a model's copies say.

    The spread of ratios is √2 times the standard deviation of log medians among the copies of one round, averaged over
    rounds as variances; it is what a comparison has to see through. The spread of processes is that of one copy from
    round to round.

    Args:
      raw: one entry per copy, of the same rounds.
      model: the file's name.
      runtime: that ran them.
      floor: the smallest difference that matters, as a share.
    """
    logs = np.log([stats.process_medians_ms(each.processes) for each in raw])  # [copies, rounds]
    ratios = math.sqrt(2 * float(logs.var(axis=0, ddof=1).mean()))
    rounds = logs.shape[1]
    verdicts: list[LatencyVerdict] = [
        each.verdict
        for each in comparing.judge(
            [other - logs[0] for other in logs[1:]],
            [stats.rounding(each.processes, raw[0].processes) for each in raw[1:]],
            floor=floor,
        )
    ]
    enough = rounds >= stats.MIN_PROCESSES
    return LatencySelfTest(
        model=model,
        target=raw[0].target,
        runtime=runtime,
        num_threads=raw[0].num_threads,
        copies=len(raw),
        rounds=rounds,
        p50_ms=float(np.median(np.exp(logs))),
        spread_of_processes=float(np.sqrt(logs.var(axis=1, ddof=1).mean())) if rounds > 1 else None,
        spread_of_ratios=ratios,
        floor=floor,
        verdicts=tuple(verdicts),
        detectable=comparing.detectable(ratios, rounds, floor=floor) if enough else None,
        rounds_needed={f"{share:.0%}": _rounds_needed(share, ratios, floor) for share in DIFFERENCES},
    )


def _rounds_needed(share: float, spread: float, floor: float) -> int | None:
    """Returns the fewest rounds after which a difference is found four times in five, or None where too many."""
    enough = (
        rounds
        for rounds in range(stats.MIN_PROCESSES, MOST_ROUNDS + 1)
        if comparing.detectable(spread, rounds, floor=floor) <= share
    )
    return next(enough, None)
