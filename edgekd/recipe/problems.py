"""What is wrong with a recipe, in the words of the person who wrote it."""

from collections.abc import Mapping
from typing import Any

import pydantic

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


def first_problem(error: pydantic.ValidationError, document: Any) -> str:
    """Returns the first thing that is wrong, with the keys that lead to it."""
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
    return f"{prefix}expected {expected}; got {kind_of_value(problem['input'])} {problem['input']!r}."


def _path(location: tuple[str | int, ...], document: Any) -> list[str]:
    """Returns the keys of a place in the document; pydantic's names of a union's branches are left out."""
    keys, place = [], document
    for part in location:
        if isinstance(place, Mapping) and isinstance(part, int):
            continue  # one teacher, which need not stand in a list
        if isinstance(place, Mapping):
            place = place.get(part)
        elif isinstance(place, list) and isinstance(part, int):
            place = place[part] if part < len(place) else None
        else:
            continue
        keys.append(str(part))
    return keys


def kind_of_value(value: Any) -> str:
    """Returns what a value of a recipe is called in messages."""
    kinds: dict[type, str] = {
        dict: "a mapping", list: "a list", str: "a string", bool: "a truth value", int: "a whole number",
        float: "a number", type(None): "nothing",
    }  # fmt: skip
    return kinds.get(type(value), type(value).__name__)
