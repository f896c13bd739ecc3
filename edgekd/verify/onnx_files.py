"""ONNX files with all of their constants, those in files beside them too."""

from pathlib import Path
from typing import Any

from edgekd import external_data
from edgekd.errors import ModelError, said


def load(path: Path) -> Any:
    """Returns the `ModelProto` of a file; what it keeps elsewhere is looked for in its own folder, nowhere else.

    Raises:
      ModelError: it is damaged, or what it keeps beside it is, or is missing.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(path, load_external_data=False)
        external_data.load(model, path)
    except (DecodeError, onnx.checker.ValidationError, ValueError, OSError) as error:
        raise ModelError(
            f"{str(path)!r}, or what it keeps its constants in, is damaged{said(error)}: copy, download or export "
            "it again."
        ) from error
    return model
