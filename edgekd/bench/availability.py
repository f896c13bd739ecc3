"""Which targets can be used on this machine, and what the others need: nothing of theirs is imported to find out."""

import shutil
from importlib.util import find_spec

from edgekd.errors import TargetError
from edgekd.registry import Plugin


def missing(plugin: Plugin) -> tuple[str, ...]:
    """Returns what a target needs and this machine lacks, in words that say how to get it.

    Args:
      plugin: a described target; its MODULES maps modules to what `pip install` installs them by, its PROGRAMS maps
        programs to what provides them.
    """
    modules = {
        module: f"the module {module} (pip install '{install}')"
        for module, install in plugin.constants.get("MODULES", {}).items()
        if find_spec(module) is None
    }
    programs = {
        program: f"the program {program} ({source})"
        for program, source in plugin.constants.get("PROGRAMS", {}).items()
        if shutil.which(program) is None
    }
    return (*modules.values(), *programs.values())


def require(plugin: Plugin) -> None:
    """Raises TargetError unless this machine has all that a target needs."""
    lacking = missing(plugin)
    if lacking:
        raise TargetError(f"target {plugin.name!r} needs {' and '.join(lacking)}.")
