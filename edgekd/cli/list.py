"""edgekd list: what there is to choose from."""

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from edgekd import quantize, registry
from edgekd.cli import _options

# Each kind's package, and the function whose keyword arguments are the plug-in's options: `{}` is the plug-in's name.
KINDS = {
    "losses": ("edgekd.losses", "{}"),
    "adapters": ("edgekd.distill.adapters", "build"),
    "architectures": ("edgekd.architectures", "build"),
    "datasets": ("edgekd.data.sources", "load"),
    "schemes": ("edgekd.quantize.schemes", None),
    "calibrations": ("edgekd.quantize.ranges", "estimate"),
    "formats": ("edgekd.export", "export"),
}


_KINDS_OF_TARGETS = {
    "measure": "measures",
    "estimate": "reckons; nothing is measured",
    "compare": "compares outputs; nothing is measured",
}
_NAME_WIDTH = 20
_LINE_WIDTH = 120
_SUPPLIED = {"seed", "address", "on_progress"}  # by who calls the plug-in


@click.command("list")
@click.argument("kind", metavar="KIND", type=_options.Choice([*KINDS, "targets", "recipes"]))
@_options.json_option
@_options.debug_option
def command(kind: str, as_json: bool) -> None:
    """Show what is installed of KIND.

    KIND is losses, adapters, architectures, datasets, schemes, calibrations, formats, targets or recipes.
    """
    rows: dict[str, dict[str, object]]
    if kind == "recipes":
        from edgekd import recipe

        rows = {name: {"summary": recipe.summary(path), "path": str(path)} for name, path in recipe.zoo().items()}
    elif kind == "schemes":
        rows = {each.name: {**dataclasses.asdict(each), "options": {}} for each in quantize.all_schemes()}
    elif kind == "targets":
        from edgekd.recipe import TARGET_ENTRIES

        rows = {name: row for package, entry in TARGET_ENTRIES.items() for name, row in _targets(package, entry)}
    else:
        package, entry = KINDS[kind]
        plugins = [
            registry.describe(package, name, entry=entry and entry.format(name)) for name in registry.discover(package)
        ]
        rows = {plugin.name: _row(plugin) for plugin in plugins}
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(_NAME_WIDTH, *map(len, rows))
    indent = " " * (width + 3)
    for name, row in rows.items():
        click.echo(f"{name:{width}} {row['summary']}")
        for line in _scheme_details(quantize.scheme(name)) if kind == "schemes" else _details(row):
            wrapped = textwrap.wrap(
                line, _LINE_WIDTH - len(indent), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
            click.echo("\n".join(f"{indent}{each}" for each in wrapped))


def _targets(package: str, entry: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yields the targets of a package, with what each lacks on this machine, and the settings that are used there."""
    from edgekd import recipe
    from edgekd.bench import availability
    from edgekd.bench.plan import make_plan

    used = dataclasses.asdict(make_plan()) if package == recipe.TARGETS else {}
    for name in registry.discover(package):
        plugin = registry.describe(package, name, entry=entry)
        row = _row(plugin)
        row = {key: value for key, value in row.items() if key not in ("modules", "programs", "folders")}
        options = {key: used.get(key, default) for key, default in row["options"].items()}
        told = {"kind": _KINDS_OF_TARGETS[entry], "missing": availability.missing(plugin)}
        yield recipe.shown_name(name), {**row, "options": options, **told}


def _row(plugin: registry.Plugin) -> dict[str, Any]:
    needs = plugin.constants.get("NEEDS", ())
    options = {
        name: "required" if default is registry.REQUIRED else default
        for name, default in plugin.parameters.items()
        if name not in {*_SUPPLIED, *needs}
    }
    return {"summary": plugin.summary, "options": options, **{k.lower(): v for k, v in plugin.constants.items()}}


def _details(row: dict[str, object]) -> list[str]:
    hidden = {"summary", "options", "path", "least_at_teacher", "may_differ"}  # what only tests ask for
    shown = {key: value for key, value in row.items() if key not in hidden}
    options, label = row.get("options"), ""
    if "missing" in shown and isinstance(options, dict):
        label = "--set "
        if row["kind"] == _KINDS_OF_TARGETS["measure"]:
            options = {name: value for name, value in options.items() if name not in _options_of_bench()}
    lines = []
    if isinstance(options, dict) and options:
        told = (name if value is None else f"{name}={value}" for name, value in options.items())
        lines.append(label + ", ".join(told))
    if "missing" in shown:
        lacking = shown.pop("missing")
        shown["usable here"] = (
            f"no: it needs {' and '.join(lacking)}" if isinstance(lacking, tuple) and lacking else "yes"
        )
    lines += [f"{key}: {', '.join(map(str, v)) if isinstance(v, tuple) else v}" for key, v in shown.items()]
    return lines


def _options_of_bench() -> set[str]:
    """Returns the settings of targets that have options of their own, which `edgekd bench --help` explains."""
    from edgekd.cli import bench

    return {"num_threads", *(str(each.name) for each in bench.command.params)}


def _scheme_details(scheme: quantize.Scheme) -> list[str]:
    weights, others = scheme.weight_bits, scheme.other_weight_bits
    return [
        f"weights: {weights} bits{'' if others == weights else f' ({others} where no kernel has {weights})'}, "
        f"activations: {scheme.activation_bits} bits, arithmetic: {scheme.arithmetic}",
        f"calibration: {'needed' if scheme.needs_calibration else 'none'}, "
        f"quantisation-aware training: {'yes' if scheme.aware else 'no'}",
        f"formats: {', '.join(scheme.formats)}; inputs and outputs: {', '.join(scheme.dtypes)}; "
        f"runtimes: {', '.join(scheme.runtimes)}",
        f"also called {', '.join(scheme.aliases)}",
    ]
