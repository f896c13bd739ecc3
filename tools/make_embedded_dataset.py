"""Makes the embedded subset of Fashion-MNIST from the four official gzipped IDX files.

    python tools/make_embedded_dataset.py FOLDER

FOLDER holds train-images-idx3-ubyte.gz and so on: the published files, or those of Debian's package
dataset-fashion-mnist (/usr/share/datasets/fashion-mnist), whose contents are the same.

1,200 training and 200 validation images of each class come from the official training file, 200 test images of each
class from the official test file. They keep the official order. The same contents give the same bytes with the same
zlib; another build of zlib may compress differently.
"""

import argparse
import gzip
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from edgekd import storage
from edgekd.data import splitting
from edgekd.data.idx_format import read_idx
from edgekd.errors import DataError, EdgekdError

OUTPUT = Path(__file__).parents[1] / "edgekd" / "data" / "fashion_mnist_embedded.npz"
TRAIN, VALIDATION, TEST = 12_000, 2_000, 2_000
SEED = 0
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# SHA-256 of the unpacked files: distributions repack the gzip header, never the contents.
CONTENT_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def embedded_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of the embedded dataset, named as the npz source names them.

    Raises:
      DataError: a file that is missing, unreadable or not the official one.
    """
    official = {name: _official(folder, name) for name in CONTENT_SHA256}
    train_labels, test_labels = official["train-labels-idx1-ubyte"], official["t10k-labels-idx1-ubyte"]
    chosen = splitting.stratified_sample(train_labels, TRAIN + VALIDATION, seed=SEED, stream="embedded.train")
    kept, held_out = splitting.stratified_halves(
        train_labels[chosen], VALIDATION, seed=SEED, stream="embedded.validation"
    )
    test = splitting.stratified_sample(test_labels, TEST, seed=SEED, stream="embedded.test")
    arrays = {}
    for part, source, positions in (
        ("train", "train", chosen[kept]),
        ("val", "train", chosen[held_out]),
        ("test", "t10k", test),
    ):
        arrays[f"x_{part}"] = official[f"{source}-images-idx3-ubyte"][positions][..., np.newaxis]
        arrays[f"y_{part}"] = official[f"{source}-labels-idx1-ubyte"][positions]
    return {**arrays, "class_names": np.array(CLASS_NAMES)}


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Returns an .npz archive whose bytes depend on the arrays and on zlib only: no time, no permissions."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3
            packed = io.BytesIO()
            np.lib.format.write_array(packed, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(member, packed.getvalue(), compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)
    return content.getvalue()


def main() -> int:
    """Writes the file and prints its size and SHA-256."""
    parser = argparse.ArgumentParser(description="Makes the embedded subset of Fashion-MNIST.")
    parser.add_argument("folder", type=Path, help="folder with the four official gzipped IDX files")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the file to write (default: the package's own)")
    options = parser.parse_args()
    try:
        storage.write_bytes(options.out, npz_bytes(embedded_arrays(options.folder)))
    except EdgekdError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{options.out}: {options.out.stat().st_size} bytes, SHA-256 {storage.sha256_file(options.out)}\n")
    return 0


def _official(folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.gz"
    array = read_idx(path)
    with gzip.open(path) as file:
        received = hashlib.sha256(file.read()).hexdigest()
    if received != CONTENT_SHA256[name]:
        raise DataError(
            f"{str(path)!r} has contents with SHA-256 {received}: expected {CONTENT_SHA256[name]}, those of the "
            "official file. Get it from the publisher or from Debian's package dataset-fashion-mnist."
        )
    return array


if __name__ == "__main__":
    sys.exit(main())
