"""Compares the schemes and ways of quantising students of Fashion-MNIST, over several seeds, with intervals.

    python tools/compare_quantisation.py --data-dir TFDS_FOLDER          the page, under runs/quantisation
    python tools/compare_quantisation.py --architectures resnet --seeds 0 --epochs 1 --aware-epochs 1 \
        --train-limit 512 --out runs/quantisation-tiny

Each seed trains one student on labels and one taught by a teacher; the taught one is quantised in every way, and every
file reads the test split once. Then the files of the first seed are measured together, and beside them what other tools
make of the same float network and the same calibration images. A sweep that was stopped goes on with the same command;
a folder with files of other students is refused.
About an hour for each architecture and three seeds on two quiet cores.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import other_quantisers
import shipped_records
from method_table import mean_interval
from quantisation_table import LABELS, REFERENCE, TAUGHT, Family, Results, Row, Tool, page

from edgekd import bench, environment, pipeline, recipe, runtime, storage
from edgekd.data.calibration import calibratable, calibration_samples
from edgekd.data.dataset import Dataset
from edgekd.errors import EdgekdError, StorageError
from edgekd.pipeline.stage import STUDENT_DISTILLED, STUDENT_LABELS, STUDENT_QUANTIZED
from edgekd.recipe import Recipe
from edgekd.records import Interval, Latency
from edgekd.runtime.native_output import import_quietly
from edgekd.verify import metrics

if TYPE_CHECKING:  # importing it would import TensorFlow
    import keras

TEACHER = Path("models/fashion_mnist/teacher.keras")
STUDENTS: dict[str, dict[str, Any]] = {
    "resnet": {"architecture": "resnet", "width": 8, "epochs": 8},
    "mobilenet_v1": {"architecture": "mobilenet_v1", "alpha": 0.25, "stem_stride": 1, "epochs": 5},
}
CALIBRATION_SAMPLES = 512
STUDENTS_FILE = "students.json"  # what made those that the files of a seed are of


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to make a file of a student.

    Attributes:
      name: its file's.
      title: for people.
      network: `labels`, `distilled`, or what is made of the distilled one: `calibrated`, `aware_labels`,
        `aware_taught`; `labels_calibrated` is made of the student trained on labels.
      scheme: of the file.
    """

    name: str
    title: str
    network: str
    scheme: str


