"""Plug-ins are files: the file's name is the key, so adding one is dropping a file into its folder.

Nothing here imports a plug-in to list or describe it: the source is parsed instead. So `edgekd list` and the checks
of a recipe answer in milliseconds, although most plug-ins import Keras.
"""

import ast
import dataclasses
import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekd import annotation
from edgekd.errors import RecipeError, unknown_name

ALSO_TAKES = "ALSO_TAKES"  # a plug-in's constant: the function whose keyword parameters are its settings too
REQUIRED = object()  # stands for "no default" in Plugin.parameters


@dataclasses.dataclass(frozen=True)
class Plugin:
    """What can be known of a plug-in without importing it.

    Attributes:
      name: its file's name without the suffix.
      summary: the first line of its module's docstring.
      parameters: the keyword-only parameters of its entry function and their defaults (`REQUIRED` where none).
      constants: its module-level UPPER_CASE literals.
      annotations: the types of the annotated parameters, as written in the source.
    """

    name: str
    summary: str
    parameters: Mapping[str, Any]
    constants: Mapping[str, Any]
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)


def discover(package: str) -> tuple[str, ...]:
    """Returns the sorted names of the plug-ins in a package; names that start with an underscore are private.

    Raises:
      RecipeError: two files of the package's search path claim one name.
    """
    # One folder at a time: iter_modules keeps quiet about a name that it has seen in an earlier one.
    names: list[str] = [
        module.name
        for folder in _search_path(package)
        for module in pkgutil.iter_modules([folder])
        if not module.name.startswith("_")
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError(f"{package} has more than one plug-in named {', '.join(twice)}: rename or remove one.")
    return tuple(sorted(names))


def load(package: str, name: str) -> ModuleType:
    """Imports and returns a plug-in.

    Raises:
      RecipeError: there is none of that name; the message lists the known ones and suggests the nearest.
    """
    require(package, name)
    return importlib.import_module(f"{package}.{name}")


def require(package: str, name: str) -> None:
    """Raises RecipeError unless the package has a plug-in of that name."""
    names = discover(package)
    if name not in names:
        raise RecipeError(unknown_name(kind_of(package), name, names))


def kind_of(package: str) -> str:
    """Returns what one plug-in of a package is called in messages: `edgekd.losses` -> `loss`."""
    plural = package.rpartition(".")[2]
    return {
        "losses": "loss",
        "sources": "dataset source",
        "cli": "command",
        "export": "format",
        "ranges": "calibration",
    }.get(plural, plural.removesuffix("s"))


@functools.cache
def describe(package: str, name: str, *, entry: str | None) -> Plugin:
    """Returns a plug-in's summary, parameters and constants, read from its source without importing it.

    Args:
      package: dotted name of the folder.
      name: the plug-in.
      entry: name of its entry function, or None for a plug-in that is only data.
    """
    require(package, name)
    spec = _spec(f"{package}.{name}")
    if spec is None or spec.origin is None:
        raise RecipeError(f"{package}.{name} has no source file: install edgekd from its wheel or repository.")
    try:
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise RecipeError(f"{package}.{name} is not valid Python ({error}): mend or remove {spec.origin!r}.") from error
    arguments = None if entry is None else _entry(tree, f"{package}.{name}", entry).args
    constants = _literals(tree)
    shared = constants.pop(ALSO_TAKES, None)
    also = None if shared is None else _shared(shared)
    return Plugin(
        name=name,
        summary=(ast.get_docstring(tree) or "").partition("\n")[0],
        parameters={
            **({} if arguments is None else _parameters(arguments, f"{package}.{name}")),
            **({} if also is None else also.parameters),
        },
        constants=constants,
        annotations={
            **({} if arguments is None else _annotations(arguments)),
            **({} if also is None else also.annotations),
        },
    )


def _shared(function: str) -> Plugin:
    """Returns the parameters of a function that plug-ins of a folder take besides their own."""
    module, _, entry = function.rpartition(".")
    package, _, name = module.rpartition(".")
    return describe(package, name, entry=entry)


def check_arguments(plugin: Plugin, received: Mapping[str, Any], *, kind: str, also: tuple[str, ...] = ()) -> None:
    """Raises RecipeError unless every received key is a parameter and every required parameter is received.

    Args:
      plugin: the described plug-in.
      received: the arguments that a recipe gives it.
      kind: what to call it in the message, such as `argument of architecture 'resnet'`.
      also: other keys that are valid at that place of the recipe, for the suggestion.
    """
    for key in received:
        if key not in plugin.parameters:
            raise RecipeError(unknown_name(kind, key, [*plugin.parameters, *also]))
    missing = [key for key, default in plugin.parameters.items() if default is REQUIRED and key not in received]
    if missing:
        raise RecipeError(f"missing {kind}: {', '.join(missing)}. Give a value for each.")


def check_types(plugin: Plugin, received: Mapping[str, Any], *, kind: str) -> None:
    """Raises RecipeError unless every received value is of its parameter's annotated type.

    YAML 1.2 reads `no` as a string, which would pass for true.

    Args:
      plugin: the described plug-in.
      received: the arguments that a recipe gives it.
      kind: what to call one in the message, such as `argument of loss 'soft_logits':`.
    """
    for key, value in received.items():
        wanted = plugin.annotations.get(key)
        if wanted is not None and not annotation.fits(value, wanted):
            raise RecipeError(f"{kind} {key} must be {annotation.in_words(wanted)}, got {value!r}.")


def _search_path(package: str) -> list[str]:
    spec = _spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise RecipeError(f"{package} is not an importable package: check the installation with `edgekd doctor`.")
    return list(spec.submodule_search_locations)


def _spec(module: str) -> ModuleSpec | None:
    """Finds a module without importing the packages that it lies in, unlike importlib.util.find_spec."""
    top, *parts = module.split(".")
    spec = importlib.util.find_spec(top)
    for part in parts:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", list(spec.submodule_search_locations))
    return spec


def _is_constant(name: str) -> bool:
    return name.isupper() and not name.startswith("_")


def _entry(tree: ast.Module, module: str, entry: str) -> ast.FunctionDef:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            return node
    raise RecipeError(f"{module} does not define {entry}(): every plug-in of its folder must.")


def _parameters(arguments: ast.arguments, module: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        try:
            parameters[argument.arg] = REQUIRED if default is None else ast.literal_eval(default)
        except ValueError as error:
            raise RecipeError(
                f"{module}: the default of {argument.arg} is computed; write it as a literal, so that it can be read "
                "without importing the plug-in."
            ) from error
    return parameters


def _annotations(arguments: ast.arguments) -> dict[str, str]:
    return {each.arg: ast.unparse(each.annotation) for each in arguments.kwonlyargs if each.annotation is not None}


def _literals(tree: ast.Module) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(target, ast.Name) and _is_constant(target.id):
            try:
                constants[target.id] = ast.literal_eval(node.value) if node.value is not None else None
            except ValueError:
                continue  # not a literal: part of the module, not of its description
    return constants
