"""Which targets can be used on this machine, and what the others need: nothing of theirs is imported to find out."""

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec

from edgekd import recipe
from edgekd.errors import TargetError
from edgekd.registry import Plugin


def missing(plugin: Plugin, settings: Mapping[str, object] | None = None) -> tuple[str, ...]:
    """Returns what a target needs and this machine lacks, in words that say how to get it.

    Args:
      plugin: a described target; its MODULES maps modules to what `pip install` installs them by, its PROGRAMS maps
        programs (`a|b` is either) to what provides them, its FOLDERS maps settings that name a folder to a variable of
        the environment that does so too and to what is in the folder.
      settings: that are given.
    """
    modules = {
        module: f"the module {module} (pip install '{install}')"
        for module, install in plugin.constants.get("MODULES", {}).items()
        if find_spec(module) is None
    }
    programs = {
        program: f"the program {program.partition('|')[0]} ({source})"
        for program, source in plugin.constants.get("PROGRAMS", {}).items()
        if not any(map(shutil.which, program.split("|")))
    }
    folders = {
        setting: f"a folder, named by the setting {setting} or by {variable}, with {content}"
        for setting, (variable, content) in plugin.constants.get("FOLDERS", {}).items()
        if not (settings or {}).get(setting) and not os.environ.get(variable)
    }
    return (*modules.values(), *programs.values(), *folders.values())


def require(plugin: Plugin, settings: Mapping[str, object] | None = None) -> None:
    """Raises TargetError unless this machine, with the settings given, has all that a target needs."""
    lacking = missing(plugin, settings)
    if lacking:
        raise TargetError(f"target {recipe.shown_name(plugin.name)!r} needs {' and '.join(lacking)}.")
