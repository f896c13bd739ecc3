"""Which runtime runs a file: `model.tflite` or `model.tflite@tflite_micro`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd import registry
from edgekd.errors import ModelError, unknown_name

PACKAGE = "edgekd.runtime"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to run files: an engine with options.

    Attributes:
      name: what users call it.
      engine: the file of this folder that does it.
      options: further arguments of its `open_runner`.
      suffixes: of the files that it opens.
      only_by_name: whether it is left out where all are asked for.
    """

    name: str
    engine: str
    options: Mapping[str, Any]
    suffixes: tuple[str, ...]
    only_by_name: bool = False


def variants() -> dict[str, Variant]:
    """Returns every way to run files, by name: what the engines state as VARIANTS, or else the engine itself."""
    found: dict[str, Variant] = {}
    for engine in registry.discover(PACKAGE):
        constants = registry.describe(PACKAGE, engine, entry=None).constants
        if "SUFFIXES" in constants:
            suffixes = tuple(constants.get("OPENS", constants["SUFFIXES"]))
            for name, options in constants.get("VARIANTS", {engine: {}}).items():
                found[name] = Variant(
                    name=name,
                    engine=engine,
                    options=options,
                    suffixes=suffixes,
                    only_by_name=constants.get("ONLY_BY_NAME", False),
                )
    return found


def all_for(suffix: str) -> list[str]:
    """Returns the names of all ways to run files of a suffix, apart from those that must be asked for by name."""
    return [each.name for each in variants().values() if suffix in each.suffixes and not each.only_by_name]


def variant(name: str, path: Path) -> Variant:
    """Returns the way of that name, if it opens such a file.

    Raises:
      ModelError: there is none of that name, or it opens other files; the message lists those that do.
    """
    known = variants()
    if name not in known:
        raise ModelError(unknown_name("runtime", name, known))
    found = known[name]
    if path.suffix.lower() not in found.suffixes:
        able = sorted(each.name for each in known.values() if path.suffix.lower() in each.suffixes)
        raise ModelError(
            f"runtime {name!r} opens {', '.join(found.suffixes)} files, not {str(path)!r}: for it there is "
            f"{', '.join(able) or 'no choice of runtimes'}."
        )
    return found


def split_choice(text: str) -> tuple[Path, str | None]:
    """Returns the path and the runtime of `PATH@RUNTIME`, or of a `PATH` alone (also of one that holds an @)."""
    path, mark, name = text.rpartition("@")
    if not mark or Path(text).exists() or "/" in name or "\\" in name:
        return Path(text), None
    return Path(path), name
