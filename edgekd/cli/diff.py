"""edgekd diff: what changed between two exported models."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd.cli import _options

if TYPE_CHECKING:  # --help must not wait for it
    from edgekd.diff import Change, Difference, QuantisationChange

_ROWS = 20


@click.command("diff")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--exit-code", is_flag=True, help="End with exit status 1 where they differ in more than layout.")
@click.option("--all", "show_all", is_flag=True, help=f"List every change, not the first {_ROWS} of each table.")
@_options.json_option
@_options.debug_option
def command(old: Path, new: Path, exit_code: bool, show_all: bool, as_json: bool) -> None:
    """Show what changed from OLD to NEW, two .tflite or two .onnx files.

    Interface, operators, quantisation, weights with their errors, size and metadata. Operators are matched by structure
    and weights, not by position: one that was put in or left out does not make all later ones differ. What the two
    compute is for `edgekd verify`.
    """
    from edgekd.diff import diff_models

    found = diff_models(old, new)
    if as_json:
        _options.print_json(found)
    else:
        _print(found, None if show_all else _ROWS)
    if exit_code and found.kinds:
        raise SystemExit(1)


def _print(found: "Difference", most: int | None) -> None:
    _options.say(f"{found.old.name} -> {found.new.name}: {_verdict(found)}")
    if found.identical:
        return
    from edgekd.report import formatting

    sizes = ((found.old.size_bytes, found.new.size_bytes), (found.old.weights_bytes, found.new.weights_bytes))
    file, weights = (f"{before:,} -> {after:,} bytes ({_percent(before, after)})" for before, after in sizes)
    _options.say(f"size {file}, weights {weights}")
    if found.old.macs != found.new.macs:
        _options.say(f"MACs {formatting.count(found.old.macs)} -> {formatting.count(found.new.macs)}")
    _options.say(
        f"{found.matched} operators matched of {found.old.operators} and {found.new.operators}; "
        f"{len(found.weights)} of {found.weights_compared} constants differ"
    )
    if found.renamed:
        _options.say(
            f"{formatting.counted(found.renamed, 'tensor')} inside {'has' if found.renamed == 1 else 'have'} new names"
        )
    shown = [change for change in (*found.format, *found.interface, *found.state) if not change.within_rounding]
    for change in shown if most else (*found.format, *found.interface, *found.state):
        _options.say(f"  {_line(change)}")
    _print_operators(found, most)
    _print_quantisation(found, most)
    _print_weights(found, most)
    _print_rounded(found)
    for change in found.metadata:
        _options.say(f"metadata: {_line(change)}")


def _verdict(found: "Difference") -> str:
    if found.identical:
        return "identical"
    if not found.kinds:
        return "the same model; only the layout of the bytes or names inside the graph differ"
    if found.kinds == ("metadata",):
        return "the same model; only metadata differs"
    rounded = _only_rounded(found)
    return f"differ in {', '.join(f'{kind} (within rounding)' if kind in rounded else kind for kind in found.kinds)}"


def _only_rounded(found: "Difference") -> set[str]:
    """Returns in what the two differ by no more than how numbers were rounded."""
    parts: dict[str, Sequence[Any]] = {
        "interface": found.interface,
        "quantisation": found.quantisation,
        "weights": found.weights,
    }
    return {kind for kind, changes in parts.items() if changes and all(each.within_rounding for each in changes)}


def _print_rounded(found: "Difference") -> None:
    """Prints one line for all that differs by rounding only."""
    from edgekd.report import formatting

    constants = [each for each in found.weights if each.within_rounding]
    changed: tuple[Change | QuantisationChange, ...] = (*found.interface, *found.quantisation)
    scales = sum(each.within_rounding for each in changed)
    parts = []
    if constants:
        largest = formatting.number(max(each.max_abs or 0.0 for each in constants))
        parts.append(f"{formatting.counted(len(constants), 'constant')} (at most {largest} apart)")
    if scales:
        parts.append(formatting.counted(scales, "scale"))
    if parts:
        _options.say(f"equal within rounding: {', '.join(parts)}; --all lists them")


def _print_operators(found: "Difference", most: int | None) -> None:
    rows = [
        (
            each.kind,
            each.operator,
            _shortened(each.name),
            "; ".join(_line(change) for change in each.changes),
        )
        for each in found.operators
    ]
    _print_table(("Operator", "Kind", "Makes", "Changes"), rows, most)


def _print_quantisation(found: "Difference", most: int | None) -> None:
    rows = [
        (
            _shortened(each.name),
            each.old or "float",
            each.new or "float",
            "" if each.scale_ratio is None else f"{each.scale_ratio:.4g}",
        )
        for each in sorted(found.quantisation, key=lambda each: -(each.scale_ratio or float("inf")))
        if most is None or not each.within_rounding
    ]
    _print_table(("Quantised tensor", "Old", "New", "Scale ratio"), rows, most)


def _print_weights(found: "Difference", most: int | None) -> None:
    from edgekd.report import formatting

    rows = []
    for each in sorted(found.weights, key=lambda each: -(each.relative_l2 or float("inf"))):
        if most is not None and each.within_rounding:
            continue
        dtype = each.new_dtype if each.old_dtype == each.new_dtype else f"{each.old_dtype} -> {each.new_dtype}"
        shape = _shape(each.new_shape)
        shape = shape if each.old_shape == each.new_shape else f"{_shape(each.old_shape)} -> {shape}"
        changed = "" if each.changed_fraction is None else formatting.percent(each.changed_fraction)
        errors = ("" if error is None else formatting.number(error) for error in (each.max_abs, each.relative_l2))
        rows.append((_shortened(each.name), each.operator, dtype, shape, changed, *errors))
    headers = ("Constant", "Of", "Type", "Shape", "Changed", "Largest error", "Relative L2")
    _print_table(headers, rows, most)


def _print_table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]], most: int | None) -> None:
    from edgekd.cli import _tables

    if not rows:
        return
    _options.say()
    _tables.print_rows(headers, rows[:most])
    if most is not None and len(rows) > most:
        _options.say(f" and {len(rows) - most:,} more: --all lists them")


def _line(change: "Change") -> str:
    if change.old is None:
        return f"{change.what}: added, {_value(change.new)}"
    if change.new is None:
        return f"{change.what}: removed, was {_value(change.old)}"
    return f"{change.what}: {_value(change.old)} -> {_value(change.new)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_value(each)}" for name, each in value.items())
    if isinstance(value, list):
        return f"[{', '.join('?' if each is None else str(each) for each in value)}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _percent(old: int, new: int) -> str:
    return f"{100 * (new - old) / old:+.1f} %" if old else "new"


def _shape(shape: tuple[int | None, ...] | None) -> str:
    return "?" if shape is None else "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _shortened(name: str) -> str:
    """Returns the last of the names that a converter has joined."""
    last = name.rpartition(";")[2]
    return last if len(last) == len(name) else f"...{last}"
