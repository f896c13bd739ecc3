"""Holds cards and records under models/ to what may be told of a machine: no place on it, no build of its kernel.

    python tools/shipped_records.py
    python tools/shipped_records.py --mend

A place is any absolute path, one from a home folder on, or one of a Windows drive or share, whether it exists here or
not. `--mend` takes the names of kernel builds out of records; a place has to be taken out where it came in. The exit
status is 1 where something stays that may not.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd import storage
from edgekd.errors import StorageError
from edgekd.records import Environment

ZOO = Path("models")
# What a path may not go on from: "T-shirt/top" and "../teacher.keras" are none. "/255" is a division.
_PLACES = re.compile(
    r"""(?<![\w.~/])/+(?![\d.]+(?![\w./-]))[^\s"',;()\[\]{}|`<>]+     # /home/name, file:///home/name
      | (?<![\w~])~[\w.-]*[/\\][^\s"',;()\[\]{}|`<>]*                  # ~/data, ~name/data
      | (?<!\w)[A-Za-z]:[\\/][^\s"',;()\[\]{}|`<>]*                    # C:\Users, C:/Users
      | \\\\[\w.-]+\\[^\s"',;()\[\]{}|`<>]*                            # \\server\share
    """,
    re.VERBOSE,
)
_URL = re.compile(r"\bhttps?://[^\s\"'<>]+")
_SYSTEM = re.compile(r"(?P<system>[A-Za-z]+)(?P<between>[- ])(?P<release>\d+(?:\.\d+){0,2})")
_LIBRARY = re.compile(r"-with-[A-Za-z]+[\d.]+$")


def places(text: str) -> tuple[str, ...]:
    """Returns the places on a machine that a text names; addresses of the web are none."""
    return tuple(dict.fromkeys(_PLACES.findall(_URL.sub("", text))))


def places_in(document: Any) -> tuple[str, ...]:
    """Returns the places that the keys and texts of a plain document name."""
    return tuple(dict.fromkeys(place for text in _texts(document) for place in places(text)))


def without_places(text: str) -> str:
    """Returns a text in which each place on a machine is told by its last name alone."""
    for place in sorted(places(text), key=len, reverse=True):  # one may begin as another does
        text = text.replace(place, re.split(r"[/\\]", place.rstrip("/\\"))[-1])
    return text


def without_builds(document: Any) -> Any:
    """Returns a plain document with systems as `without_build` tells them.

    These are the `platform` of an `edgekd.records.Environment` and the `system` of a `Machine`.
    """
    if isinstance(document, list):
        return [without_builds(each) for each in document]
    if not isinstance(document, Mapping):
        return document
    found = {key: without_builds(value) for key, value in document.items()}
    for key, machine in (("platform", "machine"), ("system", "architecture")):
        if isinstance(found.get(key), str) and isinstance(found.get(machine), str):
            found[key] = without_build(found[key], machine=found[machine])
    return found


def without_build(system: str, *, machine: str) -> str:
    """Returns what a system is called, with three numbers of its release at most.

    `Linux-6.18.44-name-x86_64-with-glibc2.36` is `Linux-6.18.44-x86_64-with-glibc2.36`, and `Linux 6.18.44-name` is
    `Linux 6.18.44`. A name of another form becomes its first word.
    """
    found = _SYSTEM.match(system)
    if found is None:
        return system.partition(" ")[0]
    architecture = f"-{machine}" if found["between"] == "-" else ""
    library = _LIBRARY.search(system)
    return f"{found.group()}{architecture}{library.group() if library else ''}"


def told(environment: Environment) -> Environment:
    """Returns an environment as a record tells it that is to be shipped."""
    system = without_build(environment.platform, machine=environment.machine)
    return environment.model_copy(update={"platform": system})


def shipped(zoo: Path) -> tuple[Path, ...]:
    """Returns the cards and records of a zoo."""
    return tuple(sorted([*zoo.rglob("card.md"), *zoo.rglob("results/*.json")]))


def problems(path: Path) -> Iterator[str]:
    """Yields what a card or record tells and may not; raises StorageError of a record that cannot be read."""
    document = _document(path) if path.suffix == ".json" else path.read_text(encoding="utf-8")
    for place in places_in(document):
        yield f"{path}: names {place}, a place on a machine"
    for told, build in _builds(document, without_builds(document)):
        yield f"{path}: says {told!r}, where {build!r} is enough: {Path(__file__).name} --mend"


def mend(path: Path) -> None:
    """Takes the names of kernel builds out of a record, and leaves the rest as it is written."""
    if path.suffix != ".json":
        return  # tools/make_cards.py makes cards of records
    document = _document(path)
    mended = text = path.read_text(encoding="utf-8")
    for told, enough in _builds(document, without_builds(document)):
        mended = mended.replace(json.dumps(told, ensure_ascii=False), json.dumps(enough, ensure_ascii=False))
    if mended != text:
        storage.write_text(path, mended)


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError(f"{str(path)!r} is no JSON ({error}): make it again by what wrote it.") from error


def _texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, Mapping):
        for key, value in document.items():
            yield key
            yield from _texts(value)
    elif isinstance(document, list):
        for each in document:
            yield from _texts(each)


def _builds(before: Any, after: Any) -> tuple[tuple[str, str], ...]:
    """Returns texts that two documents of one form have in the same places, where they differ."""
    pairs = zip(_texts(before), _texts(after), strict=True)
    return tuple(dict.fromkeys((one, other) for one, other in pairs if one != other))


def main(arguments: Sequence[str] | None = None) -> int:
    """Looks at all that is shipped: 1 where it tells what it may not, 2 where a record cannot be read."""
    parser = argparse.ArgumentParser(
        description="Holds cards and records under models/ to what may be told of a machine.",
        epilog="The exit status is 1 where a place on a machine or a build of its kernel is told.",
    )
    parser.add_argument("--mend", action="store_true", help="take the names of kernel builds out of records")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="the folder of recipes (default: models)")
    options = parser.parse_args(arguments)
    paths = shipped(options.zoo) or parser.error(f"nothing is shipped under {str(options.zoo)!r}")
    try:
        for path in paths if options.mend else ():
            mend(path)
        found = [problem for path in paths for problem in problems(path)]
    except StorageError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write("".join(f"{each}\n" for each in found) or f"{len(paths)} cards and records tell nothing of that\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
