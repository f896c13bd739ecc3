"""The recipe: one strict YAML document that says what to train, distil, export, verify and measure.

Every key is checked before any work: an unknown one raises and names the nearest known one. Plug-in arguments (of a
network, a loss, a data source, a format) stand flat beside the section's own keys and are checked against the plug-in's
signature, which is read without importing it.
"""

import dataclasses
import hashlib
import importlib.resources
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import pydantic
import ruamel.yaml
from pydantic_core import PydanticCustomError

from edgekd import registry, storage
from edgekd.errors import RecipeError, unknown_name

RECIPE_FILE = "recipe.yaml"

ARCHITECTURES = "edgekd.architectures"
LOSSES = "edgekd.losses"
SOURCES = "edgekd.data.sources"
FORMATS = "edgekd.export"
TARGETS = "edgekd.bench.targets"
SCHEMES = "edgekd.quantize.schemes"

Fraction = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
Positive = Annotated[int, pydantic.Field(gt=0)]
NonNegative = Annotated[int, pydantic.Field(ge=0)]
NonNegativeFloat = Annotated[float, pydantic.Field(ge=0.0)]
PositiveFloat = Annotated[float, pydantic.Field(gt=0.0)]
Dtype = Literal["float32", "int8", "uint8"]

Item = TypeVar("Item")
# YAML and JSON have lists only; a frozen section holds tuples.
Items = Annotated[tuple[Item, ...], pydantic.Strict(False)]
TapPair = Annotated[tuple[str, str], pydantic.Strict(False)]


class Section(pydantic.BaseModel):
    """Base of the recipe's sections. `PLUGIN_ARGUMENTS` says that further keys belong to a plug-in."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="allow", allow_inf_nan=False, strict=True, protected_namespaces=()
    )
    PLUGIN_ARGUMENTS: ClassVar[bool] = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, received: Any) -> Any:
        if isinstance(received, Mapping) and not cls.PLUGIN_ARGUMENTS:
            for key in received:
                if key not in cls.model_fields:
                    raise _invalid(unknown_name("key", key, cls.model_fields))
        return received

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys that go to the plug-in."""
        return dict(self.model_extra or {})


class Augment(Section):
    """Random views of training images: shifts up to `shift` pixels, horizontal flips, square cut-outs of a side."""

    shift: NonNegative = 0
    flip: bool = False
    cutout: NonNegative = 0


class Data(Section):
    """Where samples come from and how they are batched. Further keys are the source's own options."""

    PLUGIN_ARGUMENTS = True

    dataset: str = "embedded"
    batch_size: Positive = 128
    augment: Augment = pydantic.Field(default_factory=Augment)
    validation_fraction: OpenFraction = 0.1
    test_fraction: OpenFraction = 0.2
    split_seed: NonNegative = 0
    train_limit: Positive | None = None
    validation_limit: Positive | None = None
    test_limit: Positive | None = None

    @property
    def source(self) -> str:
        """The data source's plug-in name: what stands before the first colon of `dataset`."""
        return self.dataset.partition(":")[0]

    @pydantic.model_validator(mode="after")
    def _check_source(self) -> Self:
        _check_plugin(self, SOURCES, self.source, entry="load")
        return self


class Training(Section):
    """How one network is trained; `weight_decay` is decoupled and spares biases and normalisation."""

    epochs: Positive = 10
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: PositiveFloat = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = True
    weight_decay: NonNegativeFloat = 5e-4
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    warmup_epochs: NonNegativeFloat = 0.0
    step_epochs: Items[Positive] = ()
    step_factor: PositiveFloat = 0.1
    label_smoothing: Annotated[float, pydantic.Field(ge=0.0, lt=1.0)] = 0.0
    clip_norm: PositiveFloat | None = None
    early_stopping: Positive | None = None

    @pydantic.model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise _invalid(
                f"warmup_epochs is {self.warmup_epochs:g} but epochs is {self.epochs}: the learning rate would never "
                "reach its value. Make warmup_epochs smaller than epochs."
            )
        if self.schedule == "step" and not self.step_epochs:
            raise _invalid("schedule 'step' needs step_epochs, such as [60, 80]: the epochs at which the rate drops.")
        if self.schedule != "step" and self.step_epochs:
            raise _invalid(f"step_epochs is given but schedule is {self.schedule!r}: set schedule to 'step'.")
        if list(self.step_epochs) != sorted(set(self.step_epochs)):
            raise _invalid(f"step_epochs is {list(self.step_epochs)}: it must rise strictly.")
        if self.step_epochs and self.step_epochs[-1] >= self.epochs:
            raise _invalid(f"step_epochs ends at {self.step_epochs[-1]} but there are only {self.epochs} epochs.")
        return self


