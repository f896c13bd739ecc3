"""From two files that were read to how they differ."""

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from edgekd.diff import _weights
from edgekd.diff._alignment import align, replacements
from edgekd.diff._graph import Graph
from edgekd.diff.records import (
    Change,
    Difference,
    File,
    Kind,
    OperatorChange,
    QuantisationChange,
    WeightChange,
)
from edgekd.inspect import Contents, Inspection
from edgekd.records import TensorSpec

_KINDS: tuple[Kind, ...] = ("format", "interface", "state", "operators", "quantisation", "weights", "metadata")


def compare(old: tuple[Inspection, Contents], new: tuple[Inspection, Contents]) -> Difference:
    """Returns how the newer of two files of one format differs from the older one."""
    (before, stored_before), (after, stored_after) = old, new
    graphs = Graph(before, stored_before), Graph(after, stored_after)
    pairs = align(*graphs)
    weights, compared = _weight_changes(*graphs, pairs)
    found: dict[str, Any] = {
        "format": _changed({"format": before.format_version}, {"format": after.format_version}),
        "interface": _interface(before, after),
        "state": _changed(_state(before), _state(after)),
        "operators": tuple(_operator_changes(*graphs, pairs)),
        "quantisation": tuple(_quantisation_changes(*graphs, pairs)),
        "weights": weights,
        "metadata": _metadata(stored_before.metadata, stored_after.metadata),
    }
    return Difference(
        old=_file(before),
        new=_file(after),
        identical=before.sha256 == after.sha256,
        kinds=tuple(kind for kind in _KINDS if found[kind]),
        matched=len(pairs),
        weights_compared=compared,
        renamed=_renamed(*graphs, pairs),
        **found,
    )


def _file(found: Inspection) -> File:
    return File(
        name=found.name,
        format=found.format,
        format_version=found.format_version,
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        weights_bytes=found.weights_bytes,
        operators=len(found.nodes),
        macs=found.macs,
    )


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    names = [*old, *(name for name in new if name not in old)]
    return tuple(
        Change(what=name, old=old.get(name), new=new.get(name)) for name in names if old.get(name) != new.get(name)
    )


def _interface(old: Inspection, new: Inspection) -> tuple[Change, ...]:
    found: list[Change] = []
    for side, before, after in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
        if len(before) != len(after):
            found.append(Change(what=f"number of {side}s", old=len(before), new=len(after)))
        found += _side(side, before, after)
    signatures = [
        {
            f"signature {each.name}": {"inputs": list(each.inputs), "outputs": list(each.outputs)}
            for each in found_in.signatures
        }
        for found_in in (old, new)
    ]
    return (*found, *_changed(*signatures))


def _side(side: str, before: Sequence[TensorSpec], after: Sequence[TensorSpec]) -> Iterator[Change]:
    """Pairs inputs or outputs by name; those whose names are only in one file by their place."""
    names = [[spec.name for spec in specs] for specs in (before, after)]
    if sorted(names[0]) == sorted(names[1]) and len(set(names[0])) == len(names[0]):
        if names[0] != names[1]:
            yield Change(what=f"order of {side}s", old=names[0], new=names[1])
        others = {spec.name: spec for spec in after}
        matched = [(spec, others[spec.name]) for spec in before]
    else:
        matched = list(zip(before, after, strict=False))
    for number, (first, second) in enumerate(matched):
        for what in ("name", "shape", "dtype", "scale", "zero_point"):
            old, new = getattr(first, what), getattr(second, what)
            if old != new:
                rounded = what == "scale" and None not in (old, new) and _weights.within_rounding(old, new)
                yield Change(
                    what=f"{what} of {side} {number}", old=_plain(old), new=_plain(new), within_rounding=rounded
                )
    for spec in before[len(after) :]:
        yield Change(what=side, old=spec.name)
    for spec in after[len(before) :]:
        yield Change(what=side, new=spec.name)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _state(found: Inspection) -> dict[str, Any]:
    return {each.name: f"{_plain(each.shape)} {each.dtype}" for each in found.variables}


