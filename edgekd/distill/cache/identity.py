"""What a stored output depends on: two that differ in any of it are different outputs."""

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
import pydantic

from edgekd.data.randomness import VIEWS_VERSION
from edgekd.records import Record

# Also to be raised when the cutting into shards changes (layout.py): shards are found by their numbers.
FORMAT_VERSION = 2

_Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
_Positive = Annotated[int, pydantic.Field(ge=1)]
_NotNegative = Annotated[int, pydantic.Field(ge=0)]

# What all outputs of one training share: whatever is not named here.
_OF_ONE_OUTPUT = ("view", "output", "shape", "dtype")

_IN_WORDS = {
    "format_version": "format version",
    "teacher_sha256": "teacher",
    "dataset_fingerprint": "dataset",
    "samples": "number of samples",
    "views_version": "version of the views",
    "batch_size": "batch size",
}


class OutputIdentity(Record):
    """Everything that determines one stored output of a teacher: rows for each sample of a split, for one view.

    Where all views are alike, because nothing is random (no augmentation of any size and no mixup), seed, view and
    views_version are set to 0, so that trainings with other seeds share the entry.

    Attributes:
      format_version: of the files.
      teacher_sha256: over the teacher's architecture and weights.
      preprocessing: what becomes of a stored sample before the teacher gets it.
      dataset_fingerprint: over every sample and label.
      samples: how many the training split has.
      augmentation: the policy and its sizes; {} for none.
      mixup: its strength; 0 for none.
      seed: the training seed, which draws the views.
      view: which augmented view of each sample.
      views_version: of the code that makes views.
      batch_size: how many samples the teacher gets at once; results can differ in the last bit between sizes.
      output: the name, such as `logits`, `stage2` or `stage2 as attention_transfer at 7x7`.
      shape: of one sample's row.
      dtype: what rows are stored in.
      engine: what computes, with its version; results can differ in the last bit between versions.
    """

    format_version: int = FORMAT_VERSION
    teacher_sha256: _Sha256
    preprocessing: str
    dataset_fingerprint: _Sha256
    samples: _Positive
    augmentation: dict[str, pydantic.JsonValue] = pydantic.Field(default_factory=dict)
    mixup: Annotated[float, pydantic.Field(ge=0)] = 0.0
    seed: _NotNegative = 0
    view: _NotNegative = 0
    views_version: _NotNegative = VIEWS_VERSION
    batch_size: _Positive
    output: Annotated[str, pydantic.Field(min_length=1)]
    shape: tuple[_Positive, ...]
    dtype: Literal["float16", "float32"] = "float16"
    engine: str

    @pydantic.model_validator(mode="before")
    @classmethod
    def _all_views_alike(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("mixup"):
            return data
        augmentation = data.get("augmentation") or {}
        if not isinstance(augmentation, dict) or any(augmentation.values()):
            return data
        return {**data, "augmentation": {}, "mixup": 0.0, "seed": 0, "view": 0, "views_version": 0}

    @functools.cached_property
    def key(self) -> str:
        """The hexadecimal SHA-256 of the identity: the name of its folder."""
        return _sha256(self.model_dump(mode="json"))

    @functools.cached_property
    def family(self) -> str:
        """The hexadecimal SHA-256 of what all outputs and views of one training share."""
        return _sha256(self.model_dump(mode="json", exclude=set(_OF_ONE_OUTPUT)))

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The dtype of the files, little-endian on every machine."""
        return np.dtype(self.dtype).newbyteorder("<")

    def at_view(self, view: int) -> Self:
        """Returns the identity of another view of the same output; the same one where all views are alike."""
        return self.model_copy(update={"view": view})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Returns a changed copy that is checked as a new identity is; pydantic's own would keep the old key."""
        return type(self)(**{**self.model_dump(), **(update or {})})

    def differences(self, wanted: "OutputIdentity") -> dict[str, str]:
        """Returns in which parts this identity is not the wanted one, in words, each with both values."""
        return {
            name: f"{_IN_WORDS.get(name, name)} (stored {_short(mine)}, wanted {_short(theirs)})"
            for name in type(self).model_fields
            if (mine := getattr(self, name)) != (theirs := getattr(wanted, name))
        }


def training_differences(one: OutputIdentity, other: OutputIdentity) -> list[str]:
    """Returns the names of the parts, other than view and output, in which two identities differ."""
    return [
        _IN_WORDS.get(name, name)
        for name in OutputIdentity.model_fields
        if name not in _OF_ONE_OUTPUT and getattr(one, name) != getattr(other, name)
    ]


def _sha256(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _short(value: object) -> str:
    if isinstance(value, str) and len(value) == 64:
        return f"{value[:12]}…"
    return repr(list(value) if isinstance(value, tuple) else value)
