"""Quantisation schemes: what becomes of weights and activations, as data that formats and recipes share."""

import dataclasses
from typing import Any

from edgekd import registry
from edgekd.errors import RecipeError, unknown_name

_PACKAGE = "edgekd.quantize.schemes"


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How a model's numbers are stored.

    Attributes:
      name: its file's name.
      summary: one line for people.
      weight_bits: bits per stored weight (32 and 16 are floats, 8 an integer).
      activation_bits: bits per activation between operators (32 is float, 8 an integer).
      needs_calibration: whether activation ranges must be observed on sample inputs.
      aliases: other names for it, such as `wi8_ai8`: w weights, a activations, fp float, i integer, then the bits.
      formats: the export formats that can carry it.
    """

    name: str
    summary: str
    weight_bits: int
    activation_bits: int
    needs_calibration: bool
    aliases: tuple[str, ...]
    formats: tuple[str, ...]


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


def _read(name: str) -> Scheme:
    plugin = registry.describe(_PACKAGE, name, entry=None)

    def constant(key: str, kind: type) -> Any:
        value = plugin.constants.get(key)
        if type(value) is not kind:
            raise RecipeError(f"the scheme {name!r} must state {key} as a literal {kind.__name__}, not {value!r}.")
        return value

    return Scheme(
        name=name,
        summary=plugin.summary,
        weight_bits=constant("WEIGHT_BITS", int),
        activation_bits=constant("ACTIVATION_BITS", int),
        needs_calibration=constant("NEEDS_CALIBRATION", bool),
        aliases=constant("ALIASES", tuple),
        formats=constant("FORMATS", tuple),
    )
