"""The sections on what becomes of the student: files, their gates, and what measures them."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import pydantic

from edgekd import registry
from edgekd.errors import RecipeError, unknown_name
from edgekd.recipe.section import (
    FORMATS,
    SCHEMES,
    TARGET_ENTRIES,
    Dtype,
    Fraction,
    Items,
    NonNegative,
    Positive,
    Section,
    check_described,
    check_plugin,
    invalid,
)

_UNMIXED = {"float16"}  # TensorFlow's converter writes it, and no operator alone


class Export(Section):
    """One file to write. Further keys are the format's own options."""

    PLUGIN_ARGUMENTS = True

    format: str
    """`tflite` or `onnx`."""
    scheme: str = "float32"
    """A name of `edgekd list schemes`."""
    batch: Positive | Literal["dynamic"] = 1
    """Samples of one run of the file; `dynamic` leaves it open."""
    input_dtype: Dtype = "float32"
    """What the file takes; integers only where the scheme computes in integers."""
    output_dtype: Dtype = "float32"
    """What it gives."""
    preprocessing: Literal["inside", "outside", "fold"] = "inside"
    """What becomes of the Rescaling and Normalization that the student begins with: they stay `inside` the
    graph, are left `outside` (the file's metadata says what the caller computes), or `fold` into the first
    layer's weights or the scale of an integer input."""

    @pydantic.model_validator(mode="after")
    def _check_format(self) -> Self:
        exporter = check_plugin(
            self,
            FORMATS,
            self.format,
            entry="export",
            own=("scheme", "batch", "input_dtype", "output_dtype", "preprocessing", "calibration"),
        )
        scheme = scheme_of(self.scheme)
        if exporter.name not in scheme.constants["FORMATS"]:
            raise invalid(
                f"format {self.format!r} cannot carry scheme {self.scheme!r}; it can be written as: "
                f"{', '.join(scheme.constants['FORMATS'])}."
            )
        for key, dtype in (("input_dtype", self.input_dtype), ("output_dtype", self.output_dtype)):
            if dtype not in scheme.constants["DTYPES"]:
                raise invalid(
                    f"{key} {dtype!r} does not go with scheme {self.scheme!r}, whose files can have "
                    f"{' or '.join(scheme.constants['DTYPES'])}."
                )
        try:
            check_layers(self.arguments.get("layers"), self.scheme, dtypes=(self.input_dtype, self.output_dtype))
        except RecipeError as error:
            raise invalid(str(error)) from error
        return self

    @property
    def layers(self) -> dict[str, str]:
        """Other schemes for some layers, by patterns of names."""
        return self.arguments.get("layers") or {}

    @property
    def file_name(self) -> str:
        """The exported file's name, distinct for every distinct export of a recipe."""
        parts = ["student", self.scheme]
        if self.batch != 1:
            parts.append(f"batch_{self.batch}")
        if self.input_dtype != "float32" or self.output_dtype != "float32":
            parts.append(f"{self.input_dtype}_in_{self.output_dtype}_out")
        if self.preprocessing != "inside":
            parts.append(f"preprocessing_{self.preprocessing}")
        defaults = registry.describe(FORMATS, self.format, entry="export").parameters
        changed = {key: value for key, value in self.arguments.items() if value != defaults[key] and key != "layers"}
        parts += [f"{pattern}_{scheme}" for pattern, scheme in sorted(self.layers.items())]
        parts += [f"{key}_{value}" for key, value in sorted(changed.items())]
        return re.sub(r"[^A-Za-z0-9_.\-]", "_", "-".join(parts)) + "." + self.format


class Calibration(Section):
    """How int8 files are calibrated."""

    samples: Positive = 512
    """How many training images set the ranges of quantised activations."""


OF_RECONSTRUCTION = ("min_sqnr_db", "max_auc_drop", "min_auc")
"""The keys of `verify` that are of task reconstruction alone."""


