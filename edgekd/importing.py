"""What a user names as package.module:function: a network of their own, a teacher."""

import contextlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekd.errors import ModelError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_name(text: str) -> bool:
    """Returns whether a text has the form package.module:function."""
    return _NAME.fullmatch(text) is not None


def load(name: str, *, role: str) -> Any:
    """Returns what package.module:function names.

    Args:
      name: for which `is_name` holds.
      role: what messages call it, such as `teacher`.

    Raises:
      ModelError: the module does not exist or cannot be imported, or does not have that name.
    """
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise ModelError(
                f"{role} {name!r}: there is no module {error.name!r} in {str(Path.cwd())!r} or among the installed "
                "packages: run edgekd from the folder that holds it, or install it."
            ) from error
        raise ModelError(f"{role} {name!r}: importing {module_name!r} failed: {error}.") from error
    except Exception as error:  # the user's module may fail in any way
        raise ModelError(
            f"{role} {name!r}: importing {module_name!r} failed with {type(error).__name__}: {error}."
        ) from error
    if not hasattr(module, function_name):
        known = sorted(key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_")
        raise ModelError(
            f"{role} {name!r}: {module_name!r} has no function {function_name!r}. "
            f"Its functions: {', '.join(known) or 'none'}."
        )
    return getattr(module, function_name)


@contextlib.contextmanager
def importable(folder: str) -> Iterator[None]:
    """Puts a folder on Python's path while the user's code runs."""
    # A string of its own, told from equal ones by identity: other threads and the user's code add such entries too.
    entry = f"{folder}{os.sep}"[:-1]
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        at = next((at for at, each in enumerate(sys.path) if each is entry), None)
        if at is not None:  # the user's code may have changed the path itself
            del sys.path[at]
