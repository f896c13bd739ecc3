"""Finds TFDS builders and explains what TFDS cannot do, without a download nobody asked for."""

import contextlib
import difflib
import re
import sys
from pathlib import Path
from typing import Any

from edgekd.errors import DataError

_LONGEST_REASON = 1000
CATALOG = "https://www.tensorflow.org/datasets/catalog"
# name, name/config, name:version, name/config:version. A namespace (huggingface:name) would go to the network.
_NAME = re.compile(r"[A-Za-z]\w*(/[\w.\-]+)?(:\d+\.\d+\.\d+)?")


def find_builder(name: str, data_dir: Path | None) -> Any:
    """Returns TFDS's builder of a dataset (a `tfds.core.DatasetBuilder`), prepared or not.

    Args:
      name: as in TFDS: NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION.
      data_dir: the folder of prepared datasets; None for TFDS's own choice (TFDS_DATA_DIR, else
        ~/tensorflow_datasets).

    Raises:
      DataError: TFDS has no such dataset, configuration or version, or what it has prepared is damaged.
    """
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is not a TFDS name: expected such as fashion_mnist, emnist/letters or mnist:3.0.1.")
    try:
        return tfds.builder(name, data_dir=None if data_dir is None else str(data_dir))
    except tfds.core.registered.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        near = difflib.get_close_matches(re.split("[/:]", name)[0], known, n=1, cutoff=0.5)
        suggestion = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"TFDS has no dataset {name!r}.{suggestion} Its catalogue: {CATALOG}.") from error
    except ParseError as error:
        raise DataError(
            f"TFDS dataset {name!r} is damaged ({_one_line(error)}): remove its folder and prepare it again."
        ) from error
    except (ValueError, AssertionError) as error:
        raise DataError(f"TFDS cannot give {name!r}: {_one_line(error)}") from error


def is_prepared(builder: Any) -> bool:
    """Returns whether TFDS has prepared the dataset (its own check warns where it has not)."""
    return Path(builder.data_path, "dataset_info.json").is_file() and bool(builder.is_prepared())


def prepare(builder: Any, **options: Any) -> None:
    """Calls TFDS's `download_and_prepare`, whose words go to standard error: standard output is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare(**options)


def download(builder: Any) -> None:
    """Lets TFDS download and prepare a dataset.

    Raises:
      DataError: the download failed.
    """
    from tensorflow_datasets.core.download import DownloadError, download_manager

    try:
        prepare(builder)
    except (OSError, DownloadError, AssertionError, download_manager.NonMatchingChecksumError) as error:
        raise DataError(
            f"TFDS could not download {builder.info.full_name!r} ({_one_line(error)}): if you have its files, run "
            f"`edgekd data import {builder.name} --from FOLDER`."
        ) from error


def _one_line(error: BaseException) -> str:
    # Long enough for a path of the user's before what is wrong with it; some of TFDS's messages hold whole lists.
    return " ".join(str(error).split())[:_LONGEST_REASON]