WAYS = (
    Way(LABELS, "float32, trained on labels", "labels", "float32"),
    Way("labels_int8", "int8 of that, calibrated", "labels_calibrated", "int8"),
    Way(REFERENCE, "float32, taught", "distilled", "float32"),
    Way("float16", "float16", "distilled", "float16"),
    Way("dynamic_int8", "dynamic_int8", "distilled", "dynamic_int8"),
    Way("int8", "int8, calibrated", "calibrated", "int8"),
    Way("int8_aware_labels", "int8, QAT on labels", "aware_labels", "int8"),
    Way(TAUGHT, "int8, QAT taught", "aware_taught", "int8"),
    Way("int16x8", "int16x8", "distilled", "int16x8"),
    Way("weight_only_int4", "weight_only_int4", "distilled", "weight_only_int4"),
    Way("dynamic_int4", "dynamic_int4", "distilled", "dynamic_int4"),
)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Makes what is missing, one file after the other, in one process."""

    options: argparse.Namespace

    @functools.cached_property
    def data(self) -> Dataset:
        """The dataset."""
        return pipeline.load_data(recipe.section(recipe.Data, self._data_section()))

    def _data_section(self) -> dict[str, Any]:
        options = self.options
        section: dict[str, Any] = {"dataset": options.dataset, "batch_size": 128, "augment": {"shift": 2, "flip": True}}
        if options.data_dir is not None:
            section["data_dir"] = str(options.data_dir)
        if options.train_limit is not None:
            section |= {f"{split}_limit": options.train_limit for split in ("train", "validation", "test")}
        return section

    def epochs(self, architecture: str) -> int:
        """Returns for how many epochs each float student of an architecture is trained."""
        return int(self.options.epochs or STUDENTS[architecture]["epochs"])

    def recipe(self, architecture: str, seed: int) -> Recipe:
        """Returns by what both students, and the int8 student that the teacher goes on teaching, are trained."""
        document = {
            "name": f"quantisation-{architecture}",
            "seed": seed,
            "data": self._data_section(),
            "teacher": {"model": str(self.options.teacher)},
            "student": {
                **STUDENTS[architecture],
                "epochs": self.epochs(architecture),
                "learning_rate": 0.1,
                "warmup_epochs": 0.5,
            },
            "distill": {
                "labels_weight": 1.0,
                "losses": [{"loss": "dist", "temperature": 4.0, "weight": 2.0}],
                "cache": {"folder": str(self.options.out / "cache"), "dtype": "float16"},
            },
            "quantize": {"scheme": "int8", "aware": {"epochs": self.options.aware_epochs, "learning_rate": 0.01}},
            "export": [{"format": "tflite", "scheme": "int8"}],
            "bench": {"targets": []},
        }
        return recipe.from_document(document, origin=architecture)

    def trained(self, architecture: str, seed: int) -> Path:
        """Returns the folder of a seed, after training what it lacks.

        Raises:
          StorageError: it holds files of students that other options made.
        """
        folder: Path = self.options.out / architecture / f"seed_{seed}"
        made_of, kept = self._made_of(architecture, seed), folder / "files" / STUDENTS_FILE
        if kept.is_file() and json.loads(kept.read_text(encoding="utf-8")) != made_of:
            raise StorageError(
                f"the files in {str(folder)!r} are of students that other options made: give another --out, or remove "
                "its folders files and networks."
            )
        from edgekd.distill.stopping import StopRequest

        stop = StopRequest()
        with stop.handling_signals():
            until = (STUDENT_QUANTIZED, STUDENT_LABELS)
            pipeline.run(self.recipe(architecture, seed), out=folder, until=until, stop=stop)
        if not kept.is_file():
            storage.write_text(kept, json.dumps(made_of, indent=2) + "\n")
        return folder

    def _made_of(self, architecture: str, seed: int) -> dict[str, str]:
        """Returns what decides the students of a seed; where teacher and cache lie makes no difference."""
        document = self.recipe(architecture, seed).model_dump(mode="json")
        del document["distill"]["cache"], document["teacher"]
        return {
            "recipe_sha256": hashlib.sha256(recipe.canonical_json(document).encode()).hexdigest(),
            "teacher_sha256": storage.sha256_file(storage.require_file(self.options.teacher, "teacher")),
            "data_fingerprint": self.data.fingerprint,
        }

    def calibration(self, seed: int) -> np.ndarray:
        """Returns [samples, height, width, channels] float32 training images: the same for every tool."""
        samples = min(CALIBRATION_SAMPLES, calibratable(self.data.train))
        return calibration_samples(self.data.train, samples=samples, seed=seed)[1]

    def file(self, way: Way, architecture: str, seed: int, folder: Path) -> Path:
        """Returns the file of one way, written where it is missing."""
        path = folder / "files" / f"{way.name}.tflite"
        if path.is_file():
            return path
        from edgekd import export, quantize

        network = self._network(way.network, architecture, seed, folder)
        needs = quantize.scheme(way.scheme).needs_calibration and not _is_rounded(way.network)
        export.export_model(
            network,
            path,
            format="tflite",
            scheme=way.scheme,
            name=path.name,
            source=way.network,
            calibration=self.calibration(seed) if needs else None,
        )
        return path

    def _network(self, name: str, architecture: str, seed: int, folder: Path) -> "keras.Model":
        from edgekd import architectures

        stages = {
            "labels": STUDENT_LABELS,
            "distilled": STUDENT_DISTILLED,
            "aware_taught": STUDENT_QUANTIZED,
        }
        if name in stages:
            return architectures.load_model(folder / stages[name] / "model.keras")
        kept = folder / "networks" / f"{name}.keras"
        if kept.is_file():
            return architectures.load_model(kept)
        source = "labels" if name == "labels_calibrated" else "distilled"
        network = self._rounded(self._network(source, architecture, seed, folder), architecture, seed, name)
        architectures.save_model(network, kept)
        return network

    def _rounded(self, student: "keras.Model", architecture: str, seed: int, name: str) -> "keras.Model":
        """Returns the int8 network that is calibrated, or trained on labels exactly as the taught one is trained."""
        from edgekd import api
        from edgekd.data.batches import steps_per_epoch
        from edgekd.pipeline.quantizing import transformed

        section = self.recipe(architecture, seed).quantize
        assert section is not None and section.aware is not None  # noqa: S101, PT018 - of the recipe above
        images = self.calibration(seed)
        if name != "aware_labels":
            return transformed(student, images, section.model_copy(update={"aware": None}), steps=0, seed=seed)
        steps = section.aware.epochs * steps_per_epoch(self.data.train, batch_size=128)
        network = transformed(student, images, section, steps=steps, seed=seed)
        training = section.aware.model_dump(mode="json", include=set(recipe.Training.model_fields))
        api.train_model(
            network,
            self.data,
            **training,
            batch_size=128,
            augment=self._data_section()["augment"],
            seed=seed,
        )
        return network

    def outputs(self, path: Path) -> np.ndarray:
        """Returns the file's logits on the test split, kept beside it."""
        kept = path.with_name(f"{path.name}.{storage.sha256_file(path)[:16]}.npy")
        if not kept.is_file():
            images, _ = self.data.test.read(np.arange(len(self.data.test)))
            with runtime.open_runner(path) as runner:
                found = runtime.predict(runner, images)
            with storage.atomic_path(kept) as temporary, temporary.open("wb") as file:
                np.save(file, found)
        return np.asarray(np.load(kept, allow_pickle=False))

    def predictions(self, architecture: str) -> dict[str, list[np.ndarray]]:
        """Returns the classes that each way's files predict, [test images] for each seed; makes what is missing."""
        folders = {seed: self.trained(architecture, seed) for seed in self.options.seeds}
        predicted: dict[str, list[np.ndarray]] = {}
        for way in WAYS:
            for seed, folder in folders.items():
                path = self.file(way, architecture, seed, folder)
                predicted.setdefault(way.name, []).append(self.outputs(path).argmax(axis=-1))
                _tell(f"{architecture}, seed {seed}, {way.title}: {self._accuracy(predicted[way.name][-1]):.2%}")
        return predicted

    def family(self, architecture: str) -> Family:
        """Returns all rows of an architecture."""
        predicted = self.predictions(architecture)
        seed = self.options.seeds[0]
        folder = self.trained(architecture, seed)
        ours = {way.name: self.file(way, architecture, seed, folder) for way in WAYS}
        others = self._others(folder, seed)
        latency, warnings = self._latency([*ours.values(), *others.values()], folder)
        compared = {
            "edgekd, calibrated (TFLite)": ours["int8"],
            "edgekd, QAT taught (TFLite)": ours[TAUGHT],
            **others,
        }
        gains = [
            self._accuracy(taught) - self._accuracy(labels)
            for taught, labels in zip(predicted[TAUGHT], predicted[LABELS], strict=True)
        ]
        return Family(
            architecture=architecture,
            seeds=tuple(self.options.seeds),
            command=_command(self.options, architecture),
            epochs=self.epochs(architecture),
            parameters=self._parameters(folder),
            rows=tuple(self._row(way, predicted, ours[way.name], latency) for way in WAYS),
            tools=tuple(self._tool(title, path, ours[REFERENCE], latency) for title, path in compared.items()),
            gain=mean_interval(gains),
            latency_warnings=warnings,
        )

    def _parameters(self, folder: Path) -> int:
        from edgekd import architectures

        return int(architectures.load_model(folder / STUDENT_DISTILLED / "model.keras").count_params())

    def _accuracy(self, predictions: np.ndarray) -> float:
        return metrics.accuracy(predictions, self.data.test.labels)

    def _row(self, way: Way, predicted: dict[str, list[np.ndarray]], path: Path, latency: dict[str, Latency]) -> Row:
        accuracies = [self._accuracy(each) for each in predicted[way.name]]
        drop = None
        if way.name != REFERENCE:
            drop = drop_interval(predicted[REFERENCE], predicted[way.name], self.data.test.labels)
        return Row(
            name=way.name,
            title=way.title,
            accuracies=tuple(accuracies),
            accuracy=mean_interval(accuracies),
            drop=drop,
            size_bytes=path.stat().st_size,
            latency_ms=latency.get(path.name),
        )

    def _others(self, folder: Path, seed: int) -> dict[str, Path]:
        """Returns the int8 files that other tools, and edgekd for ONNX, make of the taught float student."""
        from edgekd import architectures, export

        images, files = self.calibration(seed), folder / "files"
        student, calibrated = folder / STUDENT_DISTILLED / "model.keras", folder / "networks" / "calibrated.keras"

        def write(network: Path, scheme: str, path: Path) -> None:
            model = architectures.load_model(network)
            export.export_model(
                model, path, format="onnx", scheme=scheme, name=path.name, source=network.stem, calibration=None
            )

        def stock_converter(path: Path) -> None:
            other_quantisers.stock_converter(architectures.load_model(student), images, path)

        def ai_edge_quantizer(path: Path) -> None:
            other_quantisers.ai_edge_quantizer(files / f"{REFERENCE}.tflite", images, path)

        def onnxruntime(path: Path) -> None:
            other_quantisers.onnxruntime(files / f"{REFERENCE}.onnx", images, path)

        made: dict[str, tuple[str, Callable[[Path], None]]] = {
            "TFLite converter": ("stock_converter.tflite", stock_converter),
            "ai-edge-quantizer, static_wi8_ai8": ("ai_edge_quantizer.tflite", ai_edge_quantizer),
            "float32 (ONNX)": (f"{REFERENCE}.onnx", functools.partial(write, student, "float32")),
            "edgekd, calibrated (ONNX)": ("int8.onnx", functools.partial(write, calibrated, "int8")),
            "onnxruntime, quantize_static (ONNX)": ("onnxruntime.onnx", onnxruntime),
        }
        for name, make in made.values():
            if not (files / name).is_file():
                make(files / name)
        return {title: files / name for title, (name, _) in made.items()}

    def _tool(self, title: str, path: Path, reference: Path, latency: dict[str, Latency]) -> Tool:
        expected, received = self.outputs(reference), self.outputs(path)
        first, second = expected.argmax(axis=-1), received.argmax(axis=-1)
        return Tool(
            title=title,
            accuracy=self._accuracy(second),
            drop=metrics.paired_drop_interval(first, second, self.data.test.labels),
            agreement=metrics.agreement(first, second),
            sqnr_db=metrics.sqnr_db(expected, received),
            size_bytes=path.stat().st_size,
            latency_ms=latency[path.name],
        )

    def _latency(self, paths: Sequence[Path], folder: Path) -> tuple[dict[str, Latency], tuple[str, ...]]:
        """Returns every file's latency, of one run in which all take turns, and the warnings."""
        measured = bench.measure(
            paths, raw_folder=folder / "latency", processes=self.options.processes, on_progress=_progress
        )
        warnings = {f"{each.artifact}: {warning}" for each in measured for warning in each.warnings}
        return {Path(each.artifact).name: each.latency_ms for each in measured}, tuple(sorted(warnings))


