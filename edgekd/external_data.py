"""The files beside an ONNX file in which it keeps constants."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgekd import storage
from edgekd.errors import ModelError, said


def files(model: Any, path: Path) -> tuple[Path, ...]:
    """Returns the files that an ONNX model keeps constants in, of all its graphs, sorted by name.

    Args:
      model: a `ModelProto`, loaded without external data.
      path: where it lies.

    Raises:
      ModelError: one is not there, or lies outside the model's folder.
    """
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    names = {ExternalDataInfo(tensor).location for tensor in _tensors(model.graph) if uses_external_data(tensor)}
    return tuple(_file(name, path) for name in sorted(names))


def beside(path: Path) -> tuple[Path, ...]:
    """Returns the files that a model file keeps constants in: those of an ONNX file, and none of any other.

    Raises:
      ModelError: it is no ONNX file, or as `files`.
    """
    if path.suffix.lower() != ".onnx":
        return ()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(path, load_external_data=False)
    except DecodeError as error:
        raise ModelError(
            f"{str(path)!r} is damaged or not an ONNX model{said(error)}: copy, download or export it again."
        ) from error
    return files(model, path)


def load(model: Any, path: Path) -> tuple[Path, ...]:
    """Reads them into the model, and returns them.

    Raises:
      ModelError: as `files`.
      onnx.checker.ValidationError: one is too short or a link.
    """
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    found = files(model, path)
    for tensor in _tensors(model.graph):
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, str(path.parent))
    return found


def sha256(path: Path, beside: Sequence[Path]) -> str:
    """Returns the hash of a file and of those beside it; of a file alone, that of its bytes."""
    hashes = [storage.sha256_file(each) for each in (path, *beside)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _file(name: str, path: Path) -> Path:
    folder = path.resolve().parent
    try:
        found = (folder / name).resolve()
        lies_beside = bool(name) and found.is_relative_to(folder)
        there = lies_beside and found.is_file()
    except (OSError, ValueError):  # a name that no file can have
        lies_beside = there = False
    if not lies_beside:
        raise ModelError(
            f"{str(path)!r} keeps constants in {name!r}, which is no file beside it: such files are not read. Save it "
            "again with its constants inside or beside it."
        )
    if not there:
        raise ModelError(f"{str(path)!r} keeps constants in {name!r}, which is missing: copy both into one folder.")
    return path.parent / name


def _tensors(graph: Any) -> Iterator[Any]:
    """Yields the constants of an ONNX graph and of the graphs inside it."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            if inner.node or inner.initializer:
                yield from _tensors(inner)
