"""edgekd inspect: what is inside a model file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli import _options

if TYPE_CHECKING:  # --help must not wait for it
    from edgekd.inspect import Inspection
    from edgekd.provenance import Provenance
    from edgekd.records import TensorSpec


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--tensors", "show_tensors", is_flag=True, help="List every tensor too; --json always has them.")
@_options.json_option
@_options.debug_option
def command(model: Path, show_tensors: bool, as_json: bool) -> None:
    """Show what is in MODEL, a .tflite, .onnx or .keras file.

    Operators, sizes, arithmetic, memory, inputs and outputs with their scales, and where the file comes from. It is
    read, not run: files with operators that nothing here can run are shown too.
    """
    from edgekd.inspect import inspect_model

    if model.suffix.lower() == ".keras":
        from edgekd.runtime.native_output import import_quietly

        import_quietly("keras")
    found = inspect_model(model)
    if as_json:
        _options.print_json(found)
        return
    _print_summary(found)
    _print_specs(found)
    _print_operators(found)
    if show_tensors:
        _print_tensors(found)
    _print_provenance(found.provenance)


def _print_summary(found: "Inspection") -> None:
    from edgekd.report import formatting

    sizes = f"weights {formatting.size(found.weights_bytes)}, metadata {formatting.size(found.metadata_bytes)}"
    click.echo(f"{found.name}: {found.format_version}, {found.size_bytes:,} bytes ({sizes})")
    click.echo(f"sha256 {found.sha256}")
    if found.signatures:
        click.echo(f"signatures: {', '.join(found.signatures)}")
    if found.parameters is not None:
        click.echo(f"parameters: {formatting.count(found.parameters)}")
    if found.macs is None:
        click.echo(f"MACs: {formatting.NOT_MEASURED}: {found.macs_note}")
    else:
        click.echo(f"MACs: {formatting.short_count(found.macs)}")
    if found.memory is not None:
        peak, total = formatting.size(found.memory.peak_bytes), formatting.size(found.memory.activations_bytes)
        click.echo(f"activations, estimated: {peak} at once, {total} in all")
        click.echo(f"  ({found.memory.method})")


def _print_specs(found: "Inspection") -> None:
    from edgekd.cli import _tables

    def row(what: str, spec: "TensorSpec") -> tuple[str, ...]:
        scale = "" if spec.scale is None else f"{spec.scale:.6g}"
        return (
            what,
            spec.name,
            _shape(spec.shape),
            spec.dtype,
            scale,
            "" if spec.scale is None else str(spec.zero_point),
        )

    click.echo()
    rows = [*(row("input", spec) for spec in found.inputs), *(row("output", spec) for spec in found.outputs)]
    _tables.print_rows(("Tensor", "Name", "Shape", "Type", "Scale", "Zero point"), rows)


def _print_operators(found: "Inspection") -> None:
    from edgekd.cli import _tables
    from edgekd.report import formatting

    click.echo()
    counted = any(each.macs for each in found.operators)
    rows = [
        (each.operator, str(each.count), *(["" if not each.macs else formatting.short_count(each.macs)] * counted))
        for each in found.operators
    ]
    _tables.print_rows(("Operator", "Count", *(["MACs"] * counted)), rows)


def _print_tensors(found: "Inspection") -> None:
    from edgekd.cli import _tables
    from edgekd.report import formatting

    click.echo()
    rows = []
    for tensor in found.tensors:
        scales = tensor.quantisation
        if scales is None:
            how, scale, zero = "", "", ""
        else:
            how = scales.granularity if scales.axis is None else f"{scales.granularity}, axis {scales.axis}"
            scale = _range(scales.scales)
            zero = "" if not scales.zero_points else _range(scales.zero_points)
        size = "" if tensor.size_bytes is None else formatting.size(tensor.size_bytes)
        shape = "?" if tensor.shape is None else _shape(tensor.shape)
        rows.append((tensor.name, tensor.role, shape, tensor.dtype, size, how, scale, zero))
    _tables.print_rows(("Tensor", "Role", "Shape", "Type", "Size", "Quantised", "Scale", "Zero point"), rows)


def _print_provenance(found: "Provenance | None") -> None:
    from edgekd.report import formatting

    click.echo()
    if found is None:
        click.echo("provenance: the file does not say where it comes from")
        return
    click.echo(f"made from {found.source} with scheme {found.scheme}")
    hashes = (
        ("weights", found.weights_sha256),
        ("recipe", found.recipe_sha256),
        ("data", found.data_fingerprint),
        ("calibration", found.calibration_sha256),
    )
    for what, digest in hashes:
        if digest is not None:
            of = f" of {found.calibration_samples:,} samples" if what == "calibration" else ""
            click.echo(f"  {what:12} sha256 {digest}{of}")
    if found.seed is not None:
        click.echo(f"  {'seed':12} {found.seed}")
    if found.validation_accuracy is not None:
        click.echo(
            f"  {'accuracy':12} {formatting.percent(found.validation_accuracy)} on the validation split, before export"
        )
    if found.versions:
        click.echo(
            f"  {'versions':12} {', '.join(f'{name} {version}' for name, version in sorted(found.versions.items()))}"
        )


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _range(values: tuple[float, ...] | tuple[int, ...]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