def drop_interval(references: Sequence[np.ndarray], candidates: Sequence[np.ndarray], labels: np.ndarray) -> Interval:
    """Returns the references' accuracy less the candidates', paired by seed; of one seed paired by image.

    Args:
      references: [images] predicted classes for each seed.
      candidates: likewise.
      labels: [images], the same for all seeds.
    """
    pairs = list(zip(references, candidates, strict=True))
    drops = [metrics.accuracy(first, labels) - metrics.accuracy(second, labels) for first, second in pairs]
    return mean_interval(drops) or metrics.paired_drop_interval(*pairs[0], labels)


def _is_rounded(network: str) -> bool:
    return network not in {"labels", "distilled"}


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _progress(done: int, total: int, text: str) -> None:
    if sys.stderr.isatty():
        _tell(f"latency {done}/{total}: {text}")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares schemes and ways of quantising students of Fashion-MNIST.")
    parser.add_argument("--architectures", nargs="+", choices=sorted(STUDENTS), default=list(STUDENTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the students (default: 0 1 2)")
    parser.add_argument("--epochs", type=int, help="of both float students (default: each family's own)")
    parser.add_argument("--aware-epochs", type=int, default=2, help="of quantisation-aware training (default: 2)")
    parser.add_argument("--processes", type=int, default=10, help="that measure each file's latency (default: 10)")
    parser.add_argument("--dataset", default="tfds:fashion_mnist", help="as in a recipe")
    parser.add_argument("--data-dir", type=Path, help="the folder of TFDS (default: its own)")
    parser.add_argument("--train-limit", type=int, help="so many images of each split (default: all)")
    parser.add_argument("--teacher", type=Path, default=TEACHER, help=f"(default: {TEACHER})")
    parser.add_argument("--out", type=Path, default=Path("runs/quantisation"), help="folder of all runs")
    parser.add_argument("--prepare", action="store_true", help="all but the latencies: for a machine that is busy")
    parser.add_argument("--page", type=Path, help="where to write the page (default: page.md in --out)")
    parser.add_argument("--results", type=Path, help="where to write the numbers (default: results.json in --out)")
    keep = "keep the other architectures that --results holds: these may have other seeds"
    parser.add_argument("--keep", action="store_true", help=keep)
    options = parser.parse_args(arguments)
    if min(options.seeds) < 0 or len(set(options.seeds)) < len(options.seeds):
        parser.error(f"--seeds {' '.join(map(str, options.seeds))}: give different numbers of at least 0")
    return options


def _command(options: argparse.Namespace, architecture: str) -> str:
    words = ["python tools/compare_quantisation.py"]
    words += [f"--architectures {architecture}", f"--seeds {' '.join(map(str, options.seeds))}"]
    words += [f"--aware-epochs {options.aware_epochs} --processes {options.processes}"]
    if options.epochs is not None:
        words.append(f"--epochs {options.epochs}")
    if options.keep:
        words.append("--keep")
    return " ".join(words)


def _results_file(options: argparse.Namespace) -> Path:
    return Path(options.results or options.out / "results.json")


def _kept(options: argparse.Namespace) -> tuple[Family, ...]:
    """Returns the families of an earlier run, read before anything is measured."""
    return Results.read(_results_file(options)).families if options.keep else ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes what is missing, writes page and numbers, and prints the page."""
    options = _options(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    try:
        import_quietly("keras")
        from edgekd import architectures
        from edgekd.distill.evaluate import Predictor

        sweep = Sweep(options)
        if options.prepare:
            for architecture in options.architectures:
                sweep.predictions(architecture)
            return 0
        kept = _kept(options)
        families = tuple(sweep.family(architecture) for architecture in options.architectures)
        _, teacher = Predictor(architectures.load_model(options.teacher)).loss_and_accuracy(sweep.data.test)
        results = Results(
            aware_epochs=options.aware_epochs,
            teacher_accuracy=teacher,
            samples={name: len(split) for name, split in sweep.data.splits.items()},
            families=(*(each for each in kept if each.architecture not in options.architectures), *families),
            environment=shipped_records.told(environment.describe()),
        )
        results.write(_results_file(options))
        written = page(results)
        storage.write_text(options.page or options.out / "page.md", written)
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
