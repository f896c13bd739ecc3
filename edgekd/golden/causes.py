"""What may explain that a file is not its golden record any more: pure functions of two records."""

import math
from collections import Counter
from collections.abc import Sequence

from edgekd.diff import Difference
from edgekd.golden.records import Activation, Constant, Golden

_MOST = 5  # lines of one kind
_ROUNDING = 1e-5  # relative, of float32 scales that were computed twice


def causes(golden: Golden, now: Golden) -> tuple[str, ...]:
    """Returns what changed between two records, the likeliest cause of other outputs first."""
    if golden.sha256 == now.sha256:
        return tuple(_data(golden, now)) or (_surroundings(golden, now),)
    of_other_dtype, others = _weights(golden, now)
    found = [
        *_operators(golden, now),
        *_listed(of_other_dtype),
        *_listed(_scales(golden, now)),
        *_listed(others),
    ]
    if golden.environment != now.environment:
        found.append(f"besides: {_environments(golden, now)}")
    found += [f"besides: {each}" for each in _data(golden, now)]
    return tuple(found) or (
        "operators, scales and weights are as they were: their order, wiring or settings changed. `edgekd diff OLD "
        "NEW` tells, with the older file from version control",
    )


def differences(found: Difference) -> tuple[str, ...]:
    """Returns in what a file differs from an older one, in words."""
    name = f"against {found.old.name}:"
    if not found.kinds:
        return (f"{name} the same model",)
    lines = [f"{name} {each.kind} {each.operator} {each.name}" for each in found.operators]
    lines += [f"{name} {each.name} quantised with {each.old} -> {each.new}" for each in found.quantisation]
    lines += [
        f"{name} weights {each.name} of {each.operator}"
        + ("" if each.relative_l2 is None else f", relative L2 {each.relative_l2:.3g}")
        + ("" if each.changed_fraction is None else f", {100 * each.changed_fraction:.3g} % of the elements")
        for each in found.weights
    ]
    return tuple(_listed(lines)) or (f"{name} differs in {', '.join(found.kinds)}",)


def paired_constants(before: Sequence[Constant], after: Sequence[Constant]) -> list[tuple[Constant, Constant]]:
    """Returns which constant is which: those of one name, then those of one operator and shape in their order."""
    names = Counter(each.name for each in (*before, *after))
    known = {each.name: each for each in after if names[each.name] == 2}
    pairs, taken = [], set()
    for each in before:
        if each.name in known:
            pairs.append((each, known[each.name]))
            taken.add(each.name)
    rest = [each for each in after if each.name not in taken]
    for each in before:
        if each.name in taken:
            continue
        same = next((one for one in rest if (one.operator, one.shape) == (each.operator, each.shape)), None)
        if same is not None:
            rest.remove(same)
            pairs.append((each, same))
    return pairs


def unpaired_constants(before: Sequence[Constant], after: Sequence[Constant]) -> tuple[list[Constant], list[Constant]]:
    """Returns the constants that only the older record has, and those that only the newer one has."""
    pairs = paired_constants(before, after)
    paired = {id(first) for first, _ in pairs}, {id(second) for _, second in pairs}
    return [each for each in before if id(each) not in paired[0]], [each for each in after if id(each) not in paired[1]]


def has_other_labels(golden: Golden, now: Golden) -> bool:
    """Returns whether both records are of labelled samples whose labels differ."""
    labels = golden.run_on.labels_sha256, now.run_on.labels_sha256
    return None not in labels and labels[0] != labels[1]


def _data(golden: Golden, now: Golden) -> list[str]:
    if golden.run_on.sha256 != now.run_on.sha256:
        return [f"the samples are other ones: {golden.run_on.name} -> {now.run_on.name}"]
    return [f"the samples are as they were, and their labels changed: {now.run_on.name}"] * has_other_labels(
        golden, now
    )


def _surroundings(golden: Golden, now: Golden) -> str:
    if golden.environment != now.environment:
        return f"the file's bytes are as they were: {_environments(golden, now)}"
    return (
        "the file's bytes, the runtime's version and the kind of machine are as they were: another processor or "
        "other options"
    )


def _environments(golden: Golden, now: Golden) -> str:
    before, after = golden.environment, now.environment
    names = sorted({*before, *after})
    return ", ".join(
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in names
        if before.get(name) != after.get(name)
    )


def _operators(golden: Golden, now: Golden) -> list[str]:
    before, after = Counter(golden.operators), Counter(now.operators)
    added = [f"{count} {name}" for name, count in sorted((after - before).items())]
    removed = [f"{count} {name}" for name, count in sorted((before - after).items())]
    return [
        f"operators {what}: {', '.join(which)}" for what, which in (("added", added), ("removed", removed)) if which
    ]


def _scales(golden: Golden, now: Golden) -> list[str]:
    was = {each.name: each for each in golden.activations}
    return [
        f"scale of {each.name} {was[each.name].scale:.6g} -> {each.scale:.6g}, zero point "
        f"{was[each.name].zero_point} -> {each.zero_point}"
        for each in now.activations
        if each.name in was and not _is_alike(was[each.name], each)
    ]


def _is_alike(before: Activation, after: Activation) -> bool:
    """Whether two scales are the same but for the rounding of another computation, and so are the rest."""
    alike = math.isclose(before.scale, after.scale, rel_tol=_ROUNDING)
    return alike and before.model_copy(update={"scale": after.scale}) == after


def _weights(golden: Golden, now: Golden) -> tuple[list[str], list[str]]:
    """Returns the constants whose dtype changed, which explains most, and those whose numbers did."""
    gone, new = unpaired_constants(golden.constants, now.constants)
    others = [f"weights {each.name} of {each.operator} were removed" for each in gone]
    others += [f"weights {each.name} of {each.operator} were added" for each in new]
    of_other_dtype: list[str] = []
    for before, after in paired_constants(golden.constants, now.constants):
        changes = []
        if before.dtype != after.dtype:
            changes.append(f"{before.dtype} -> {after.dtype}")
        if before.shape != after.shape:
            changes.append(f"shape {list(before.shape)} -> {list(after.shape)}")
        if before.sha256 != after.sha256:
            # Integers mean something else with another scale: their norms cannot be compared.
            comparable = before.scales_sha256 == after.scales_sha256 and None not in (before.norm, after.norm)
            norms = f", norm {before.norm:.6g} -> {after.norm:.6g}" if comparable else ""
            changes.append(f"other numbers{norms}")
        if before.scales_sha256 != after.scales_sha256:
            changes.append(f"other scales, largest {before.largest_scale} -> {after.largest_scale}")
        if changes:
            lines = others if before.dtype == after.dtype else of_other_dtype
            lines.append(f"weights {after.name} of {after.operator}: {'; '.join(changes)}")
    return of_other_dtype, others


def _listed(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"and {more} more"] if more > 0 else [])]
