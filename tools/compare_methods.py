"""Compares the methods of a file, tools/methods.yaml by default, over several seeds, with intervals.

    python tools/compare_methods.py                       the table, under runs/methods
    python tools/compare_methods.py --results models/embedded/results/methods.json
        the record of docs/methods.md, which tools/write_results.py then writes
    python tools/compare_methods.py --methods soft_logits dkd --seeds 0 --epochs 1 --train-limit 512   in a minute
    python tools/compare_methods.py --methods-file tools/results.yaml --data-dir TFDS_FOLDER --out runs/results

Every method trains the same student for the same epochs on the same views. Teachers are trained once for each seed,
unless the file gives a trained one, and their outputs are kept on disk while the methods of that seed train. A sweep
that was stopped goes on with the same command; a finished one only writes its table again. About 45 minutes on two
quiet cores for all methods of tools/methods.yaml and three seeds, and up to 4 GB of disk while it runs;
tools/results.yaml takes hours.
"""

import argparse
import dataclasses
import gc
import json
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic
import ruamel.yaml
import shipped_records
from method_table import BASELINE, GivenTeacher, Table, Trained, page, row_of

from edgekd import pipeline, recipe, storage
from edgekd.data.dataset import Dataset
from edgekd.errors import EdgekdError, NonFiniteError, RecipeError, unknown_name
from edgekd.recipe import Distill, Recipe
from edgekd.records import Environment, ModelRecord, Record
from edgekd.runtime.native_output import import_quietly

if TYPE_CHECKING:  # importing it would import TensorFlow
    from edgekd.distill.stopping import StopRequest

ROOT = Path(__file__).resolve().parents[1]
METHODS_FILE = ROOT / "tools" / "methods.yaml"
TEACHERS = ("teacher", "teacher_2")
# Students have seeds 0, 1, 2, ...: teachers must not begin, and shuffle, as one of them does.
FIRST_TEACHER_SEED = 1000


class Method(Record):
    """One entry of the methods' file, which explains the keys."""

    name: str
    title: str
    note: str
    distill: dict[str, Any]
    teachers: int = pydantic.Field(default=1, ge=0, le=len(TEACHERS))
    stage: Literal["student_labels", "student_distilled"] = "student_distilled"
    continues: str | None = None
    counts: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """The name of the run that it belongs to."""
        return self.continues or self.name


class MethodsFile(Record):
    """What all runs share, and the methods in the order of the table."""

    common: dict[str, Any]
    methods: tuple[Method, ...]


class Tested(Record):
    """A network's accuracy on the test split, which is read once for each trained network."""

    weights_sha256: str
    accuracy: float


def read_methods(path: Path) -> MethodsFile:
    """Returns the checked methods' file: every method's recipe is one that edgekd accepts.

    Raises:
      RecipeError: an unknown or missing key, a name that is there twice, or a recipe that is not accepted.
    """
    text = storage.require_file(path, "methods file").read_text(encoding="utf-8")
    try:
        file = MethodsFile.model_validate(ruamel.yaml.YAML(typ="safe", pure=True).load(text))
    except ruamel.yaml.error.YAMLError as error:
        raise RecipeError(f"{str(path)!r} is not valid YAML: {error}") from error
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"{str(path)!r}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}.") from error
    names = [method.name for method in file.methods]
    if len(set(names)) < len(names):
        raise RecipeError(f"{str(path)!r} has methods of one name: {', '.join(names)}.")
    for method in file.methods:
        if method.run not in names:
            raise RecipeError(f"{method.name}: continues: {unknown_name('method', method.run, names)}")
        if given_teacher(file) is not None and method.teachers > 1:
            raise RecipeError(
                f"{method.name}: teachers: {method.teachers}, but the file gives one teacher, "
                f"{str(given_teacher(file))!r}."
            )
        method_recipe(file, method, seed=0, folder=Path())
    return file


def given_teacher(file: MethodsFile) -> Path | None:
    """Returns the file of the teacher that all methods have; None where teachers are trained for each seed."""
    model = file.common["teacher"].get("model")
    return None if model is None else Path(model)


