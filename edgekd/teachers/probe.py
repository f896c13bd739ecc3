"""Opens a teacher's file once, in a process of its own: `python -m edgekd.teachers.probe PATH`.

An HDF5 file is read whole; a SavedModel folder is loaded and run once.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import child_process
from edgekd.errors import ModelError


def main(path: Path) -> None:
    """Opens the file or folder."""
    if path.is_dir():
        child_process.answer(_run_saved_model, path)
    else:
        child_process.answer(_read_hdf5, path)


def _read_hdf5(path: Path) -> None:
    import h5py

    def visit(name: str, item: Any) -> None:
        dict(item.attrs)
        if isinstance(item, h5py.Group):
            for key in item:
                if isinstance(item.get(key, getlink=True), h5py.ExternalLink):
                    raise ModelError(f"{str(path)!r} refers to another file at {name}/{key}, which is not followed.")
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ModelError(f"{str(path)!r} refers to another file at {name}, which is not followed.")
            item[()]

    try:
        with h5py.File(path) as file:
            visit("", file)
            file.visititems(visit)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{str(path)!r} is damaged: {' '.join(str(error).split())}. Copy or save it again.") from error


def _run_saved_model(path: Path) -> None:
    from edgekd.teachers.saved_model import SIGNATURE, open_runner, signatures

    known = signatures(path)
    for signature in (None,) if SIGNATURE in known or len(known) < 2 else known:
        with open_runner(path, signature=signature) as runner:
            shapes = [(spec.shape[0] or 1, *spec.shape[1:]) if spec.shape else () for spec in runner.inputs]
            if all(None not in shape for shape in shapes):
                runner.run([np.zeros(shape, spec.dtype) for shape, spec in zip(shapes, runner.inputs, strict=True)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
