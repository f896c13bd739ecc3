"""Which layers of a classifier suffer from int8, measured; and the cheapest mixed file that loses little enough."""

import dataclasses
import math
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import bench, environment, storage
from edgekd.data import splitting
from edgekd.data.dataset import Dataset, Split
from edgekd.errors import RecipeError
from edgekd.pipeline.progress import Progress
from edgekd.records import (
    Artifact,
    Comparison,
    ExclusionTrial,
    LayerSensitivity,
    MixedFile,
    Rounding,
    Sensitivity,
)
from edgekd.runtime import open_runner
from edgekd.verify import comparison, metrics, sensitivity
from edgekd.verify.sensitivity import Effects

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras

    from edgekd.quantize import aware

RECORD_SUFFIX = "-sensitivity.json"
_NOTHING: frozenset[str] = frozenset()


def analyse(
    model: "keras.Model",
    data: Dataset,
    folder: Path,
    *,
    name: str,
    max_accuracy_drop: float = 0.005,
    images: int = 1000,
    exclude: Collection[str] = (),
    calibration: str = "min_max",
    samples: int = 512,
    seed: int = 0,
    processes: int = 5,
    progress: Progress | None = None,
    **settings: Any,
) -> Sensitivity:
    """Returns how sensitive each layer is, and keeps the cheapest file that fits the budget of accuracy.

    Writes NAME-sensitivity.json, NAME-float32.tflite and NAME-int8.tflite into the folder, and NAME-mixed.tflite where
    some layers must stay in float. What int8 does to a set of layers is measured on the fake-quantised network, which
    computes what the file will; files are measured as they are, in their runtime.

    Args:
      model: a built functional or sequential classifier in float, which gives logits.
      data: its training split calibrates, its validation split judges. The test split is read once, when the file is
        chosen, for the record: the images that chose it flatter it.
      folder: where the files go.
      name: what their names begin with.
      max_accuracy_drop: the accuracy of the float network minus that of a file may be at most this.
      images: how many validation images judge; all of them where there are fewer.
      exclude: names of layers that stay in float in any case.
      calibration: how ranges are found.
      samples: how many training samples show them.
      seed: chooses both kinds of images.
      processes: fresh processes that measure the latency of each file.
      progress: whom to tell.
      **settings: of the calibration.

    Raises:
      RecipeError: a budget, number, layer or setting that cannot be.
      ModelError: a network that is no classifier of this data, is quantised already, or has layers that integers cannot
        compute.
      DataError: unusable calibration samples.
      StorageError: the folder cannot be one, or cannot be written to.
    """
    from edgekd.architectures import weights_sha256
    from edgekd.data.calibration import calibratable, calibration_samples
    from edgekd.distill import fitting
    from edgekd.quantize import aware

    storage.check_folder(folder)  # what goes there is known only in the end
    sensitivity.check_budget(max_accuracy_drop)
    _require_positive(images=images, samples=samples, processes=processes)
    fitting.check(model, data, role="model")
    clock = _Clock()
    progress = progress or Progress()
    _, shown = calibration_samples(data.train, samples=min(samples, calibratable(data.train)), seed=seed)
    mixable = aware.Mixable(model, shown, exclude=exclude, calibration=calibration, seed=seed, **settings)
    judge = _Judge(model, mixable, _chosen(data.validation, images, seed=seed), f"{data.name} validation", progress)
    clock.lap("calibration")
    effects = judge.effects()
    clock.lap("layers")
    orders = sensitivity.order_by_sqnr(effects), sensitivity.order_by_accuracy(effects)
    weights = {unit.name: unit.weights for unit in mixable.units}
    with tempfile.TemporaryDirectory() as temporary:
        files = _Files(judge, Path(temporary), name=name)
        int8_drop = files.write(_NOTHING).drop

        def drop(in_float: frozenset[str]) -> float:
            # Whether anything must stay in float at all is for the file itself to say.
            return judge.rounding(in_float).accuracy_drop.value if in_float else int8_drop

        trials: list[ExclusionTrial] = []
        for order in orders:
            found = sensitivity.search(order, drop, max_accuracy_drop=max_accuracy_drop, weights=weights)
            known = {frozenset(trial.units) for trial in trials}
            trials += [trial for trial in found if frozenset(trial.units) not in known]
            for units in sensitivity.candidates(found, weights=weights):
                if files.write(frozenset(units)).drop <= max_accuracy_drop:
                    break
        clock.lap("search")
        (folder / f"{name}{RECORD_SUFFIX}").unlink(missing_ok=True)  # it tells of the files of an earlier analysis
        written, kept = files.finish(folder, max_accuracy_drop=max_accuracy_drop, processes=processes, seed=seed)
        clock.lap("files")
    test = None if kept is None else _on_test(model, data, folder / kept.name)
    clock.lap("test")
    record = Sensitivity(
        model=model.name,
        weights_sha256=weights_sha256(model),
        dataset=data.name,
        data_fingerprint=data.fingerprint,
        images=len(judge.split),
        seed=seed,
        calibration=calibration,
        calibration_settings=settings,
        calibration_samples=len(shown),
        always_excluded=tuple(exclude),
        max_accuracy_drop=max_accuracy_drop,
        float_accuracy=judge.accuracy,
        int8=judge.rounding(_NOTHING),
        units=_units(mixable.units, effects, orders),
        trials=tuple(trials),
        files=written,
        kept=kept.name if kept else None,
        exclude=kept.exclude if kept else (),
        test=test,
        environment=environment.describe(),
        seconds=clock.seconds,
    )
    record.write(folder / f"{name}{RECORD_SUFFIX}")
    return record


