"""What each constant of a file takes: the largest ones, and the others added up."""

import dataclasses

from edgekd.records import Artifact, Summary, TensorSize
from edgekd.report import formatting

HEADERS = ("File", "Tensor", "Shape", "Type", "Size", "Of the file")
MOST = 12
"""How many tensors of a file are shown one by one."""

_NONE = "–"


@dataclasses.dataclass(frozen=True)
class Part:
    """One tensor of a file, or what several of them take together; then `shape` and `dtype` are None.

    Attributes:
      name: of the tensor, without what a converter appends of the operators that it fused; or words.
      shape: in words.
      dtype: of its numbers.
      size_bytes: as stored.
      share: of the file.
      length: of its bar, from 0 to 1; the longest one of the file has 1.
    """

    name: str
    shape: str | None
    dtype: str | None
    size_bytes: int
    share: float
    length: float


@dataclasses.dataclass(frozen=True)
class File:
    """One file: how many bytes and constants it has, and its parts, which add up to it."""

    name: str
    size_bytes: int
    tensors: int
    parts: tuple[Part, ...]


def files(summary: Summary, *, most: int = MOST) -> tuple[File, ...]:
    """Returns the files whose tensors are known, with up to `most` of these one by one."""
    return tuple(_file(artifact, most) for artifact in summary.artifacts if artifact.tensors)


def rows(summary: Summary, *, most: int) -> tuple[tuple[str, ...], ...]:
    """Returns one row of texts for each part of each file, in the order of HEADERS."""
    return tuple(
        (
            file.name,
            part.name,
            part.shape or _NONE,
            part.dtype or _NONE,
            formatting.size(part.size_bytes),
            formatting.share(part.share),
        )
        for file in files(summary, most=most)
        for part in file.parts
    )


def _file(artifact: Artifact, most: int) -> File:
    shown, others = artifact.tensors[:most], artifact.tensors[most:]
    found: list[tuple[str, str | None, str | None, int]] = [
        (_name(each), formatting.shape(each.shape), each.dtype, each.size_bytes or 0) for each in shown
    ]
    if others:
        words = formatting.counted(len(others), "other tensor")
        found.append((f"{words} together", None, None, sum(each.size_bytes or 0 for each in others)))
    # Tensors that share their numbers may come to more than the file.
    rest = max(artifact.size_bytes - sum(size for *_, size in found), 0)
    found.append(("Structure and metadata", None, None, rest))
    longest = max(size for *_, size in found) or 1
    return File(
        name=artifact.name,
        size_bytes=artifact.size_bytes,
        tensors=len(artifact.tensors),
        parts=tuple(
            Part(name, shape, dtype, size, size / artifact.size_bytes, size / longest)
            for name, shape, dtype, size in found
        ),
    )


def _name(tensor: TensorSize) -> str:
    return tensor.tensor.split(";")[0] or "without a name"
