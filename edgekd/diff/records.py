"""What a comparison of two model files finds, as frozen records."""

from typing import Any, Literal

from edgekd.records import Record

SCHEMA_VERSION = 1

Kind = Literal["format", "interface", "state", "operators", "quantisation", "weights", "metadata"]


class File(Record):
    """One of the two files."""

    name: str
    format: str
    format_version: str
    sha256: str
    size_bytes: int
    weights_bytes: int
    operators: int
    macs: int | None


class Change(Record):
    """Something that has another value; None stands for "not there".

    `within_rounding` says of a scale that it is the same but for rounding, see `WeightChange`.
    """

    what: str
    old: Any = None
    new: Any = None
    within_rounding: bool = False


class OperatorChange(Record):
    """An operator that was added or removed, stands in another's place, or has other settings.

    `old` and `new` are positions among each inspection's `nodes`; `operator` is its kind (`OLD -> NEW` for one in
    another's place) and `name` what it makes in the newer file, or in the older one where it was removed.
    """

    kind: Literal["added", "removed", "replaced", "changed"]
    operator: str
    name: str
    old: int | None
    new: int | None
    changes: tuple[Change, ...] = ()


class QuantisationChange(Record):
    """A tensor of matched operators with other quantisation parameters.

    `scale_ratio` is the largest of new / old or old / new over its scales, where both files have as many of them;
    `zero_points_changed` counts those that differ. `within_rounding` says that none does and that all scales are the
    same but for rounding, see `WeightChange`.
    """

    name: str
    old: str | None
    new: str | None
    scale_ratio: float | None = None
    zero_points_changed: int | None = None
    within_rounding: bool = False


class WeightChange(Record):
    """A constant of matched operators whose stored numbers differ.

    Errors are those of the real numbers, dequantised where there are scales: `max_abs` is max |new - old|,
    `relative_l2` is ‖new - old‖₂ / ‖old‖₂, `changed_fraction` is the part of the elements that differ (as stored where
    both files have one dtype). They are None where shapes differ, where numbers are not finite, or, `relative_l2`,
    where all old ones are 0. `within_rounding` says that the numbers are the same but for how they were rounded when
    they were computed: max |new - old| is at most 4 epsilons of the dtype times max |old|, and of integers only the
    scales differ, in float32.
    """

    name: str
    operator: str
    old_dtype: str
    new_dtype: str
    old_shape: tuple[int | None, ...] | None
    new_shape: tuple[int | None, ...] | None
    elements: int
    changed_fraction: float | None = None
    max_abs: float | None = None
    relative_l2: float | None = None
    within_rounding: bool = False


class Difference(Record):
    """How a newer model file differs from an older one.

    `identical` says that the bytes are the same. `kinds` names in what they differ; it is empty where only the layout
    of the bytes or names inside the graph differ. `matched` counts the operators that were found in both, by structure;
    `weights_compared` the constants of those, `renamed` their tensors with another name.
    """

    schema_version: int = SCHEMA_VERSION
    old: File
    new: File
    identical: bool
    kinds: tuple[Kind, ...]
    matched: int
    weights_compared: int
    renamed: int
    format: tuple[Change, ...] = ()
    interface: tuple[Change, ...] = ()
    state: tuple[Change, ...] = ()
    operators: tuple[OperatorChange, ...] = ()
    quantisation: tuple[QuantisationChange, ...] = ()
    weights: tuple[WeightChange, ...] = ()
    metadata: tuple[Change, ...] = ()
