"""From YAML, a mapping or options to a checked recipe; and the recipes that come with edgekd."""

import importlib.resources
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import ruamel.yaml

from edgekd import importing, schedules, storage
from edgekd.errors import RecipeError, unknown_name
from edgekd.recipe.data import Data
from edgekd.recipe.document import Recipe
from edgekd.recipe.problems import first_problem, kind_of_value
from edgekd.recipe.section import Section

RECIPE_FILE = "recipe.yaml"


def load(name_or_path: str, *, overrides: Iterable[str] = ()) -> Recipe:
    """Returns the checked recipe of a zoo name (`quickstart`) or of a YAML file.

    A relative path of a `model` in the file starts at the file's folder, so that a teacher can lie beside its recipe;
    one in an override starts at the current folder. The recipe holds it in full.

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
        raise RecipeError(f"recipe {name_or_path!r} holds {kind_of_value(document)}, not a mapping of sections.")
    plain = json.loads(_json(document, name_or_path))
    _complete_models(plain, path.parent)
    return from_document(plain, overrides=overrides, origin=name_or_path)


def from_document(document: Mapping[str, Any], *, overrides: Iterable[str] = (), origin: str = "given") -> Recipe:
    """Returns the checked recipe of a plain mapping, such as a parsed YAML document; see `load`.

    A relative path of a `model` starts at the current folder, for a mapping lies in none.
    """
    edited: dict[str, Any] = json.loads(_json(document, origin))
    for assignment in overrides:
        _assign(edited, assignment)
    _complete_models(edited, Path())
    try:
        return Recipe.model_validate_json(_json(edited, origin))
    except pydantic.ValidationError as error:
        raise RecipeError(f"recipe {origin!r}: {first_problem(error, edited)}") from error


def smoke(recipe: Recipe) -> Recipe:
    """Returns the same road made short: one epoch on a few hundred images, two processes hardly warmed up, wide gates.

    The numbers of a smoke run mean nothing; it shows that every stage works with this recipe.
    """
    document = recipe.model_dump(mode="json")
    teachers = document["teacher"] if isinstance(document["teacher"], list) else [document["teacher"]]
    later = [document["sparsify"]] if recipe.sparsify else []
    if recipe.quantize and recipe.quantize.aware:
        later.append(document["quantize"]["aware"])
    for network in (document["student"], *later, *(teacher for teacher in teachers if teacher)):
        if network.get("model") is not None and network is not document["student"]:
            continue  # a teacher that exists is not trained
        network |= {"epochs": 1, "warmup_epochs": 0.0, "early_stopping": None, "accumulation_steps": 1}
        network["clip_norm"] = network["clip_norm"] or 1.0  # without a warm-up, some networks would diverge
        if network["schedule"] == "step":
            network |= {"schedule": "cosine", "step_epochs": []}
    for key, limit in {"train_limit": 1024, "validation_limit": 256, "test_limit": 256}.items():
        document["data"][key] = min(limit, document["data"][key] or limit)
    document["calibration"]["samples"] = min(64, recipe.calibration.samples)
    document["verify"] |= {"max_accuracy_drop": 0.1, "min_agreement": 0.8, "min_agreement_with_int8_student": 0.98}
    document["verify"]["max_beyond_one_lsb"] = max(0.02, recipe.verify.max_beyond_one_lsb)
    if later:  # what is trained further after one epoch may well lose all that it had learned
        document["verify"]["max_accuracy_drop"] = None
    document["verify"] |= {"min_accuracy": None, "max_training_warnings": None}
    document["verify"] |= {"min_sqnr_db": 10.0, "max_auc_drop": None, "min_auc": None}
    document["verify"]["layer_samples"] = 0  # takes long, and nothing depends on it
    shortest = {"processes": 2, "min_warmup_seconds": 0.0, "max_warmup_seconds": 0.1}
    bench = document["bench"]
    bench |= {key: min(most, bench[key]) for key, most in shortest.items() if key in bench}
    for loss in document["distill"]["losses"]:  # one epoch may be too short for a schedule to begin
        loss["weight"] = schedules.parse(loss["weight"]).max_value()
    document["distill"]["generations"] = min(2, recipe.distill.generations)
    if recipe.data.unlabelled is not None:
        document["data"]["unlabelled"]["limit"] = min(256, recipe.data.unlabelled.limit or 256)
    document |= {"name": f"{recipe.name}-smoke", "smoke": True}
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


def assigned(assignments: Iterable[str]) -> dict[str, Any]:
    """Returns what `key=value` assignments come to; the value is read as YAML.

    Raises:
      RecipeError: one that is no assignment.
    """
    document: dict[str, Any] = {}
    for assignment in assignments:
        _assign(document, assignment)
    return document


SectionType = TypeVar("SectionType", bound=Section)


def section(kind: type[SectionType], document: Mapping[str, Any]) -> SectionType:
    """Returns one checked section of a plain mapping; RecipeError says what is wrong with it."""
    name = kind.__name__.lower()
    try:
        return kind.model_validate_json(_json(document, name))
    except pydantic.ValidationError as error:
        raise RecipeError(f"{name}: {first_problem(error, document)}") from error


def summary(path: Path) -> str:
    """Returns the first comment line of a recipe's file, which says what it is."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _complete_models(document: dict[str, Any], folder: Path) -> None:
    """Puts a folder before the relative paths of models; what is no path is left to the checks that follow."""
    teachers = document.get("teacher")
    for network in (document.get("student"), *(teachers if isinstance(teachers, list) else [teachers])):
        model = network.get("model") if isinstance(network, dict) else None
        if isinstance(model, str) and model and ((folder / model).exists() or not importing.is_name(model)):
            network["model"] = str((folder / model).absolute())


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
            raise RecipeError(f"--set {assignment!r}: {key!r} lies below {kind_of_value(place)}, which has no keys.")
    value = _parse(text, f"the value of --set {assignment!r}")
    if isinstance(place, list):
        place[_index(place, last, assignment)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise RecipeError(f"--set {assignment!r}: {last!r} lies below {kind_of_value(place)}, which has no keys.")


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