class Verify(Section):
    """Gates: exported files must hold them, or the command ends with exit status 1.

    A limit that is finer than one of the test images (of `max_beyond_one_lsb`: than one of their outputs) is taken as
    one: of 60 images, one may differ where 0.5 % may. A limit that lets none differ is taken as it is.
    """

    max_accuracy_drop: Fraction | None = 0.01
    """The distilled student's test accuracy minus the file's is at most this; null: no such gate."""
    min_agreement: Fraction = 0.98
    """At least this fraction of test images has the same class as of the float student: the distilled one, or
    the sparse one. Files of a student that was trained further (`quantize.aware`) are not held to it: they may well
    see other images right."""
    max_beyond_one_lsb: Fraction = 0.001
    """With `quantize`: at most this fraction of an int8 file's outputs is more than one step off the int8 student's."""
    min_agreement_with_int8_student: Fraction = 0.995
    """With `quantize`: at least this fraction of test images has the same class as of the int8 student."""
    min_accuracy: Fraction | None = None
    """Every file's test accuracy is at least this. By default files are held to their networks only, which may have
    learned little."""
    min_sqnr_db: Annotated[float, pydantic.Field(ge=0.0)] | None = 25.0
    """With task reconstruction, in place of agreement: of each file's outputs against those of the network that it was
    made from, over all test samples, in decibels; null: no such gate."""
    max_auc_drop: Fraction | None = 0.01
    """With task reconstruction, in place of accuracy: the distilled student's AUC minus the file's is at most this,
    where the data has normal and anomalous test samples; null: no such gate."""
    min_auc: Fraction | None = None
    """With task reconstruction: every file's AUC is at least this; MLPerf Tiny asks for 0.85."""
    max_training_warnings: NonNegative | None = None
    """At most so many warnings about the trainings, such as of a student that its teacher harmed: with 0 each of them
    is a failure. By default they are told and fail nothing."""
    layer_samples: NonNegative = 0
    """With 1 or more, each file is compared with its network operator by operator, on so many test images, for the
    report. No gate depends on it."""


class Bench(Section):
    """What to measure exported files on, and how often.

    Further keys are settings of the targets, such as `min_warmup_seconds`; each target takes those that it has.
    """

    PLUGIN_ARGUMENTS = True

    targets: Items[str] = ("local",)
    """Names of `edgekd list targets`; an empty list measures nothing."""
    threads: Items[Positive] = (1,)
    """Numbers of threads, each measured on its own."""
    processes: Positive = 5
    """Fresh processes for each file: the unit of the intervals."""
    profile: bool = False
    """Whether to say where the time of an inference goes on this machine, operator by operator: see `docs/bench.md`."""

    @pydantic.model_validator(mode="after")
    def _check_targets(self) -> Self:
        for key, values in (("targets", self.targets), ("threads", self.threads)):
            if len(set(values)) < len(values):
                raise invalid(f"{key} is {list(values)}: give each once.")
        if self.profile and _LOCAL not in self.targets:
            raise invalid(
                f"profile is of this machine, and targets is {list(self.targets)}: add {_LOCAL!r}, or remove profile."
            )
        if self.targets and not self.threads:
            raise invalid("threads is empty: give at least one number of threads, such as [1].")
        if self.targets:
            found = [_target(target) for target in self.targets]
            names = ", ".join(repr(shown_name(each.name)) for each in found)
            kind = f"argument of target{'' if len(found) == 1 else 's'} {names}:"
            given = self.arguments
            check_described(self, _all_settings(found), kind=kind, own=_NOT_SET_BY_RECIPES)
            for key in _differing(found) - set(given):  # each target has its own default
                del (self.model_extra or {})[key]
        return self

    def settings_of(self, target: str) -> dict[str, Any]:
        """Returns those of the further keys that a target takes."""
        known = _target(target).parameters
        return {key: value for key, value in self.arguments.items() if key in known}


_LOCAL = "local"
_NOT_SET_BY_RECIPES = ("num_threads", "processes", "seed", "inputs", "batch", "address", "on_progress")


def _target(target: str) -> registry.Plugin:
    try:
        return target_of(target).plugin
    except RecipeError as error:
        raise invalid(str(error)) from error


