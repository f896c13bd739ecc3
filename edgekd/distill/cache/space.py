"""How much room an output takes, before anything is computed."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from edgekd.distill.cache.entry import Entry
from edgekd.errors import StorageError


def require_space(root: Path, missing: Iterable[tuple[Entry, Iterable[int]]]) -> int:
    """Returns how many bytes the missing shards will take.

    Args:
      root: the cache's folder, which need not exist yet.
      missing: entries with the numbers of the shards that they lack.

    Raises:
      StorageError: the disk has less than that; the message says what makes it fit.
    """
    lacking = [(entry, list(numbers)) for entry, numbers in missing]
    needed = sum(entry.layout.bytes_of(number) for entry, numbers in lacking for number in numbers)
    place = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if needed <= free:
        return needed
    identities = [entry.identity for entry, numbers in lacking if numbers]
    views = len({identity.view for identity in identities})
    advice = [
        "free some space (`edgekd cache prune`)",
        "put the cache on another disk with distill.cache.folder or EDGEKD_CACHE_DIR",
    ]
    if any(identity.dtype == "float32" for identity in identities):
        advice.append("store dtype: float16, half as large")
    if views > 1:
        advice.append("set fewer views")
    raise StorageError(
        f"the teacher cache would take {_size(needed)} more ({identities[0].samples:,} samples, {views} "
        f"view{'s' * (views > 1)}, outputs {', '.join(sorted({identity.output for identity in identities}))}), and "
        f"{str(place)!r} has {_size(free)} free: {', or '.join(advice)}."
    )


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.1f} MiB"