class Network(Training):
    """A network and how to train it: `architecture` and its arguments, or `model`, the path of a saved one.

    A saved teacher is used as it is; a saved student is trained on from the weights it has.
    """

    PLUGIN_ARGUMENTS = True

    architecture: str | None = None
    model: str | None = None

    @pydantic.model_validator(mode="after")
    def _check_architecture(self) -> Self:
        if (self.architecture is None) == (self.model is None):
            raise _invalid("give exactly one of architecture (a name) and model (the path of a saved Keras model).")
        if self.model is not None and self.arguments:
            raise _invalid(unknown_name("key", next(iter(self.arguments)), type(self).model_fields))
        if self.architecture is not None and ":" not in self.architecture:
            _check_plugin(self, ARCHITECTURES, self.architecture, entry="build")
        return self

    @property
    def label(self) -> str:
        """What reports call the network."""
        return self.architecture or f"saved model {Path(self.model or '').name}"


class Loss(Section):
    """One weighted distillation term. Further keys are the loss's own hyper-parameters."""

    PLUGIN_ARGUMENTS = True

    loss: str
    weight: PositiveFloat = 1.0
    taps: Items[TapPair] = ()

    @pydantic.model_validator(mode="after")
    def _check_loss(self) -> Self:
        plugin = _check_plugin(self, LOSSES, self.loss, entry=self.loss)
        compares = plugin.constants.get("COMPARES")
        if compares == "logits" and self.taps:
            raise _invalid(f"loss {self.loss!r} compares logits: remove its taps.")
        if compares == "feature_maps" and not self.taps:
            raise _invalid(
                f"loss {self.loss!r} compares feature maps: give taps, pairs of [student layer, teacher layer] such "
                "as [[stage1, stage1]]."
            )
        return self


class Distill(Section):
    """The student's objective: labels_weight * cross-entropy + the sum of weight * loss."""

    labels_weight: NonNegativeFloat = 0.1
    losses: Items[Loss] = pydantic.Field(default_factory=lambda: (Loss(loss="soft_logits", weight=0.9),))

    @pydantic.model_validator(mode="after")
    def _check_losses(self) -> Self:
        if not self.losses:
            raise _invalid("losses is empty: a distillation needs at least one, such as {loss: soft_logits}.")
        return self


class Export(Section):
    """One file to write. Further keys are the format's own options."""

    PLUGIN_ARGUMENTS = True

    format: str
    scheme: str = "float32"
    batch: Positive | Literal["dynamic"] = 1
    input_dtype: Dtype = "float32"
    output_dtype: Dtype = "float32"

    @pydantic.model_validator(mode="after")
    def _check_format(self) -> Self:
        exporter = _check_plugin(
            self,
            FORMATS,
            self.format,
            entry="export",
            own=("scheme", "batch", "input_dtype", "output_dtype", "calibration"),
        )
        scheme = _scheme(self.scheme)
        if exporter.name not in scheme.constants["FORMATS"]:
            raise _invalid(
                f"format {self.format!r} cannot carry scheme {self.scheme!r}; it can be written as: "
                f"{', '.join(scheme.constants['FORMATS'])}."
            )
        if self.input_dtype != "float32" or self.output_dtype != "float32":
            bits = scheme.constants["ACTIVATION_BITS"]
            if bits != 8:
                raise _invalid(
                    f"input_dtype {self.input_dtype!r} / output_dtype {self.output_dtype!r} need quantised "
                    f"activations, but scheme {self.scheme!r} keeps them in floating point. Use scheme int8 or float32."
                )
        return self

    @property
    def file_name(self) -> str:
        """The exported file's name, distinct for every distinct export of a recipe."""
        parts = ["student", self.scheme]
        if self.batch != 1:
            parts.append(f"batch_{self.batch}")
        if self.input_dtype != "float32" or self.output_dtype != "float32":
            parts.append(f"{self.input_dtype}_in_{self.output_dtype}_out")
        defaults = registry.describe(FORMATS, self.format, entry="export").parameters
        parts += [f"{key}_{value}" for key, value in sorted(self.arguments.items()) if value != defaults[key]]
        return re.sub(r"[^A-Za-z0-9_.\-]", "_", "-".join(parts)) + "." + self.format