def _all_settings(targets: Sequence[registry.Plugin]) -> registry.Plugin:
    """Returns a plug-in that has the settings of all."""
    parameters: dict[str, Any] = {}
    annotations: dict[str, str] = {}
    for each in targets:
        parameters |= each.parameters
        annotations |= each.annotations
    return dataclasses.replace(targets[0], parameters=parameters, annotations=annotations)


def _differing(targets: Sequence[registry.Plugin]) -> set[str]:
    """Returns the settings for which targets have different defaults."""
    defaults: dict[str, list[Any]] = {}
    for each in targets:
        for key, default in each.parameters.items():
            defaults.setdefault(key, []).append(default)
    return {key for key, found in defaults.items() if any(each != found[0] for each in found)}


@dataclasses.dataclass(frozen=True)
class Target:
    """What a target's name comes to.

    Attributes:
      package: of the plug-in: TARGETS measure, ESTIMATES reckon, PARITIES compare outputs.
      plugin: its description.
      address: what stands behind `://`, or None.
    """

    package: str
    plugin: registry.Plugin
    address: str | None

    @property
    def name(self) -> str:
        """The plug-in's name as users write it: files have underscores where names of targets have hyphens."""
        return shown_name(self.plugin.name)


def shown_name(plugin: str) -> str:
    """Returns how users write the name of a target's plug-in."""
    return plugin.replace("_", "-")


def target_of(target: str) -> Target:
    """Returns the plug-in and address of a target such as `local`, `ssh://pi@board` or `ethos-u`.

    Raises:
      RecipeError: there is no such target, or the address holds a password, which records would keep.
    """
    name, colon, address = target.partition("://")
    if not colon and "@" in target:
        written = f"ssh://{target.removeprefix('ssh:').lstrip('/')}"
        target_of(written)  # which refuses a password
        raise RecipeError(f"target {target!r} does not say how it is reached: a board with ssh is {written!r}.")
    user, at, host = address.rpartition("@")
    if at and ":" in user:
        raise RecipeError(
            f"the address of target '{name}://{user.partition(':')[0]}:...@{host}' holds a password, and anybody can "
            "read it in records and process lists: leave it out and use a key (ssh-copy-id)."
        )
    key = name.replace("-", "_")
    known = {each: entry for entry in TARGET_ENTRIES for each in registry.discover(entry)}
    if key not in known:
        raise RecipeError(unknown_name("target", name, map(shown_name, known)))
    package = known[key]
    plugin = registry.describe(package, key, entry=TARGET_ENTRIES[package])
    return Target(package, plugin, address if colon else None)


def check_layers(layers: Any, scheme: str, *, dtypes: Sequence[str]) -> None:
    """Raises RecipeError unless other schemes for some layers are known and can stand in one file.

    Args:
      layers: schemes by patterns of layer names, or None for none.
      scheme: of all other layers.
      dtypes: of the file's input and output.
    """
    if layers is None:
        return
    texts = isinstance(layers, Mapping) and all(isinstance(each, str) for pair in layers.items() for each in pair)
    if not texts or not layers:
        raise RecipeError(f"layers is {layers!r}: expected schemes by layer names, such as {{logits: float32}}.")
    for name in (scheme, *layers.values()):
        if _scheme(name).name in _UNMIXED:
            raise RecipeError(
                f"scheme {name!r} cannot stand beside others in one file: remove layers, or choose another."
            )
    if set(dtypes) != {"float32"}:
        raise RecipeError(
            f"a file with layers takes and gives float32, not {' and '.join(dtypes)}: remove input_dtype and "
            "output_dtype."
        )


def scheme_of(name: str) -> registry.Plugin:
    """Returns the scheme of a name or alias, as its source describes it, for a validator."""
    try:
        return _scheme(name)
    except RecipeError as error:
        raise invalid(str(error)) from error


def _scheme(name: str) -> registry.Plugin:
    plugins = [registry.describe(SCHEMES, key, entry=None) for key in registry.discover(SCHEMES)]
    for plugin in plugins:
        if name == plugin.name or name in plugin.constants["ALIASES"]:
            return plugin
    raise RecipeError(unknown_name("scheme", name, [plugin.name for plugin in plugins]))
