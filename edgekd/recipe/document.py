"""The whole recipe."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
import ruamel.yaml

from edgekd import registry, schedules
from edgekd.errors import RecipeError
from edgekd.recipe.data import Data
from edgekd.recipe.distillation import Distill, Ensemble, common_temperature, default_objective
from edgekd.recipe.networks import Network, Teacher, Training
from edgekd.recipe.outputs import OF_RECONSTRUCTION, Bench, Calibration, Export, Verify, scheme_of, target_of
from edgekd.recipe.quantisation import Quantize
from edgekd.recipe.section import FORMATS, Items, NonNegative, Section, invalid
from edgekd.recipe.sparsity import Sparsify
from edgekd.records import Task

_PLACES_OF_DATA = ("data_dir", "download")
_PLACES_OF_CACHE = ("folder", "fill")


def _listed(received: Any) -> Any:
    if received is None:
        return []
    return [received] if isinstance(received, Mapping) else received


class Recipe(Section):
    """A whole run."""

    name: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")] = "unnamed"
    """Names the run's folder and record."""
    task: Task = "classification"
    """What networks are to give for a sample: its class, or with `reconstruction` the sample itself, as autoencoders
    do, whose errors then find anomalies. Nobody looks at labels there: `student_labels` is the student that learned
    from the samples alone, and `labels_weight` the weight of the mean squared error to them."""
    smoke: bool = False
    """Whether this is the short form that `--smoke` makes of a recipe: the numbers of its runs mean nothing."""
    seed: NonNegative = 0
    """Decides initial weights, order and views."""
    data: Data = pydantic.Field(default_factory=Data)
    """Where samples come from."""
    teacher: Annotated[Items[Teacher], pydantic.BeforeValidator(_listed)] = ()
    """One network, or a list of them: an ensemble. Only `distill.way: offline` has one."""
    student: Network
    """The network that is wanted."""
    distill: Distill = pydantic.Field(default_factory=lambda: Distill.model_validate({}))
    """The student's objective, and who teaches."""
    sparsify: Sparsify | None = None
    """Makes the distilled student sparse."""
    quantize: Quantize | None = None
    """Makes an int8 student, before it is written to files."""
    export: Items[Export] = pydantic.Field(
        default_factory=lambda: (Export(format="tflite", scheme="float32"), Export(format="tflite", scheme="int8"))
    )
    """The files to write; by default TFLite in float32 and int8."""
    calibration: Calibration = pydantic.Field(default_factory=Calibration)
    """Of int8 files."""
    verify: Verify = pydantic.Field(default_factory=Verify)
    """Gates: every exported file must hold them, or the command ends with exit status 1."""
    bench: Bench = pydantic.Field(default_factory=Bench)
    """What to measure the files on."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _objective_of_the_task(cls, received: Any) -> Any:
        if not isinstance(received, Mapping) or received.get("task") != "reconstruction":
            return received
        distill = received.get("distill") or {}
        if not isinstance(distill, Mapping) or "losses" in distill:
            return received  # what is wrong with it is said later
        return {**received, "distill": {**default_objective("offline", "reconstruction"), **distill}}

    @pydantic.model_validator(mode="after")
    def _check_exports(self) -> Self:
        names = [export.file_name for export in self.export]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise invalid(f"export asks for {', '.join(twice)} more than once: remove the repetition.")
        return self

    @pydantic.model_validator(mode="after")
    def _check_gates(self) -> Self:
        for key in ("min_accuracy", "min_auc"):
            least = getattr(self.verify, key)
            if least is not None and not self.export:
                raise invalid(
                    f"verify.{key} is {least:g}, and export is empty: no file would be held to it. Export a file, or "
                    f"leave {key} out."
                )
        return self

    @pydantic.model_validator(mode="after")
    def _check_estimates(self) -> Self:
        written = {registry.describe(FORMATS, each.format, entry="export").constants["SUFFIX"] for each in self.export}
        for target in self.bench.targets if self.export else ():
            taken = target_of(target).plugin.constants.get("SUFFIXES")
            if taken is not None and not written & set(taken):
                raise invalid(
                    f"bench.targets has {target!r}, which takes {' and '.join(taken)} files, but none is exported: add "
                    "one to export, or remove the target."
                )
        return self

    @pydantic.model_validator(mode="after")
    def _check_quantize(self) -> Self:
        if self.quantize is not None and not any(self.comes_from_quantize(export) for export in self.export):
            raise invalid(
                f"quantize makes a student of scheme {self.quantize.scheme}, but no file of that scheme is exported: "
                f"add {{format: tflite, scheme: {self.quantize.scheme}}} to export, or remove quantize."
            )
        return self

    def comes_from_quantize(self, export: Export) -> bool:
        """Whether a file is written from the quantised student rather than from the float one.

        That one is int8 throughout: files with other schemes for some layers are calibrated on their own.
        """
        return self.quantize is not None and not export.layers and scheme_of(export.scheme).name == self.quantize.scheme

    @pydantic.model_validator(mode="after")
    def _check_teachers(self) -> Self:
        way, teachers = self.distill.way, len(self.teacher)
        if way == "offline" and not teachers:
            raise invalid("teacher: this key is required: add it (or choose distill.way online, self or born_again).")
        if way != "offline" and teachers:
            raise invalid(
                f"distill.way is {way!r}, which has no teacher of its own: remove teacher (--set teacher=null)."
            )
        if teachers < 2 and self.distill.ensemble != Ensemble():
            raise invalid(f"distill.ensemble is for several teachers, but there {'is 1' if teachers else 'are none'}.")
        if way == "born_again" and self.student.model is not None:
            raise invalid(
                "distill.way born_again needs new initial weights for each generation: give student.architecture."
            )
        weights = self.distill.ensemble.weights
        if weights and len(weights) != teachers:
            raise invalid(f"distill.ensemble.weights has {len(weights)} numbers for {teachers} teachers.")
        combine, temperature = self.distill.ensemble.combine, self.distill.ensemble.temperature
        if teachers > 1 and combine == "soft_targets" and temperature is None:
            try:
                common_temperature(self.distill.losses)
            except RecipeError as error:
                raise invalid(str(error)) from error
        return self

    @pydantic.model_validator(mode="after")
    def _check_schedules(self) -> Self:
        for loss in self.distill.losses:
            if schedules.parse(loss.weight).max_value(before_epoch=self.student.epochs) == 0:
                raise invalid(
                    f"the weight of {loss.loss!r} is zero in all {self.student.epochs} epochs of the student: let its "
                    "schedule begin earlier, or remove the loss."
                )
        return self

    @pydantic.model_validator(mode="after")
    def _check_labels(self) -> Self:
        looking = [loss.loss for loss in self.distill.losses if loss.needs_labels]
        if looking and self.data.mixup:
            raise invalid(f"loss {looking[0]!r} needs one true class for each image, but data.mixup blends two.")
        if looking and self.data.unlabelled is not None:
            raise invalid(f"loss {looking[0]!r} needs labels, but data.unlabelled brings images that have none.")
        return self

    @pydantic.model_validator(mode="after")
    def _check_task(self) -> Self:
        if self.task == "classification":
            if self.verify.min_auc is not None:
                raise invalid("verify.min_auc is for task reconstruction: remove it, or give verify.min_accuracy.")
            return self
        if self.distill.way != "offline":
            raise invalid(
                f"distill.way is {self.distill.way!r}, and with task reconstruction a teacher teaches: set it offline."
            )
        if len(self.teacher) > 1:
            raise invalid(
                f"there are {len(self.teacher)} teachers, and task reconstruction takes one: remove the others."
            )
        for loss in self.distill.losses:
            if loss.compares == "logits" or loss.needs_labels:
                raise invalid(
                    f"loss {loss.loss!r} is of classes, which task reconstruction has not: compare layers, such as the "
                    "networks' last ones with {loss: feature_mse, taps: [[reconstruction, reconstruction]]}."
                )
        smoothing: dict[str, Training | None] = {
            "student": self.student,
            "teacher": self.teacher[0],
            "sparsify": self.sparsify,
            "quantize.aware": self.quantize.aware if self.quantize else None,
        }
        given = [f"{key}.label_smoothing" for key, each in smoothing.items() if each and each.label_smoothing]
        given += [f"data.{key}" for key in ("mixup", "unlabelled") if getattr(self.data, key)]
        given += ["verify.min_accuracy"] if self.verify.min_accuracy is not None else []
        given += ["teacher.outputs"] if self.teacher[0].outputs != "logits" else []
        if given:
            raise invalid(f"{', '.join(given)}: for classes, which task reconstruction has not. Remove that.")
        return self

    @pydantic.field_serializer("teacher")
    def _as_written(self, teacher: tuple[Teacher, ...]) -> Any:
        documents: list[Any] = [network.model_dump(mode="json") for network in teacher]
        return (documents or [None])[0] if len(documents) < 2 else documents

    @property
    def sha256(self) -> str:
        """A hash of every setting, defaults (also the plug-ins') included; the order of keys does not matter.

        Of the path of a model only its last part counts: a recipe is the same one wherever it is installed.
        """
        document = self.model_dump(mode="json")
        _name_models(document)
        return _hash(_without_default_task(document))

    def without_places(self) -> dict[str, Any]:
        """Returns every setting but those that say where things lie on a machine, which decide no number.

        These are `data_dir` and `download` of the data and of the unlabelled images, `distill.cache.folder`, and
        `distill.cache.fill`, which says whether the cache has to be there already. Of a model's path the last part
        stays. The recipe of what is returned has the defaults instead.
        """
        document = self.model_dump(mode="json")
        _name_models(document)
        cache = document["distill"]["cache"] or {}
        for section, keys in (*((each, _PLACES_OF_DATA) for each in _sources(document)), (cache, _PLACES_OF_CACHE)):
            for key in keys:
                section.pop(key, None)
        return document

    @property
    def experiment_sha256(self) -> str:
        """A hash of what runs must share to be one experiment, repeated with several seeds.

        Of `without_places` it leaves out `seed`, `name` and `smoke`; `verify` and `bench`, which judge and measure what
        was made and decide no network and no file; and what stands behind the colon of a `dataset`, often a path: which
        data it led to, the fingerprint in a run's record says. For the same reason a teacher that is given by its path
        counts by its name here; records have the hash of its weights.
        """
        document = self.without_places()
        for key in ("seed", "name", "smoke", "verify", "bench"):
            del document[key]
        for section in _sources(document):
            section["dataset"] = section["dataset"].partition(":")[0]
        return _hash(_without_default_task(document))

    def to_yaml(self) -> str:
        """Returns the recipe with every default visible: those of the plug-ins' own arguments too."""
        stream = io.StringIO()
        writer = ruamel.yaml.YAML(typ="safe", pure=True)
        writer.default_flow_style = False
        writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        writer.dump(self.model_dump(mode="json"), stream)
        return stream.getvalue()


def _without_default_task(document: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings without those of another task where it is classification: earlier records keep their hashes."""
    if document["task"] != "classification":
        return dict(document)
    kept = {key: value for key, value in document.items() if key != "task"}
    if "verify" in kept:
        kept["verify"] = {key: value for key, value in kept["verify"].items() if key not in OF_RECONSTRUCTION}
    return kept


def canonical_json(document: Any) -> str:
    """Returns JSON with sorted keys and no spaces: equal documents give equal text."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _name_models(document: dict[str, Any]) -> None:
    teachers = document["teacher"] if isinstance(document["teacher"], list) else [document["teacher"]]
    for network in (document["student"], *filter(None, teachers)):
        if network["model"] is not None:
            network["model"] = Path(network["model"]).name


def _sources(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [document["data"], *filter(None, [document["data"]["unlabelled"]])]


def _hash(document: Any) -> str:
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()
