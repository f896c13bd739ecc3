"""The bench stage: latency and memory of every exported file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgekd.pipeline.results import BenchResult, ExportResult
from edgekd.pipeline.stage import BENCH, EXPORT, RECORD_FILE, Stage, Work
from edgekd.recipe import Recipe
from edgekd.records import Artifact, Estimate, Measurement, Parity, Profile

SAMPLES_FOLDER = "samples"


def _settings(recipe: Recipe) -> Any:
    return {"seed": recipe.seed, "bench": recipe.bench.model_dump(mode="json")}


def _bench(work: Work) -> list[Path]:
    from edgekd import bench

    artifacts = ExportResult.read(work.run / EXPORT / RECORD_FILE).artifacts
    measurements: list[Measurement] = []
    estimates: list[Estimate] = []
    parities: list[Parity] = []
    for target in work.recipe.bench.targets if artifacts else ():
        if bench.is_estimate(target):
            taken, settings = _taken(target, artifacts, work)
            estimates += bench.estimate(taken, target=target, root=work.run, keep_refused=True, **settings)
            continue
        if bench.is_parity(target):
            taken, settings = _taken(target, artifacts, work)
            parities += bench.check_parity(taken, target=target, root=work.run, keep_refused=True, **settings)
            continue
        measurements += bench.measure(
            artifacts,
            root=work.run,
            target=target,
            num_threads=work.recipe.bench.threads,
            processes=work.recipe.bench.processes,
            seed=work.recipe.seed,
            raw_folder=work.folder / SAMPLES_FOLDER,
            on_progress=work.progress.item,
            **work.recipe.bench.settings_of(target),
        )
    raw = {work.folder / measurement.samples_path for measurement in measurements if measurement.samples_path}
    measurements = [_from_run(measurement, work) for measurement in measurements]
    profiles = _profiled(artifacts, work) if work.recipe.bench.profile else ()
    result = BenchResult(
        measurements=tuple(measurements), profiles=profiles, estimates=tuple(estimates), parities=tuple(parities)
    )
    result.write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE, *sorted(raw)]


def _taken(target: str, artifacts: Sequence[Artifact], work: Work) -> tuple[list[Artifact], dict[str, Any]]:
    """Returns the files that a target takes, and its settings."""
    from edgekd import bench

    taken = [artifact for artifact in artifacts if bench.takes(target, work.run / artifact.path)]
    return taken, work.recipe.bench.settings_of(target)


def _profiled(artifacts: Sequence[Artifact], work: Work) -> tuple[Profile, ...]:
    from edgekd.bench import profiling

    found = []
    for number, artifact in enumerate(artifacts):
        work.progress.item(number, len(artifacts), f"profiled {artifact.name}")
        profile = profiling.profile_model(
            work.run / artifact.path, processes=work.recipe.bench.processes, seed=work.recipe.seed
        )
        found.append(profile.model_copy(update={"model": artifact.name}))
    return tuple(found)


def _from_run(measurement: Measurement, work: Work) -> Measurement:
    """Returns the record with its path from the run's folder, as every path of a summary is."""
    if measurement.samples_path is None:
        return measurement
    path = (work.folder / measurement.samples_path).relative_to(work.run)
    return measurement.model_copy(update={"samples_path": path.as_posix()})


STAGE = Stage(BENCH, (EXPORT,), _settings, _bench)