class Calibration(Section):
    """How many training images set the ranges of quantised activations."""

    samples: Positive = 512


class Verify(Section):
    """Gates: every exported file must hold them, or the command ends with exit status 1.

    `max_accuracy_drop` is the Keras student's test accuracy minus the file's; `min_agreement` is the least fraction of
    test images on which both predict the same class.
    """

    max_accuracy_drop: Fraction = 0.01
    min_agreement: Fraction = 0.98


class Bench(Section):
    """What to measure exported files on, and how often; an empty list of targets measures nothing.

    Further keys are settings that every one of the targets has, such as `min_warmup_seconds`.
    """

    PLUGIN_ARGUMENTS = True

    targets: Items[str] = ("local",)
    threads: Items[Positive] = (1,)
    processes: Positive = 5

    @pydantic.model_validator(mode="after")
    def _check_targets(self) -> Self:
        own = ("num_threads", "processes", "seed", "inputs", "on_progress")
        for target in self.targets:
            _check_plugin(self, TARGETS, target, entry="measure", own=own)
        if self.targets and not self.threads:
            raise _invalid("threads is empty: give at least one number of threads, such as [1].")
        for key, values in (("targets", self.targets), ("threads", self.threads)):
            if len(set(values)) < len(values):
                raise _invalid(f"{key} is {list(values)}: give each once.")
        return self


class Recipe(Section):
    """A whole run."""

    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")] = "unnamed"
    seed: NonNegative = 0
    data: Data = pydantic.Field(default_factory=Data)
    teacher: Network
    student: Network
    distill: Distill = pydantic.Field(default_factory=Distill)
    export: Items[Export] = pydantic.Field(
        default_factory=lambda: (Export(format="tflite", scheme="float32"), Export(format="tflite", scheme="int8"))
    )
    calibration: Calibration = pydantic.Field(default_factory=Calibration)
    verify: Verify = pydantic.Field(default_factory=Verify)
    bench: Bench = pydantic.Field(default_factory=Bench)

    @pydantic.model_validator(mode="after")
    def _check_exports(self) -> Self:
        names = [export.file_name for export in self.export]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise _invalid(f"export asks for {', '.join(twice)} more than once: remove the repetition.")
        return self

    @property
    def sha256(self) -> str:
        """A hash of every setting, defaults (also the plug-ins') included; the order of keys does not matter."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()

    def to_yaml(self) -> str:
        """Returns the recipe with every default visible: those of the plug-ins' own arguments too."""
        stream = io.StringIO()
        writer = ruamel.yaml.YAML(typ="safe", pure=True)
        writer.default_flow_style = False
        writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        writer.dump(self.model_dump(mode="json"), stream)
        return stream.getvalue()


def load(name_or_path: str, *, overrides: Iterable[str] = ()) -> Recipe:
    """Returns the checked recipe of a zoo name (`quickstart`) or of a YAML file.

    Args:
      name_or_path: a name that `edgekd list recipes` shows, or the path of a file.
      overrides: `a.b=value` assignments, applied in order; the value is read as YAML, list items are numbered.

    Raises:
      RecipeError: there is no such recipe, it is not valid YAML, or a key or value is not accepted.
    """
    path = find(name_or_path)
    try:
        text = storage.require_file(path, "recipe").read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {name_or_path!r} is not UTF-8 text ({error.reason}): is it a YAML file?") from error
    document = _parse(text, f"recipe {name_or_path!r}")
    if document is None:
        raise RecipeError(f"recipe {name_or_path!r} is empty: it needs at least the sections teacher and student.")
    if not isinstance(document, dict):
        raise RecipeError(f"recipe {name_or_path!r} holds {_kind(document)}, not a mapping of sections.")
    return from_document(document, overrides=overrides, origin=name_or_path)


def from_document(document: Mapping[str, Any], *, overrides: Iterable[str] = (), origin: str = "given") -> Recipe:
    """Returns the checked recipe of a plain mapping, such as a parsed YAML document; see `load`."""
    edited: dict[str, Any] = json.loads(_json(document, origin))
    for assignment in overrides:
        _assign(edited, assignment)
    try:
        return Recipe.model_validate_json(_json(edited, origin))
    except pydantic.ValidationError as error:
        raise RecipeError(f"recipe {origin!r}: {_first_problem(error, edited)}") from error


