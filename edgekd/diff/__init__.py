"""What changed between two exported models: interface, operators, quantisation, weights, size, metadata."""

import contextlib
from pathlib import Path

from edgekd.child_process import Child, Limits
from edgekd.diff.records import Change, Difference, File, OperatorChange, QuantisationChange, WeightChange
from edgekd.errors import ModelError
from edgekd.inspect import format_of, inspect_with_contents

__all__ = ["Change", "Difference", "File", "OperatorChange", "QuantisationChange", "WeightChange", "diff_models"]

_FORMATS = ("tflite", "onnx")


def diff_models(old: Path | str, new: Path | str, *, check: bool = True, limits: Limits | None = None) -> Difference:
    """Returns how a newer TFLite or ONNX file differs from an older one of the same format.

    Operators are matched by structure and weights (see `edgekd.diff._alignment`), so that one that is put in or left
    out does not make all later ones differ.

    Args:
      old: the older file.
      new: the newer file.
      check: whether the files are read in a child process, so that one that crashes its parser raises here instead of
        ending this process.
      limits: of the child process; by default `child_process.default_limits`.

    Raises:
      StorageError: a file does not exist or cannot be read.
      ModelError: a file is damaged, of another kind, or they are of two formats.
    """
    old, new = Path(old), Path(new)
    formats = [format_of(path) for path in (old, new)]
    for path, name in zip((old, new), formats, strict=True):
        if name not in _FORMATS:
            raise ModelError(f"{str(path)!r}: only TFLite and ONNX files can be compared: export it first.")
    if formats[0] != formats[1]:
        raise ModelError(
            f"{str(old)!r} and {str(new)!r} are of two formats, whose operators and layouts differ by design: compare "
            f"what they compute with `edgekd verify {old.name} {new.name}`, or two files of one format."
        )
    if check:
        with contextlib.closing(Child("edgekd.diff.probe", limits=limits)) as child:
            question = {"old": str(old.resolve()), "new": str(new.resolve())}
            document, _ = child.ask(question, path=new, doing="compared")
            return Difference.model_validate(document)
    from edgekd.diff import _comparison

    return _comparison.compare(inspect_with_contents(old), inspect_with_contents(new))
