"""edgekd inspect: what is inside a model file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli import _options

if TYPE_CHECKING:  # --help must not wait for it
    from edgekd.inspect import Delegation, Inspection, Operator
    from edgekd.provenance import Provenance
    from edgekd.records import TensorSpec


@click.command("inspect")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--operators", "show_operators", is_flag=True, help="List every operator too; --json always has them.")
@click.option("--tensors", "show_tensors", is_flag=True, help="List every tensor too; --json always has them.")
@click.option("--arena", is_flag=True, help="Find the tensor arena that TFLM needs, by running a TFLite file in it.")
@_options.json_option
@_options.debug_option
def command(model: Path, show_operators: bool, show_tensors: bool, arena: bool, as_json: bool) -> None:
    """Show what is in MODEL, a .tflite, .onnx or .keras file.

    Operators, sizes, arithmetic, memory, inputs and outputs with their scales, state, what a delegate takes, what
    microcontrollers lack, and where the file comes from. Files with operators that nothing here can run are shown
    too. Foreign files are opened in child processes with limits of time and memory.
    """
    from edgekd.inspect import format_of, inspect_model

    format_of(model)  # before anything large is imported
    if model.suffix.lower() == ".keras":
        from edgekd.runtime.native_output import import_quietly

        import_quietly("keras")
    found = inspect_model(model, delegates=True, arena=arena)
    if as_json:
        _options.print_json(found)
        return
    _print_summary(found)
    _print_targets(found)
    _print_specs(found)
    _print_counts(found)
    if show_operators:
        _print_operators(found)
    if show_tensors:
        _print_tensors(found)
    _print_provenance(found.provenance)


def _print_summary(found: "Inspection") -> None:
    from edgekd.report import formatting

    sizes = f"weights {formatting.size(found.weights_bytes)}, metadata {formatting.size(found.metadata_bytes)}"
    _options.say(f"{found.name}: {found.format_version}, {found.size_bytes:,} bytes ({sizes})")
    _options.say(f"compressed by gzip: {found.gzip_bytes:,} bytes")
    _options.say(f"sha256 {found.sha256}")
    for signature in found.signatures:
        names = f"{', '.join(signature.inputs)} -> {', '.join(signature.outputs)}"
        _options.say(f"signature {signature.name}: {names}")
    if len(found.subgraphs) > 1:
        graphs = (f"{graph.name} ({formatting.counted(graph.operators, 'operator')})" for graph in found.subgraphs)
        _options.say(f"graphs: {', '.join(graphs)}")
    for variable in found.variables:
        size = "size unknown" if variable.size_bytes is None else formatting.size(variable.size_bytes)
        shape = "" if variable.shape is None else f" {_shape(variable.shape)}"
        _options.say(f"keeps state: {variable.name}{shape} {variable.dtype or ''} ({size})")
    if found.parameters is not None:
        _options.say(f"parameters: {formatting.count(found.parameters)}")
    if found.macs is None:
        _options.say(f"MACs: {formatting.NOT_MEASURED}: {found.macs_note}")
    else:
        _options.say(f"MACs: {formatting.short_count(found.macs)}")
    if found.kernels is not None:
        held = found.kernels
        _options.say(
            f"kernels: {held.weights:,} weights, {formatting.percent(held.sparsity)} zeros, up to "
            f"{held.distinct_values:,} distinct values, {held.distinct_per_channel:,} in one channel"
        )
    if found.memory is not None:
        peak, total = formatting.size(found.memory.peak_bytes), formatting.size(found.memory.activations_bytes)
        where = "" if found.memory.peak_operator is None else f" at {_label(found, found.memory.peak_operator)}"
        _options.say(f"activations, estimated: {peak} at once{where}, {total} in all")
        _options.say(f"  ({found.memory.method})")


def _print_targets(found: "Inspection") -> None:
    from edgekd.report import formatting

    if found.delegation is not None:
        _options.say(_delegated(found, found.delegation))
    tflm = found.microcontroller
    if tflm is not None:
        has = f"lacks {', '.join(tflm.lacking)}" if tflm.lacking else "has every operator"
        size = "" if tflm.arena_bytes is None else f", runs it in an arena of {tflm.arena_bytes:,} bytes"
        _options.say(f"TFLM, for microcontrollers: {has}{size}")
    if found.format == "tflite" and found.nodes:
        largest = max(found.nodes, key=lambda node: node.weights_bytes)
        size = formatting.size(largest.weights_bytes)
        _options.say(f"most weights: {size} of {_label(found, found.nodes.index(largest))}")


def _delegated(found: "Inspection", delegation: "Delegation") -> str:
    from edgekd.report import formatting

    if delegation.operators is None:
        return f"{delegation.delegate}, applied by LiteRT: unknown: {delegation.note}"
    main = [node for node in found.nodes if node.subgraph == 0]
    left = sorted({node.operator for position, node in enumerate(main) if position not in delegation.operators})
    parts = formatting.counted(delegation.partitions or 0, "partition")
    rest = f"; LiteRT's own kernels run {', '.join(left)}" if left else ""
    return (
        f"{delegation.delegate}, applied by LiteRT: {len(delegation.operators)} of {len(main)} operators, {parts}{rest}"
    )


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

    _options.say()
    rows = [*(row("input", spec) for spec in found.inputs), *(row("output", spec) for spec in found.outputs)]
    _tables.print_rows(("Tensor", "Name", "Shape", "Type", "Scale", "Zero point"), rows)


def _print_counts(found: "Inspection") -> None:
    from edgekd.cli import _tables
    from edgekd.report import formatting

    _options.say()
    headers = ["Operator", "Count", "Version", "MACs", "Weights", "Makes"]
    rows = []
    for each in found.operators:
        nodes = [node for node in found.nodes if node.operator == each.operator]
        versions = sorted({node.version for node in nodes if node.version is not None})
        made = [node.made_bytes for node in nodes]
        rows.append(
            (
                each.operator,
                str(each.count),
                ", ".join(map(str, versions)),
                "" if not each.macs else formatting.short_count(each.macs),
                "" if not nodes else formatting.size(sum(node.weights_bytes for node in nodes)),
                "" if not nodes or None in made else formatting.size(sum(size or 0 for size in made)),
            )
        )
    used = [index for index in range(len(headers)) if index < 2 or any(row[index] for row in rows)]
    _tables.print_rows([headers[index] for index in used], [[row[index] for index in used] for row in rows])


def _print_operators(found: "Inspection") -> None:
    from edgekd.cli import _tables
    from edgekd.report import formatting

    _options.say()
    taken = () if found.delegation is None else found.delegation.operators or ()
    rows = []
    for position, node in enumerate(found.nodes):
        made = next((found.tensors[index] for index in node.outputs if index is not None), None)
        rows.append(
            (
                f"{position} {node.operator}",
                "" if made is None else made.name,
                "" if made is None or made.shape is None else _shape(made.shape),
                "" if node.version is None else str(node.version),
                "" if not node.macs else formatting.short_count(node.macs),
                formatting.size(node.weights_bytes),
                "" if node.made_bytes is None else formatting.size(node.made_bytes),
                "" if node.live_bytes is None else formatting.size(node.live_bytes),
                "yes" if node.subgraph == 0 and position in taken else "",
            )
        )
    headers = ("Operator", "Makes", "Shape", "Version", "MACs", "Weights", "Size", "Live then", "Delegated")
    _tables.print_rows(headers, rows)


def _print_tensors(found: "Inspection") -> None:
    from edgekd.cli import _tables
    from edgekd.report import formatting

    _options.say()
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

    _options.say()
    if found is None:
        _options.say("provenance: the file does not say where it comes from")
        return
    _options.say(f"made from {found.source} with scheme {found.scheme}")
    hashes = (
        ("weights", found.weights_sha256),
        ("recipe", found.recipe_sha256),
        ("data", found.data_fingerprint),
        ("calibration", found.calibration_sha256),
    )
    for what, digest in hashes:
        if digest is not None:
            of = f" of {found.calibration_samples:,} samples" if what == "calibration" else ""
            _options.say(f"  {what:12} sha256 {digest}{of}")
    if found.seed is not None:
        _options.say(f"  {'seed':12} {found.seed}")
    if found.validation_accuracy is not None:
        _options.say(
            f"  {'accuracy':12} {formatting.percent(found.validation_accuracy)} on the validation split, before export"
        )
    for record in found.preprocessing:
        click.echo(f"  {'input':12} {formatting.preprocessing(record)}")
    if found.versions:
        _options.say(
            f"  {'versions':12} {', '.join(f'{name} {version}' for name, version in sorted(found.versions.items()))}"
        )


def _label(found: "Inspection", position: int) -> str:
    """Returns an operator's position and kind with the name of what it makes."""
    node: Operator = found.nodes[position]
    made = [found.tensors[index].name for index in node.outputs if index is not None]
    return f"{position} {node.operator}{f' ({made[0]})' if made else ''}"


def _shape(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "scalar"


def _range(values: tuple[float, ...] | tuple[int, ...]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
