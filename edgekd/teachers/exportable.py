"""Opening the files from outside that can be exported, with the care that teachers from outside get."""

from pathlib import Path
from typing import Any

from edgekd import storage
from edgekd.errors import ModelError
from edgekd.teachers import opening


def open_model(path: Path | str) -> Any:
    """Returns what a file or folder holds, as `edgekd.export.export_model` takes it.

    Python code in files is never run; files that could crash their parser are first opened in a child process.

    Args:
      path: a `.keras` or `.h5` file (of Keras 3 or of tf_keras) or a SavedModel folder.

    Raises:
      StorageError: there is no such file.
      ModelError: it is damaged, unsafe, or nothing that can be exported.
    """
    path = Path(path)
    kind = check_path(path)
    if kind == opening.KERAS_FILE:
        from edgekd.architectures import load_model

        return load_model(path)
    if kind == opening.HDF5_FILE:
        from edgekd.teachers import hdf5

        return hdf5.load(path)[0]
    return _saved_model(path)


def check_path(path: Path) -> str:
    """Returns of what kind a model is that can be exported, as far as a path tells, without importing any library.

    Raises:
      StorageError: there is no such file.
      ModelError: nothing that can be exported.
    """
    if not path.is_dir():
        storage.require_file(path, "model")
    kind = opening.kind_of(path)
    if kind == opening.GRAPH_FILE:
        raise ModelError(
            f"{str(path)!r} has been exported already: give the .keras or .h5 file or the SavedModel folder that it "
            "was made from."
        )
    return kind


def _saved_model(folder: Path) -> Any:
    from edgekd.export import source_of
    from edgekd.teachers import child, saved_model

    child.require_openable(folder, sha256=saved_model.sha256(folder))
    # A source holds the variables, which the loaded object owns and its function refers to only weakly.
    _loaded, function = saved_model.load(folder)
    return source_of(function)
