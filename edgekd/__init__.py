"""edgekd distils, quantises, exports, proves and measures small models for edge devices.

Importing it imports no TensorFlow: the names below are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.api import (
        analyse_sensitivity,
        bench_models,
        check_conversion,
        check_export,
        create_model,
        diff_models,
        distill_model,
        distill_peers,
        distill_self,
        export_model,
        inspect_model,
        load_data,
        quantize_model,
        sparsify_model,
        train_model,
        verify_model,
        verify_models,
        write_c_source,
    )
    from edgekd.errors import EdgekdError
    from edgekd.pipeline import run
    from edgekd.recipe import Recipe
    from edgekd.recipe import load as load_recipe

__all__ = [
    "EdgekdError",
    "Recipe",
    "analyse_sensitivity",
    "bench_models",
    "check_conversion",
    "check_export",
    "create_model",
    "diff_models",
    "distill_model",
    "distill_peers",
    "distill_self",
    "export_model",
    "inspect_model",
    "load_data",
    "load_recipe",
    "quantize_model",
    "run",
    "sparsify_model",
    "train_model",
    "verify_model",
    "verify_models",
    "write_c_source",
]

_ELSEWHERE = {
    "EdgekdError": ("edgekd.errors", "EdgekdError"),
    "Recipe": ("edgekd.recipe", "Recipe"),
    "load_recipe": ("edgekd.recipe", "load"),
    "run": ("edgekd.pipeline", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgekd' has no attribute {name!r}")
    module, attribute = _ELSEWHERE.get(name, ("edgekd.api", name))
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
