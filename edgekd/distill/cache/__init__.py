"""The teacher cache: outputs of a frozen teacher on disk, shared between runs, so that a sweep pays for them once."""

from edgekd.distill.cache.entry import Entry
from edgekd.distill.cache.filling import Compute, Filled, Progress
from edgekd.distill.cache.identity import OutputIdentity
from edgekd.distill.cache.shards import DamagedShardError
from edgekd.distill.cache.store import TeacherCache, default_root

__all__ = [
    "Compute",
    "DamagedShardError",
    "Entry",
    "Filled",
    "OutputIdentity",
    "Progress",
    "TeacherCache",
    "default_root",
]