def smoke(recipe: Recipe) -> Recipe:
    """Returns the same road made short: one epoch on a few hundred images, two measuring processes, wide gates.

    The numbers of a smoke run mean nothing; it shows that every stage works with this recipe.
    """
    document = recipe.model_dump(mode="json")
    for role in ("teacher", "student"):
        document[role] |= {"epochs": 1, "warmup_epochs": 0.0, "early_stopping": None}
        if document[role]["schedule"] == "step":
            document[role] |= {"schedule": "cosine", "step_epochs": []}
    for key, limit in {"train_limit": 1024, "validation_limit": 256, "test_limit": 256}.items():
        document["data"][key] = min(limit, document["data"][key] or limit)
    document["calibration"]["samples"] = min(64, recipe.calibration.samples)
    document["verify"] = {"max_accuracy_drop": 0.1, "min_agreement": 0.8}
    document["bench"]["processes"] = min(2, recipe.bench.processes)
    document["name"] = f"{recipe.name}-smoke"
    return from_document(document, origin=f"{recipe.name} --smoke")


def find(name_or_path: str) -> Path:
    """Returns the file of a zoo recipe or of a path; RecipeError where there is neither."""
    path = Path(name_or_path)
    if path.is_dir() and (path / RECIPE_FILE).is_file():
        return path / RECIPE_FILE
    if path.is_file():
        return path
    known = zoo()
    if name_or_path in known:
        return known[name_or_path]
    if path.suffix in {".yaml", ".yml"}:
        raise RecipeError(f"recipe file {name_or_path!r} does not exist: check the path.")
    raise RecipeError(unknown_name("recipe", name_or_path, known) + " A path to a YAML file works too.")


def zoo() -> dict[str, Path]:
    """Returns the recipes that are installed with edgekd, by name: `folder`, or `folder/name` where nested."""
    with importlib.resources.as_file(importlib.resources.files("edgekd") / "zoo") as root:
        return {path.parent.relative_to(root).as_posix(): path for path in sorted(root.rglob(RECIPE_FILE))}


def data_section(dataset: str, *, overrides: Iterable[str] = ()) -> Data:
    """Returns a checked data section for one dataset and `key=value` options."""
    document: dict[str, Any] = {"dataset": dataset}
    for assignment in overrides:
        _assign(document, assignment)
    return section(Data, document)


SectionType = TypeVar("SectionType", bound=Section)


def section(kind: type[SectionType], document: Mapping[str, Any]) -> SectionType:
    """Returns one checked section of a plain mapping; RecipeError says what is wrong with it."""
    name = kind.__name__.lower()
    try:
        return kind.model_validate_json(_json(document, name))
    except pydantic.ValidationError as error:
        raise RecipeError(f"{name}: {_first_problem(error, document)}") from error


def summary(path: Path) -> str:
    """Returns the first comment line of a recipe's file, which says what it is."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def canonical_json(document: Any) -> str:
    """Returns JSON with sorted keys and no spaces: equal documents give equal text."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _assign(document: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set {assignment!r} is not of the form a.b=value, such as student.epochs=3.")
    *parents, last = keys
    place: Any = document
    for key in parents:
        if isinstance(place, list):
            place = place[_index(place, key, assignment)]
        elif isinstance(place, dict):
            if place.get(key) is None:
                place[key] = {}
            place = place[key]
        else:
            raise RecipeError(f"--set {assignment!r}: {key!r} lies below {_kind(place)}, which has no keys.")
    value = _parse(text, f"the value of --set {assignment!r}")
    if isinstance(place, list):
        place[_index(place, last, assignment)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise RecipeError(f"--set {assignment!r}: {last!r} lies below {_kind(place)}, which has no keys.")


def _index(items: list[Any], key: str, assignment: str) -> int:
    if not key.isdecimal() or int(key) >= len(items):
        raise RecipeError(f"--set {assignment!r}: {key!r} is no place in a list of {len(items)} (they count from 0).")
    return int(key)


def _parse(text: str, origin: str) -> Any:
    # YAML 1.2: 1e-3 is a number, 'no' is a string, and a repeated key is an error.
    try:
        return ruamel.yaml.YAML(typ="safe", pure=True).load(text)
    except ruamel.yaml.error.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RecipeError(f"{origin} is not valid YAML{where}: {problem}.") from error
    except ValueError as error:  # a value that looks like a date or a number and is none, such as 2020-13-45
        raise RecipeError(f"{origin} holds a value that cannot be read: {error}.") from error
    except RecursionError as error:
        raise RecipeError(f"{origin} is nested too deeply.") from error


def _json(document: Any, origin: str) -> str:
    try:
        return json.dumps(document)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe {origin!r}: {error}; use numbers, strings, lists and mappings only.") from error


# JSON's and Python's words, in YAML's.
_IN_YAML = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "a string",
    "a valid boolean": "true or false",
    "a valid array": "a list",
    "an object": "a mapping",
    "greater than": "a number greater than",
    "less than": "a number less than",
    "String should match pattern": "a string that matches",
    "Tuple should have at most": "at most",
}


