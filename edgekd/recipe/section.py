"""What every section of a recipe is: strict, frozen, and checked against the plug-in that it names."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pydantic
from pydantic_core import PydanticCustomError

from edgekd import registry, schedules
from edgekd.errors import RecipeError, unknown_name

ARCHITECTURES = "edgekd.architectures"
LOSSES = "edgekd.losses"
SOURCES = "edgekd.data.sources"
FORMATS = "edgekd.export"
TARGETS = "edgekd.bench.targets"
ESTIMATES = "edgekd.bench.estimates"
PARITIES = "edgekd.bench.parities"
SCHEMES = "edgekd.quantize.schemes"
ADAPTERS = "edgekd.distill.adapters"
RANGES = "edgekd.quantize.ranges"

TARGET_ENTRIES = {TARGETS: "measure", ESTIMATES: "estimate", PARITIES: "compare"}
"""The packages of what `--target` and `bench.targets` may name, and the functions of their plug-ins."""

Fraction = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, pydantic.Field(gt=0.0, lt=1.0)]
Positive = Annotated[int, pydantic.Field(gt=0)]
NonNegative = Annotated[int, pydantic.Field(ge=0)]
NonNegativeFloat = Annotated[float, pydantic.Field(ge=0.0)]
PositiveFloat = Annotated[float, pydantic.Field(gt=0.0)]
Dtype = Literal["float32", "int8", "uint8", "int16"]

Item = TypeVar("Item")
# YAML and JSON have lists only; a frozen section holds tuples.
Items = Annotated[tuple[Item, ...], pydantic.Strict(False)]
TapPair = Annotated[tuple[str, str], pydantic.Strict(False)]


class Section(pydantic.BaseModel):
    """Base of the recipe's sections. `PLUGIN_ARGUMENTS` says that further keys belong to a plug-in.

    The text below a key says what it means: tools/make_reference_pages.py makes a page of all.
    """

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
                    raise invalid(unknown_name("key", key, cls.model_fields))
        return received

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys that go to the plug-in."""
        return dict(self.model_extra or {})


def _check_schedule(value: Any) -> Any:
    try:
        schedules.parse(value, sign="non_negative")
    except RecipeError as error:
        raise invalid(str(error)) from error
    # Keys in one order, so that equal recipes print the same.
    return dict(sorted(value.items())) if isinstance(value, Mapping) else value


# A number, or a mapping such as {schedule: linear, from: 0, to: 1, end_epoch: 20}.
Scheduled = Annotated[NonNegativeFloat | dict[str, Any], pydantic.AfterValidator(_check_schedule)]


def check_plugin(
    section: Section, package: str, name: str, *, entry: str, own: tuple[str, ...] = (), scheduled: bool = False
) -> registry.Plugin:
    """Checks a section's further keys against the plug-in it names, and adds the plug-in's defaults to them.

    So printed recipes and hashes hold all that decides a run. `own` are parameters that do not come from those keys.
    Where `scheduled`, a number may also be given as a schedule.
    """
    try:
        registry.require(package, name)
    except RecipeError as error:
        raise invalid(str(error)) from error
    plugin = registry.describe(package, name, entry=entry)
    kind = f"argument of {registry.kind_of(package)} {name!r}:"
    check_described(section, plugin, kind=kind, own=own, scheduled=scheduled)
    return plugin


def check_described(
    section: Section, plugin: registry.Plugin, *, kind: str, own: tuple[str, ...] = (), scheduled: bool = False
) -> None:
    """Checks a section's further keys against a description, as `check_plugin` does; `kind` is what to call one."""
    options = {key: default for key, default in plugin.parameters.items() if key not in own}
    received = section.arguments
    try:
        registry.check_arguments(
            dataclasses.replace(plugin, parameters=options),
            received,
            kind=f"key or {kind}",
            also=tuple(type(section).model_fields),
        )
        plain = {key: value for key, value in received.items() if not (scheduled and _is_schedule(plugin, key, value))}
        registry.check_types(plugin, plain, kind=kind)
    except RecipeError as error:
        raise invalid(str(error)) from error
    if section.model_extra is not None:
        section.model_extra.clear()
        for key, default in options.items():
            value = received.get(key, list(default) if isinstance(default, tuple) else default)
            section.model_extra[key] = dict(sorted(value.items())) if isinstance(value, Mapping) else value


def _is_schedule(plugin: registry.Plugin, key: str, value: Any) -> bool:
    if plugin.annotations.get(key) != "float" or not isinstance(value, Mapping):
        return False
    schedules.parse(value, sign="positive" if key == "temperature" else "any")
    return True


def invalid(message: str) -> PydanticCustomError:
    """Returns the error to raise in a validator, with a message of ours."""
    # Braces would be read as a template by pydantic.
    return PydanticCustomError("edgekd", "{message}", {"message": message})