def _operator_changes(old: Graph, new: Graph, pairs: Mapping[int, int]) -> Iterator[OperatorChange]:
    replaced = replacements(old, new, dict(pairs))
    for before, node in enumerate(old.nodes):
        if before in pairs:
            after = pairs[before]
            changes = _settings(old, new, before, after)
            if changes:
                yield OperatorChange(
                    kind="changed", operator=node.operator, name=new.name(after), old=before, new=after, changes=changes
                )
        elif before in replaced:
            after = replaced[before]
            kinds = f"{node.operator} -> {new.nodes[after].operator}"
            yield OperatorChange(kind="replaced", operator=kinds, name=new.name(after), old=before, new=after)
        else:
            yield OperatorChange(kind="removed", operator=node.operator, name=old.name(before), old=before, new=None)
    known = {*pairs.values(), *replaced.values()}
    for after, node in enumerate(new.nodes):
        if after not in known:
            yield OperatorChange(kind="added", operator=node.operator, name=new.name(after), old=None, new=after)


def _settings(old: Graph, new: Graph, before: int, after: int) -> tuple[Change, ...]:
    first, second = old.nodes[before], new.nodes[after]
    own = [{"version": node.version, **node.attributes} for node in (first, second)]
    shapes: list[dict[str, Any]] = [{}, {}]
    for which, graph, node in ((0, old, first), (1, new, second)):
        for slot, tensor in enumerate(node.outputs):
            if tensor is not None:
                made = graph.tensors[tensor]
                shapes[which] |= {f"shape of output {slot}": _plain(made.shape), f"dtype of output {slot}": made.dtype}
    wiring = [[tensor is not None for tensor in node.inputs] for node in (first, second)]
    inputs = _changed(*({"inputs": sum(each)} for each in wiring))
    return (*_changed(own[0] | shapes[0], own[1] | shapes[1]), *inputs)


def _quantisation_changes(old: Graph, new: Graph, pairs: Mapping[int, int]) -> Iterator[QuantisationChange]:
    """Yields changes of what is computed; a constant's scales show in its weights."""
    seen: set[Hashable] = set()
    for before, after in sorted(pairs.items()):
        first, second = old.nodes[before], new.nodes[after]
        for side in ("inputs", "outputs"):
            for one, other in zip(getattr(first, side), getattr(second, side), strict=False):
                if one is None or other is None or (one, other) in seen or old.is_constant(one):
                    continue
                seen.add((one, other))
                tensors = old.tensors[one], new.tensors[other]
                change = _weights.quantisation_change(tensors[1].name, *(each.quantisation for each in tensors))
                if change is not None:
                    yield change


def _weight_changes(old: Graph, new: Graph, pairs: Mapping[int, int]) -> tuple[tuple[WeightChange, ...], int]:
    found, seen = [], set()
    for before, after in sorted(pairs.items()):
        others = dict(new.constants(after))
        for slot, one in old.constants(before):
            other = others.get(slot)
            if other is None or (one, other) in seen:
                continue
            seen.add((one, other))
            stored = old.contents.tensors[one], new.contents.tensors[other]
            if stored[0] is None or stored[1] is None:
                continue
            change = _weights.weight_change(
                (old.tensors[one], stored[0]), (new.tensors[other], stored[1]), operator=old.nodes[before].operator
            )
            if change is not None:
                found.append(change)
    return tuple(found), len(seen)


def _renamed(old: Graph, new: Graph, pairs: Mapping[int, int]) -> int:
    return sum(
        old.tensors[one].name != new.tensors[other].name
        for before, after in pairs.items()
        for one, other in zip(old.nodes[before].outputs, new.nodes[after].outputs, strict=False)
        if one is not None and other is not None
    )


def _metadata(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> tuple[Change, ...]:
    return _changed(*({name: _summary(value) for name, value in sorted(each.items())} for each in (old, new)))


def _summary(value: bytes) -> str:
    """Returns a short text as it is, and of a long one or of bytes the length and the beginning of the SHA-256."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if text and len(text) <= 80 and text.isprintable():
        return text
    return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:12]}"