def _first_problem(error: pydantic.ValidationError, document: Any) -> str:
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        return f"a string holds characters that are not Unicode text ({problem['ctx']['error']})."
    where = ".".join(_path(problem["loc"], document))
    prefix = f"{where}: " if where else ""
    if problem["type"] == "edgekd":
        return prefix + problem["msg"]
    if problem["type"] == "missing":
        return f"{prefix}this {'key' if isinstance(problem['loc'][-1], str) else 'item'} is required: add it."
    # A value that fits no branch of a union has a problem for each branch.
    messages = [
        each["msg"] for each in error.errors() if _path(each["loc"], document) == _path(problem["loc"], document)
    ]
    expected = " or ".join(dict.fromkeys(message.removeprefix("Input should be ") for message in messages))
    for theirs, ours in _IN_YAML.items():
        expected = expected.replace(theirs, ours)
    return f"{prefix}expected {expected}; got {_kind(problem['input'])} {problem['input']!r}."


def _path(location: tuple[str | int, ...], document: Any) -> list[str]:
    """Returns the keys of a place in the document; pydantic's names of a union's branches are left out."""
    keys, place = [], document
    for part in location:
        if isinstance(place, Mapping):
            place = place.get(part)
        elif isinstance(place, list) and isinstance(part, int):
            place = place[part] if part < len(place) else None
        else:
            continue
        keys.append(str(part))
    return keys


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        dict: "a mapping", list: "a list", str: "a string", bool: "a truth value", int: "a whole number",
        float: "a number", type(None): "nothing",
    }  # fmt: skip
    return kinds.get(type(value), type(value).__name__)


def _check_plugin(
    section: Section, package: str, name: str, *, entry: str, own: tuple[str, ...] = ()
) -> registry.Plugin:
    """Checks a section's further keys against the plug-in it names, and adds the plug-in's defaults to them.

    So printed recipes and hashes hold all that decides a run. `own` are parameters that do not come from those keys.
    """
    _require(package, name)
    plugin = registry.describe(package, name, entry=entry)
    options = {key: default for key, default in plugin.parameters.items() if key not in own}
    kind = f"argument of {registry.kind_of(package)} {name!r}:"
    received = section.arguments
    try:
        registry.check_arguments(
            dataclasses.replace(plugin, parameters=options),
            received,
            kind=f"key or {kind}",
            also=tuple(type(section).model_fields),
        )
        registry.check_types(plugin, received, kind=kind)
    except RecipeError as error:
        raise _invalid(str(error)) from error
    if section.model_extra is not None:
        section.model_extra.clear()
        for key, default in options.items():
            section.model_extra[key] = received.get(key, list(default) if isinstance(default, tuple) else default)
    return plugin


def _scheme(name: str) -> registry.Plugin:
    plugins = [registry.describe(SCHEMES, key, entry=None) for key in registry.discover(SCHEMES)]
    for plugin in plugins:
        if name == plugin.name or name in plugin.constants["ALIASES"]:
            return plugin
    raise _invalid(unknown_name("scheme", name, [plugin.name for plugin in plugins]))


def _require(package: str, name: str) -> None:
    try:
        registry.require(package, name)
    except RecipeError as error:
        raise _invalid(str(error)) from error


def _invalid(message: str) -> PydanticCustomError:
    # Braces would be read as a template by pydantic.
    return PydanticCustomError("edgekd", "{message}", {"message": message})