def _on_test(model: "keras.Model", data: Dataset, path: Path) -> Comparison:
    """Returns how far the chosen file is from the float network on the test split: nothing is chosen by that."""
    from edgekd.distill.evaluate import Predictor

    logits = Predictor(model).logits(data.test)
    images, labels = data.test.read(np.arange(len(data.test)))
    with open_runner(path, check=False) as runner:
        names = (model.name, path.name)
        return comparison.compare(logits, runner, images, labels, names=names, dataset=f"{data.name} test")


class _Clock:
    """Seconds of each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part], self._last = now - self._last, now


class _Judge:
    """Compares networks in which some units are in float, and the others rounded, with the float network."""

    def __init__(
        self, model: "keras.Model", mixable: "aware.Mixable", split: Split, dataset: str, progress: Progress
    ) -> None:
        from edgekd.distill.evaluate import Predictor

        self.model, self.mixable, self.split, self.dataset, self.progress = model, mixable, split, dataset, progress
        self.logits = Predictor(model).logits(split)
        self.accuracy = metrics.accuracy(self.logits.argmax(-1), split.labels)
        self._names = frozenset(unit.name for unit in mixable.units)
        self._found: dict[frozenset[str], Rounding] = {}

    def effects(self) -> dict[str, Effects]:
        """Returns what rounding does around each unit, in the network's order."""
        found = {}
        for number, unit in enumerate(self.mixable.units):
            self.progress.item(number, len(self.mixable.units), unit.name)
            itself = frozenset({unit.name})
            found[unit.name] = Effects(alone=self.rounding(self._names - itself), others=self.rounding(itself))
        self.progress.item(len(found), len(found), "")
        return found

    def rounding(self, in_float: frozenset[str]) -> Rounding:
        """Returns what the network does with these units in float; each set is measured once."""
        if in_float not in self._found:
            logits = self.logits if in_float == self._names else self._logits(in_float)
            ratio = metrics.sqnr_db(self.logits, logits)
            reference, rounded, labels = self.logits.argmax(-1), logits.argmax(-1), self.split.labels
            self._found[in_float] = Rounding(
                sqnr_db=None if math.isinf(ratio) else ratio,
                accuracy=metrics.accuracy(rounded, labels),
                accuracy_drop=metrics.paired_drop_interval(reference, rounded, labels),
            )
        return self._found[in_float]

    def _logits(self, in_float: frozenset[str]) -> np.ndarray[Any, Any]:
        from edgekd.distill.evaluate import Predictor

        return Predictor(self.mixable.network(self.mixable.exclusions(in_float))).logits(self.split)

    def compared(self, path: Path) -> Comparison:
        """Returns how far a file is from the float network."""
        names = (self.model.name, path.name)
        with open_runner(path, check=False) as runner:
            return comparison.compare(
                self.logits, runner, np.asarray(self.split.images), self.split.labels, names=names, dataset=self.dataset
            )


@dataclasses.dataclass(frozen=True)
class _Written:
    """A file in the temporary folder."""

    artifact: Artifact
    exclude: tuple[str, ...]
    comparison: Comparison

    @property
    def drop(self) -> float:
        """Its accuracy drop."""
        assert self.comparison.accuracy_drop is not None  # noqa: S101 - the files are of classifiers
        return self.comparison.accuracy_drop.value


