"""Quantisation schemes: what becomes of weights and activations, as data that formats and recipes share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from edgekd import registry
from edgekd.errors import RecipeError, unknown_name

_PACKAGE = "edgekd.quantize.schemes"
_ARITHMETICS = ("float", "dynamic", "integer")


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How a model's numbers are stored and computed with.

    Attributes:
      name: its file's name.
      summary: one line for people.
      weight_bits: bits per stored weight (32 and 16 are floats, 8 and 4 integers).
      other_weight_bits: the same for weights of operators that have no kernel for `weight_bits`.
      activation_bits: bits per activation between operators (32 is float, 16 and 8 integers).
      arithmetic: `float`, where stored weights become float32 before they are used; `dynamic`, where activations are
        float32 and are quantised to int8 while running, for products of integers; `integer`, from the file's input to
        its output.
      needs_calibration: whether activation ranges must be observed on sample inputs.
      aware: whether quantisation-aware training can prepare a network for it.
      aliases: other names for it, such as `wi8_ai8`: w weights, a activations, fp float, i integer, then the bits;
        before that `weight_only` or `dynamic` where two schemes have the same bits.
      formats: the export formats that can carry it.
      dtypes: what a file's inputs and outputs can be.
      runtimes: the engines that compute it right.
    """

    name: str
    summary: str
    weight_bits: int
    other_weight_bits: int
    activation_bits: int
    arithmetic: str
    needs_calibration: bool
    aware: bool
    aliases: tuple[str, ...]
    formats: tuple[str, ...]
    dtypes: tuple[str, ...]
    runtimes: tuple[str, ...]


def all_schemes() -> tuple[Scheme, ...]:
    """Returns every scheme, by name, without importing anything.

    Raises:
      RecipeError: a scheme's file lacks a constant or has one of the wrong type, or two schemes claim one alias.
    """
    found = tuple(_read(name) for name in registry.discover(_PACKAGE))
    owners: dict[str, str] = {}
    for each in found:
        for key in (each.name, *each.aliases):
            if key in owners:
                raise RecipeError(f"the schemes {owners[key]!r} and {each.name!r} both claim the name {key!r}.")
            owners[key] = each.name
    return found


def scheme(name: str) -> Scheme:
    """Returns the scheme of that name or alias.

    Raises:
      RecipeError: there is none; the message lists the names and suggests the nearest name or alias.
    """
    every = all_schemes()
    for candidate in every:
        if name == candidate.name or name in candidate.aliases:
            return candidate
    raise RecipeError(unknown_name("scheme", name, [key for each in every for key in (each.name, *each.aliases)]))


def needs_calibration(name: str, layers: Mapping[str, str] | None = None) -> bool:
    """Returns whether a file of a scheme, with other schemes for some layers, is calibrated on sample inputs.

    Raises:
      RecipeError: there is no such scheme.
    """
    return any(scheme(each).needs_calibration for each in (name, *(layers or {}).values()))


def label(name: str, layers: Mapping[str, str] | None = None) -> str:
    """Returns what records call a file's scheme, with other schemes for some layers: `int8, logits: float32`."""
    others = (f"{pattern}: {scheme(each).name}" for pattern, each in sorted((layers or {}).items()))
    return ", ".join((scheme(name).name, *others))


def _read(name: str) -> Scheme:
    plugin = registry.describe(_PACKAGE, name, entry=None)

    def constant(key: str, kind: type) -> Any:
        value = plugin.constants.get(key)
        if type(value) is not kind:
            raise RecipeError(f"the scheme {name!r} must state {key} as a literal {kind.__name__}, not {value!r}.")
        return value

    weight_bits = constant("WEIGHT_BITS", int)
    arithmetic = constant("ARITHMETIC", str)
    if arithmetic not in _ARITHMETICS:
        raise RecipeError(
            f"the scheme {name!r} states ARITHMETIC {arithmetic!r}, not one of {', '.join(_ARITHMETICS)}."
        )
    return Scheme(
        name=name,
        summary=plugin.summary,
        weight_bits=weight_bits,
        other_weight_bits=constant("OTHER_WEIGHT_BITS", int)
        if "OTHER_WEIGHT_BITS" in plugin.constants
        else weight_bits,
        activation_bits=constant("ACTIVATION_BITS", int),
        arithmetic=arithmetic,
        needs_calibration=constant("NEEDS_CALIBRATION", bool),
        aware=constant("AWARE", bool),
        aliases=constant("ALIASES", tuple),
        formats=constant("FORMATS", tuple),
        dtypes=constant("DTYPES", tuple),
        runtimes=constant("RUNTIMES", tuple),
    )
