"""What may explain that a file is not its golden record any more: pure functions of two records."""

from collections import Counter
from collections.abc import Sequence

from edgekd.diff import Difference
from edgekd.golden.records import Constant, Golden

_MOST = 5  # lines of one kind


def causes(golden: Golden, now: Golden) -> tuple[str, ...]:
    """Returns what changed between two records, the likeliest cause of other outputs first."""
    if golden.sha256 == now.sha256:
        return (_surroundings(golden, now),)
    found = [
        *_operators(golden, now),
        *_listed(_scales(golden, now)),
        *_listed(_weights(golden, now)),
    ]
    if golden.environment != now.environment:
        found.append(f"besides: {_environments(golden, now)}")
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


def _surroundings(golden: Golden, now: Golden) -> str:
    if golden.environment != now.environment:
        return f"the file's bytes are as they were: {_environments(golden, now)}"
    return (
        "the file's bytes, the runtime's version and the kind of machine are as they were: another processor, other "
        "data or other options"
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
        if each.name in was and was[each.name] != each
    ]


def _weights(golden: Golden, now: Golden) -> list[str]:
    found = []
    for before, after in paired_constants(golden.constants, now.constants):
        changes = []
        if before.dtype != after.dtype:
            changes.append(f"{before.dtype} -> {after.dtype}")
        if before.shape != after.shape:
            changes.append(f"shape {list(before.shape)} -> {list(after.shape)}")
        if before.sha256 != after.sha256:
            norms = "" if before.norm is None or after.norm is None else f", norm {before.norm:.6g} -> {after.norm:.6g}"
            changes.append(f"other numbers{norms}")
        if before.scales_sha256 != after.scales_sha256:
            changes.append(f"other scales, largest {before.largest_scale} -> {after.largest_scale}")
        if changes:
            found.append(f"weights {after.name} of {after.operator}: {'; '.join(changes)}")
    return found


def _listed(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"and {more} more"] if more > 0 else [])]