class _Files:
    """The float file, the one of full int8, and mixed ones: written to a folder, each once, and measured together."""

    def __init__(self, judge: _Judge, folder: Path, *, name: str) -> None:
        self._judge, self._folder, self._name = judge, folder, name
        self._float = self._written(judge.model, "float32", ())
        self._rounded: dict[frozenset[str], _Written] = {}

    def write(self, in_float: frozenset[str]) -> _Written:
        """Returns the file with these units in float."""
        if in_float not in self._rounded:
            exclude = self._judge.mixable.exclusions(in_float)
            label = f"mixed-{len(self._rounded)}" if in_float else "int8"
            self._rounded[in_float] = self._written(self._judge.mixable.network(exclude), label, exclude)
        return self._rounded[in_float]

    def _written(self, network: "keras.Model", label: str, exclude: tuple[str, ...]) -> _Written:
        from edgekd.export import export_model

        path = self._folder / f"{self._name}-{label}.tflite"
        options: dict[str, Any] = {"allow_float_operators": True} if exclude else {}
        artifact = export_model(
            network,
            path,
            format="tflite",
            scheme=label if label == "float32" else "int8",
            name=path.name,
            source=self._judge.model.name,
            shape=self._judge.split.images.shape[1:],
            **options,
        )
        return _Written(artifact, exclude, self._judge.compared(path))

    def finish(
        self, folder: Path, *, max_accuracy_drop: float, processes: int, seed: int
    ) -> tuple[tuple[MixedFile, ...], MixedFile | None]:
        """Measures the latencies of all files, and moves those that are kept to the user's folder.

        Kept are the float file, the one of full int8, and the cheapest mixed one where that is the cheapest that fits.

        Returns:
          The records of all files, and the one of the cheapest that fits.
        """
        measured = self._measured(max_accuracy_drop=max_accuracy_drop, processes=processes, seed=seed)
        chosen = sensitivity.cheapest(measured[1], measured[2:], less_than_bytes=measured[0].size_bytes)
        mixed = f"{self._name}-mixed.tflite"
        (folder / mixed).unlink(missing_ok=True)  # of an earlier analysis
        files = [self._moved(file, file.name, folder) for file in measured[:2]]
        kept = files[1] if chosen is measured[1] else None
        for file in measured[2:]:
            if file is chosen:
                kept = self._moved(file, mixed, folder)
            files.append(kept if file is chosen and kept else file)
        return tuple(files), kept

    def _measured(self, *, max_accuracy_drop: float, processes: int, seed: int) -> tuple[MixedFile, ...]:
        written = (self._float, *self._rounded.values())
        measurements = bench.measure(
            [each.artifact for each in written],
            raw_folder=self._folder / "samples",
            processes=processes,
            seed=seed,
            on_progress=self._judge.progress.item,
        )
        return tuple(
            MixedFile(
                name=each.artifact.name,
                scheme=each.artifact.scheme,
                exclude=each.exclude,
                path=None,
                size_bytes=each.artifact.size_bytes,
                sha256=each.artifact.sha256,
                comparison=each.comparison,
                measurement=measurement.model_copy(update={"samples_path": None}),
                fits=each.drop <= max_accuracy_drop,
            )
            for each, measurement in zip(written, measurements, strict=True)
        )

    def _moved(self, file: MixedFile, name: str, folder: Path) -> MixedFile:
        path = folder / name
        storage.write_bytes(path, (self._folder / file.name).read_bytes())
        renamed = {
            "name": name,
            "path": str(path),
            "comparison": file.comparison.model_copy(update={"candidate": name}),
            "measurement": file.measurement.model_copy(update={"artifact": name}),
        }
        return file.model_copy(update=renamed)


def _units(
    units: Sequence["aware.Unit"], effects: Mapping[str, Effects], orders: tuple[tuple[str, ...], tuple[str, ...]]
) -> tuple[LayerSensitivity, ...]:
    by_sqnr, by_accuracy = orders
    return tuple(
        LayerSensitivity(
            name=unit.name,
            layers=unit.layers,
            exclude=unit.exclude,
            weights=unit.weights,
            alone=effects[unit.name].alone,
            others=effects[unit.name].others,
            sqnr_rank=by_sqnr.index(unit.name) + 1,
            accuracy_rank=by_accuracy.index(unit.name) + 1,
        )
        for unit in units
    )


def _chosen(split: Split, images: int, *, seed: int) -> Split:
    """Returns some of a split's samples, or all where it has fewer, in the proportions of its classes."""
    count = min(images, len(split))
    return Split(*split.read(splitting.stratified_sample(split.labels, count, seed=seed, stream="sensitivity")))


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise RecipeError(f"{name} is {number!r}: expected a whole number of at least 1.")
