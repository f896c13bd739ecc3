"""Measures exported models: latency percentiles, first inference, loading and memory, with the raw samples kept.

`measure` is all that other parts call. It needs no TensorFlow and no Keras: `worker` measures in fresh processes with
NumPy and one runtime, `targets` says where, `stats` turns samples into numbers and warnings.
"""

import dataclasses
import os
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from edgekd import registry, storage
from edgekd.bench import stats
from edgekd.bench.samples import ProcessSamples, RawSamples
from edgekd.bench.worker import ENGINES
from edgekd.errors import ModelError, RecipeError
from edgekd.records import Artifact, Measurement

TARGETS = "edgekd.bench.targets"


def supports(path: Path) -> bool:
    """Returns whether a file is of a format that can be measured; its content is not looked at."""
    return path.suffix.lower() in ENGINES


def measure(
    models: Sequence[Artifact | Path],
    *,
    root: Path = Path(),
    raw_folder: Path,
    target: str = "local",
    num_threads: Sequence[int] = (1,),
    seed: int = 0,
    on_progress: Callable[[int, int, str], None] | None = None,
    **settings: bool | int | float | str | None,
) -> tuple[Measurement, ...]:
    """Measures models on one target and returns one record per model and number of threads.

    The models of one number of threads are measured together, their blocks interleaved.

    Args:
      models: artifacts, whose paths are relative to `root` and whose bytes must still be those of their hash, or files.
      root: folder of the artifacts.
      raw_folder: folder for the raw samples, one JSON file per record; `samples_path` is relative to its parent.
      target: what to measure on, a plug-in of edgekd/bench/targets.
      num_threads: numbers of threads, each measured on its own.
      seed: of the inputs and of the order of the blocks.
      on_progress: called with (steps done, steps in all, what was done).
      settings: the target's own, such as `processes=5`, `blocks=4`, `min_runs=25`, `min_block_ms=50.0`.

    Raises:
      RecipeError: unknown target or setting, or a value of the wrong type or out of range.
      StorageError: a file is missing.
      ModelError: a model cannot be measured, or an artifact's file is not the one that was exported.
    """
    plugin = registry.describe(TARGETS, target, entry="measure")
    own = {
        name: value for name, value in plugin.parameters.items() if name not in {"num_threads", "seed", "on_progress"}
    }
    kind = f"setting of target {target!r}"
    registry.check_arguments(dataclasses.replace(plugin, parameters=own), settings, kind=kind)
    registry.check_types(plugin, settings, kind=kind)
    if not models or not num_threads or len(set(num_threads)) < len(num_threads):
        raise RecipeError(
            f"received {len(models)} models and num_threads={list(num_threads)}: give at least one of each, and each "
            "number of threads once."
        )
    names, paths = _named(models), [_path(model, root) for model in models]
    files = _file_names(names)
    hashes = [_checked_sha256(model, path) for model, path in zip(models, paths, strict=True)]
    module = registry.load(TARGETS, target)

    found = []
    for index, threads in enumerate(num_threads):
        samples: tuple[tuple[ProcessSamples, ...], ...] = module.measure(
            paths,
            num_threads=threads,
            seed=seed,
            on_progress=_shifted(on_progress, index, len(num_threads)),
            **settings,
        )
        for name, file, path, sha256, processes in zip(names, files, paths, hashes, samples, strict=True):
            raw = RawSamples(
                artifact=name,
                sha256=sha256,
                target=target,
                num_threads=threads,
                logical_cores=os.cpu_count() or 1,
                settings={**own, **settings, "seed": seed},
                processes=processes,
            )
            raw_path = raw_folder / f"{file}.{target}.{threads}-threads.json"
            storage.write_text(raw_path, raw.model_dump_json() + "\n")
            found.append(_measurement(raw, size_bytes=path.stat().st_size, raw_path=raw_path))
    return tuple(found)


def _measurement(raw: RawSamples, *, size_bytes: int, raw_path: Path) -> Measurement:
    processes = raw.processes
    first = processes[0]
    delegate = f" ({first.delegate})" if first.delegate else ""
    return Measurement(
        artifact=raw.artifact,
        target=raw.target,
        runtime=f"{first.runtime} {first.runtime_version}{delegate}",
        num_threads=raw.num_threads,
        latency_ms=stats.summarise(processes),
        first_inference_ms=statistics.median(process.cold.first_inference_ms for process in processes),
        load_ms=statistics.median(process.cold.ready_ms for process in processes),
        peak_memory_bytes=max(process.peak_memory_bytes for process in processes),
        size_bytes=size_bytes,
        sha256=raw.sha256,
        processes=len(processes),
        num_runs=sum(len(block.samples_ns) for process in processes for block in process.blocks),
        warmup_runs=sum(process.warmup_runs for process in processes),
        samples_path=raw_path.relative_to(raw_path.parent.parent).as_posix(),
        warnings=stats.warnings(processes, logical_cores=raw.logical_cores),
    )


def _path(model: Artifact | Path, root: Path) -> Path:
    path = root / model.path if isinstance(model, Artifact) else model
    storage.require_file(path, "model")
    if not supports(path):
        raise ModelError(f"{str(path)!r} cannot be measured: expected a file that ends in {' or '.join(ENGINES)}.")
    return path


def _named(models: Sequence[Artifact | Path]) -> list[str]:
    short = [model.name for model in models]
    names = [
        str(model) if isinstance(model, Path) and short.count(name) > 1 else name
        for model, name in zip(models, short, strict=True)
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError(f"models to measure are given more than once: {', '.join(twice)}. Give each once.")
    return names


def _checked_sha256(model: Artifact | Path, path: Path) -> str:
    sha256 = storage.sha256_file(path)
    if isinstance(model, Artifact) and sha256 != model.sha256:
        raise ModelError(
            f"{str(path)!r} is not the file that was exported as {model.name!r}: its SHA-256 is {sha256[:12]}..., "
            f"expected {model.sha256[:12]}.... Export it again."
        )
    return sha256


def _file_names(names: Sequence[str]) -> list[str]:
    """Returns a safe and distinct file name for each name."""
    safe = [re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "model" for name in names]
    return [file if safe.count(file) == 1 else f"{file}.{index}" for index, file in enumerate(safe)]


def _shifted(
    on_progress: Callable[[int, int, str], None] | None, index: int, parts: int
) -> Callable[[int, int, str], None] | None:
    """Returns a progress callback for one of several equal parts of the work."""
    if on_progress is None:
        return None
    return lambda done, total, text: on_progress(index * total + done, parts * total, text)
