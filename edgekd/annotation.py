"""Types as they are written in a plug-in's source: whether a recipe's value fits one, and what it is called.

Types that are not understood, such as a class of the plug-in's own, fit everything: the plug-in checks them itself.
"""

import ast
import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any


def fits(value: Any, annotation: str) -> bool:
    """Returns whether a value of a YAML or JSON document fits an annotation such as `int | Sequence[int] | None`.

    A whole number fits `float`, a truth value fits `bool` only, NaN and infinity fit nothing, and a list fits
    `Sequence`, `list` and `tuple`.
    """
    return _fits(value, _parsed(annotation))


def in_words(annotation: str) -> str:
    """Returns what an error message calls the annotation: `int | None` -> `a whole number or null`."""
    return _in_words(_parsed(annotation))


def _is_number(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


_SEQUENCES = ("Sequence", "list", "tuple")
_SIMPLE: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "None": ("null", lambda value: value is None),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "int": ("a whole number", lambda value: _is_number(value) and isinstance(value, int)),
    "float": ("a finite number", _is_number),
    "str": ("a string", lambda value: isinstance(value, str)),
}


def _parsed(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def _fits(value: Any, wanted: ast.expr) -> bool:
    match wanted:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Subscript(value=ast.Name(id=name), slice=items) if name in _SEQUENCES:
            return isinstance(value, list | tuple) and _items_fit(value, items)
        case _:
            simple = _SIMPLE.get(ast.unparse(wanted))
            return simple is None or simple[1](value)


def _items_fit(values: Sequence[Any], wanted: ast.expr) -> bool:
    match wanted:
        case ast.Tuple(elts=[each, ast.Constant(value=builtins.Ellipsis)]):
            return all(_fits(value, each) for value in values)
        case ast.Tuple(elts=kinds):
            return len(values) == len(kinds) and all(map(_fits, values, kinds))
        case each:
            return all(_fits(value, each) for value in values)


def _in_words(wanted: ast.expr) -> str:
    match wanted:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return f"{_in_words(left)} or {_in_words(right)}"
        case ast.Subscript(value=ast.Name(id=name), slice=items) if name in _SEQUENCES:
            kinds = items.elts if isinstance(items, ast.Tuple) else [items]
            return f"a list ({', '.join(_in_words(kind) for kind in kinds)})"
        case ast.Constant(value=builtins.Ellipsis):
            return "and so on"
        case _:
            written = ast.unparse(wanted)
            return _SIMPLE[written][0] if written in _SIMPLE else written