def method_recipe(file: MethodsFile, method: Method, *, seed: int, folder: Path) -> Recipe:
    """Returns the recipe of a method with a seed.

    Args:
      file: has what is common.
      method: one of them.
      seed: of the student: its initial weights, order and views.
      folder: of the seed; trained teachers and the cache lie in it.
    """
    given = given_teacher(file)
    trained = [folder / "teachers" / name / "model.keras" for name in TEACHERS]
    paths = (trained if given is None else [given])[: method.teachers]
    distill = dict(method.distill)
    if paths:
        # One view for each epoch, as many as training on labels has: fewer would favour one side.
        distill["cache"] = {"folder": str(folder / "cache"), "dtype": "float16"}
    document = {
        "name": f"methods-{method.run}",
        "seed": seed,
        "data": file.common["data"],
        "teacher": [{"model": str(path)} for path in paths],
        "student": file.common["student"],
        "distill": distill,
        "export": [],
        "bench": {"targets": []},
    }
    return recipe.from_document(document, origin=f"method {method.name}")


def teachers_recipe(file: MethodsFile, *, seed: int) -> Recipe:
    """Returns the recipe by which the teachers of a seed are trained on labels."""
    document = {
        "name": "methods-teachers",
        "seed": FIRST_TEACHER_SEED + len(TEACHERS) * seed,  # the second one has the next seed
        "data": file.common["data"],
        "teacher": [file.common["teacher"]] * len(TEACHERS),
        "student": file.common["student"],
        "export": [],
        "bench": {"targets": []},
    }
    return recipe.from_document(document, origin="the teachers")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Trains what is missing, one network after the other, in one process.

    Attributes:
      file: the methods.
      out: the folder of all runs.
      seeds: of the students.
      stop: turns signals into an orderly end.
    """

    file: MethodsFile
    out: Path
    seeds: tuple[int, ...]
    stop: "StopRequest"

    def run(self) -> Table:
        """Returns the table of all methods and seeds."""
        found: dict[str, list[Trained]] = {name: [] for name in (*TEACHERS, *(each.name for each in self.file.methods))}
        failures: dict[str, dict[int, str]] = {name: {} for name in found}
        environments: dict[str, Environment] = {}
        data = pipeline.load_data(recipe.section(recipe.Data, self.file.common["data"]))
        for seed in self.seeds:
            folder = self.out / f"seed_{seed}"
            for name, trained in self._of_seed(seed, folder, data, environments):
                if isinstance(trained, Trained):
                    found[name].append(trained)
                else:
                    failures[name][seed] = trained
                _tell(f"seed {seed}  {name}: {_in_words(trained)}")
            if (folder / "cache").exists():
                shutil.rmtree(folder / "cache")  # gigabytes, and made again where they are needed
        baseline = {trained.seed: trained.accuracy for trained in found.get(BASELINE, [])}
        given = given_teacher(self.file)
        # Where the dataset lies on this machine decides no number.
        settings = {key: value for key, value in self.file.common["data"].items() if key != "data_dir"}
        return Table(
            given_teacher=None if given is None else _given(given, data),
            command="",
            seeds=self.seeds,
            common={**self.file.common, "data": settings},
            samples={name: len(split) for name, split in data.splits.items()},
            data_fingerprint=data.fingerprint,
            rows=tuple(
                row_of(
                    found[method.name],
                    baseline,
                    name=method.name,
                    title=method.title,
                    note=method.note,
                    objective=_objective(self._distill(method)),
                    failures=failures[method.name],
                )
                for method in self.file.methods
            ),
            teachers=tuple(
                row_of(found[name], {}, name=name, title=name, objective="labels") for name in TEACHERS if found[name]
            ),
            environments=tuple(environments.values()),
        )

    def _distill(self, method: Method) -> Distill:
        return method_recipe(self.file, method, seed=0, folder=Path()).distill

    def _of_seed(
        self, seed: int, folder: Path, data: Dataset, environments: dict[str, Environment]
    ) -> Iterator[tuple[str, Trained | str]]:
        """Yields what became of every network of a seed: its numbers, or why it has none."""
        trains = given_teacher(self.file) is None
        needed = TEACHERS[: max(method.teachers for method in self.file.methods)]
        for name in needed if trains else ():
            yield (
                name,
                self._trained(teachers_recipe(self.file, seed=seed), folder / "teachers", name, data, environments),
            )
        for method in self.file.methods:
            made = method_recipe(self.file, method, seed=seed, folder=folder)
            try:
                yield (
                    method.name,
                    self._trained(made, folder / method.run, method.stage, data, environments, counts=method.counts),
                )
            except NonFiniteError as error:  # a finding on the method, and no reason to lose the others
                yield method.name, shipped_records.without_places(str(error))

    def _trained(
        self,
        made: Recipe,
        folder: Path,
        stage: str,
        data: Dataset,
        environments: dict[str, Environment],
        *,
        counts: tuple[str, ...] = (),
    ) -> Trained:
        result = pipeline.run(made, out=folder, until=(stage,), stop=self.stop)
        summary = result.summary
        here = shipped_records.told(summary.earlier_environments.get(stage, summary.environment))
        environments[here.model_dump_json()] = here
        model = summary.models[stage]
        tested = _tested(model, folder, stage, data)
        if result.worked:
            _forget_graphs()
        return Trained(
            seed=made.seed,
            accuracy=tested.accuracy,
            validation_accuracy=_known(model.validation_accuracy),
            parameters=_known(model.parameters),
            seconds=sum(_known(summary.models[each].training_seconds) for each in (stage, *counts)),
            epochs=_known(model.epochs),
            best_epoch=_known(model.best_epoch),
        )


def _tested(model: ModelRecord, folder: Path, stage: str, data: Dataset) -> Tested:
    """Returns the test accuracy of a network, as recorded, or measured where these weights were not measured yet."""
    path = folder / stage / "test.json"
    if path.is_file():
        tested = Tested.read(path)
        if tested.weights_sha256 == model.weights_sha256:
            return tested
    import_quietly("keras")
    from edgekd import architectures
    from edgekd.distill.evaluate import Predictor

    _, accuracy = Predictor(architectures.load_model(folder / model.path)).loss_and_accuracy(data.test)
    tested = Tested(weights_sha256=_known(model.weights_sha256), accuracy=accuracy)
    tested.write(path)
    return tested


def _given(path: Path, data: Dataset) -> GivenTeacher:
    """Returns what is known of a teacher that was trained before; reads the test split."""
    import_quietly("keras")
    from edgekd import architectures
    from edgekd.distill.evaluate import Predictor

    model = architectures.load_model(storage.require_file(path, "teacher"))
    _, accuracy = Predictor(model).loss_and_accuracy(data.test)
    return GivenTeacher(model=path.as_posix(), accuracy=accuracy, parameters=model.count_params())


def _forget_graphs() -> None:
    """Lets go of what a training has left in the process, so that memory stays flat over a sweep."""
    import keras

    keras.utils.clear_session()
    gc.collect()


def _known(value: Any) -> Any:
    assert value is not None  # noqa: S101 - every network here was trained here
    return value


def _objective(distill: Distill) -> str:
    """Returns what is minimised in one line, such as `0.1 labels + 0.9 soft_logits(temperature 4)`."""
    parts = [f"{_number(distill.labels_weight)} labels"]
    for loss in distill.losses:
        arguments = [f"{key} {_number(value)}" for key, value in loss.arguments.items() if value is not False]
        at = [ours for ours, _ in loss.taps]
        listed = ", ".join([*arguments, *([f"at {', '.join(at)}"] if at else [])])
        parts.append(f"{_number(loss.weight)} {loss.loss}" + (f"({listed})" if listed else ""))
    return " + ".join(parts)


def _number(value: Any) -> str:
    if isinstance(value, Mapping) and value.get("schedule") == "linear":
        return f"[{value['from']:g} → {value['to']:g} by epoch {value['end_epoch']:g}]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _in_words(trained: Trained | str) -> str:
    if isinstance(trained, str):
        return trained
    return (
        f"test {100 * trained.accuracy:.2f} %, validation {100 * trained.validation_accuracy:.2f} % (epoch "
        f"{trained.best_epoch} of {trained.epochs}), {trained.seconds:.1f} s"
    )


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def chosen_methods(file: MethodsFile, names: Sequence[str] | None) -> tuple[Method, ...]:
    """Returns the methods of these names, in the file's order; all by default.

    Raises:
      RecipeError: a name that the file does not have.
    """
    known = [method.name for method in file.methods]
    for name in names or ():
        if name not in known:
            raise RecipeError(unknown_name("method", name, known))
    return tuple(method for method in file.methods if names is None or method.name in names)


def shortened(
    common: Mapping[str, Any], *, epochs: int | None, train_limit: int | None, data_dir: Path | None = None
) -> dict[str, Any]:
    """Returns the common settings with other epochs, of student and teacher, fewer training images and a folder."""
    changed = {key: dict(section) for key, section in common.items()}
    for network in ("student", "teacher"):
        if epochs is not None and "model" not in changed[network]:
            changed[network]["epochs"] = epochs
    if train_limit is not None:
        changed["data"]["train_limit"] = train_limit
    if data_dir is not None:
        changed["data"]["data_dir"] = str(data_dir)
    return changed


def _command(options: argparse.Namespace) -> str:
    """Returns the command that makes the same table, whatever folders were used here.

    A methods file of the repository is told from there on, any other as it was given.
    """
    words = ["python", "tools/compare_methods.py", "--seeds", *map(str, options.seeds)]
    given = options.methods_file.resolve()
    if given != METHODS_FILE.resolve():
        ours = given.is_relative_to(ROOT)
        words += ["--methods-file", given.relative_to(ROOT).as_posix() if ours else str(options.methods_file)]
    if options.methods is not None:
        words += ["--methods", *options.methods]
    for key in ("epochs", "train_limit"):
        if (value := getattr(options, key)) is not None:
            words += [f"--{key.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares the methods of a file, over several seeds.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the students (default: 0 1 2)")
    parser.add_argument("--methods", nargs="+", help="names of the methods' file (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"), help="folder of all runs")
    parser.add_argument("--epochs", type=int, help="of student and teacher (default: the methods' file's)")
    parser.add_argument("--train-limit", type=int, help="so many training images (default: all)")
    parser.add_argument("--page", type=Path, help="where to write the page (default: methods.md in --out)")
    parser.add_argument("--results", type=Path, help="where to write the numbers (default: methods.json in --out)")
    parser.add_argument("--methods-file", type=Path, default=METHODS_FILE, help="the methods, as YAML")
    parser.add_argument("--data-dir", type=Path, help="where TFDS finds the dataset (default: its own folder)")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options = parser.parse_args(arguments)
    if min(options.seeds) < 0 or len(set(options.seeds)) < len(options.seeds):
        parser.error(f"--seeds {' '.join(map(str, options.seeds))}: give different numbers of at least 0")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains what is missing, writes the page, and prints it or the JSON; 1 where a loss did not stay finite."""
    options = _options(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported
    try:
        file = read_methods(options.methods_file)
        common = shortened(
            file.common, epochs=options.epochs, train_limit=options.train_limit, data_dir=options.data_dir
        )
        file = MethodsFile(common=common, methods=chosen_methods(file, options.methods))
        table = _swept(file, options)
        written = page(table)
        storage.write_text(options.page or options.out / "methods.md", written)
        table.write(options.results or options.out / "methods.json")
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(table.model_dump(mode="json"), indent=2) + "\n" if options.json else written)
    return 1 if any(row.failures for row in table.rows) else 0


def _swept(file: MethodsFile, options: argparse.Namespace) -> Table:
    import_quietly("keras")
    from edgekd.distill.stopping import StopRequest

    # It warns of every teacher that is opened after the fifth: that each needs a graph of its own.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    stop = StopRequest()
    with stop.handling_signals():
        table = Sweep(file, options.out, tuple(options.seeds), stop).run()
    return table.model_copy(update={"command": _command(options)})


if __name__ == "__main__":
    sys.exit(main())
