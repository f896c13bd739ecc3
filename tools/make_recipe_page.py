#!/usr/bin/env python3
"""Writes docs/reference/recipe.md: every key of a recipe with its type, default and meaning.

Keys, types and defaults are those of the models in edgekd/recipe/, meanings the text that stands below each key there.

Usage: .venv/bin/python tools/make_recipe_page.py
"""

import argparse
import ast
import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
from pydantic_core import PydanticUndefined

from edgekd import recipe, storage
from edgekd.report import markdown_table

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "recipe.md"
COMMAND = ".venv/bin/python tools/make_recipe_page.py"

# Where each section stands in a recipe; the whole recipe comes first.
_PLACES: Mapping[type[recipe.Section], str] = {
    recipe.Recipe: "The whole",
    recipe.Data: "data",
    recipe.Augment: "data.augment",
    recipe.Unlabelled: "data.unlabelled",
    recipe.Network: "student",
    recipe.Teacher: "teacher",
    recipe.Training: "Settings of a training",
    recipe.Distill: "distill",
    recipe.Loss: "distill.losses",
    recipe.Adapter: "distill.losses.adapter",
    recipe.Ensemble: "distill.ensemble",
    recipe.Cache: "distill.cache",
    recipe.Peer: "distill.peers",
    recipe.Sparsify: "sparsify",
    recipe.Prune: "sparsify.prune",
    recipe.Ramp: "sparsify.prune.ramp, sparsify.shrink.ramp",
    recipe.Cluster: "sparsify.cluster",
    recipe.Shrink: "sparsify.shrink",
    recipe.Quantize: "quantize",
    recipe.Aware: "quantize.aware",
    recipe.Export: "export",
    recipe.Calibration: "calibration",
    recipe.Verify: "verify",
    recipe.Bench: "bench",
}
_NAMED = {each.__name__: each for each in _PLACES}
_FURTHER: Mapping[type[recipe.Section], str] = {
    recipe.Data: "[datasets](datasets.md)",
    recipe.Unlabelled: "[datasets](datasets.md)",
    recipe.Network: "[architectures](architectures.md)",
    recipe.Teacher: "[architectures](architectures.md)",
    recipe.Peer: "[architectures](architectures.md)",
    recipe.Loss: "[losses](../losses.md)",
    recipe.Adapter: "[adapters](../losses.md)",
    recipe.Quantize: "[calibrations](calibrations.md)",
    recipe.Export: "[formats](formats.md)",
    recipe.Bench: "[targets](targets.md)",
}
_NOTHING = "–"
_PLAIN = {
    "string": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "null": "null",
}

_HEAD = f"""\
# The recipe

Made from the models in `edgekd/recipe/` by `{COMMAND}`; a test fails when it is out of date.

A recipe is strict YAML 1.2: an unknown key is an error that names the nearest known one, and so is a value of another
type. `edgekd run RECIPE --print` shows a recipe with every default, and `--set student.epochs=3` sets one key of it
(items of a list count from 0). How the sections work together is in the guides; here is what each key means.
"""


def page() -> str:
    """Returns the whole page."""
    return "\n".join([_HEAD, *(_section(kind, place) for kind, place in _PLACES.items())])


def _section(kind: type[recipe.Section], place: str) -> str:
    parts = [f"## {place}", inspect.cleandoc(kind.__doc__ or "")]
    base = kind.__mro__[1]
    if base is not recipe.Section:
        parts.append(f"It also has the keys of {_link(base)}." if base in _PLACES else "")
    if kind in _FURTHER:
        parts.append(f"Further keys: {_FURTHER[kind]}.")
    elif kind.PLUGIN_ARGUMENTS:
        raise SystemExit(f"{kind.__name__} takes further keys: say in _FURTHER whose.")
    return "\n\n".join([*parts, _table(kind)])


def _table(kind: type[recipe.Section]) -> str:
    properties = kind.model_json_schema()["properties"]
    meanings = _meanings(kind)
    rows = []
    for key in kind.__annotations__:
        if key in kind.model_fields:
            if key not in meanings:
                raise SystemExit(f"{kind.__name__}.{key} has no text below it: say what the key means.")
            rows.append((f"`{key}`", _in_words(properties[key]), _default(kind, key), meanings[key]))
    return markdown_table.of_markdown(("key", "type", "default", "meaning"), rows) + "\n"


def _meanings(kind: type[recipe.Section]) -> dict[str, str]:
    """Returns the texts below the keys in a section's source."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - it is the source of a class
    found = {}
    for key, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(key, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(key.target)] = " ".join(str(text.value.value).split())
    return found


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return _link(_NAMED[schema["$ref"].rpartition("/")[2]])
    if "prefixItems" in schema:
        return f"[{', '.join(_in_words(each) for each in schema['prefixItems'])}]"
    if schema["type"] == "array":
        return f"list of {_in_words(schema['items'])}"
    return _PLAIN[schema["type"]] + _limits(schema)


def _limits(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return f" {' and '.join(found)}" if found else ""


def _default(kind: type[recipe.Section], key: str) -> str:
    value = kind.model_fields[key].get_default(call_default_factory=True)
    if value is PydanticUndefined:
        try:  # a default of the section rather than of the key
            value = getattr(kind.model_validate({}), key)
        except pydantic.ValidationError:
            return "required"
    if isinstance(value, recipe.Section):
        return "its defaults"
    if isinstance(value, tuple) and value and isinstance(value[0], recipe.Section):
        return "see meaning"
    return _NOTHING if value in (None, (), "") else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(list(value) if isinstance(value, Sequence) else value).replace('"', "")


def _link(kind: type) -> str:
    place = _PLACES[kind]
    anchor = "".join(letter for letter in place.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
    return f"[{place.split(', ')[0]}](#{anchor})"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    storage.write_text(PAGE, page())
