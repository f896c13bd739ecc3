"""Lets TFDS prepare a dataset offline, from files that the user already has."""

import contextlib
import copy
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekd import storage
from edgekd.data import gzip_headers, tfds_builder
from edgekd.errors import DataError


def import_dataset(name: str, *, source: Path, data_dir: Path | None) -> Path:
    """Prepares a TFDS dataset from a folder of its published files; returns the prepared dataset's folder.

    Every file that TFDS would download is looked for in `source` by the SHA-256 that TFDS registers for it, whatever
    its name there; gzip files whose header a distribution stripped are recognised too (see `gzip_headers`). Copies go
    to a temporary folder beside the prepared datasets. Nothing is ever downloaded. A dataset that is prepared already
    is left as it is.

    Args:
      name: as in TFDS: NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION.
      source: the folder, searched with its subfolders.
      data_dir: the folder of prepared datasets; None for TFDS's own choice (TFDS_DATA_DIR, else
        ~/tensorflow_datasets).

    Raises:
      DataError: an unknown dataset, a missing folder, or files that are not there: all of them are listed with
        their sizes and checksums.
      StorageError: the folder of prepared datasets cannot be written or the disk is full.
    """
    builder = tfds_builder.find_builder(name, data_dir)
    prepared = Path(builder.data_path)
    if tfds_builder.is_prepared(builder):
        return prepared
    source = source.expanduser()
    if not source.is_dir():
        raise DataError(f"folder {str(source)!r} does not exist: expected a folder with the files of {name!r}.")
    root = prepared.parents[len(Path(builder.info.full_name).parts) - 1]
    with storage.storage_errors(prepared), _no_empty_folders(prepared, root):
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".edgekd-import-", dir=root) as downloads:
            _prepare(builder, name, _Shelf(source.resolve(), builder), downloads)
    return prepared


def _prepare(builder: Any, name: str, shelf: "_Shelf", downloads: str) -> None:
    import tensorflow as tf
    from tensorflow_datasets.core.download import DownloadConfig, download_manager

    _use(shelf, builder)
    by_hand = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    config = DownloadConfig(try_download_gcs=False, manual_dir=str(shelf.folder) if by_hand else None)
    try:
        tfds_builder.prepare(builder, download_dir=downloads, download_config=config)
    except _NotOnShelfError as error:
        raise DataError(shelf.explain_missing(name)) from error
    except download_manager.NonMatchingChecksumError as error:
        raise DataError(f"{name!r}: {_one_line(error)}: get that file again.") from error
    except (AssertionError, FileNotFoundError, tf.errors.NotFoundError) as error:
        wanted = f"TFDS's instructions: {_one_line(by_hand)}" if by_hand else "Check the folder."
        raise DataError(
            f"TFDS could not prepare {name!r} from {str(shelf.folder)!r}: {_one_line(error)}. {wanted}"
        ) from error
    except ImportError as error:
        raise DataError(f"TFDS needs another package to prepare {name!r}: {_one_line(error)}. Install it.") from error


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")


@contextlib.contextmanager
def _no_empty_folders(prepared: Path, root: Path) -> Iterator[None]:
    """Removes the empty folders above `prepared` that a failed preparation leaves in `root`."""
    try:
        yield
    finally:
        for folder in prepared.parents:
            if folder == root or (folder.is_dir() and any(folder.iterdir())):
                break
            if folder.is_dir():
                folder.rmdir()


class _NotOnShelfError(Exception):
    """A file that TFDS asked for is not in the user's folder."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Shelf:
    """Gives TFDS's download manager the user's files in place of downloads."""

    folder: Path
    builder: Any
    missing: list[str] = dataclasses.field(default_factory=list)

    def download(self, url: str, destination_path: Any, verify: bool = True) -> Any:
        """Stands in for the `download` method of TFDS's downloader, which its download manager calls per URL."""
        del verify  # of the server's certificate: there is no server
        from promise import Promise
        from tensorflow_datasets.core.download import checksums, downloader

        expected = self._registered.get(url)
        if expected is None:
            self.missing.append(f"{url} (TFDS registers no checksum, so it cannot be verified)")
            return Promise.reject(_NotOnShelfError(url))
        name = expected.filename or url.rpartition("/")[2]
        path = Path(destination_path) / name
        if not self._place(int(expected.size), expected.checksum, path):
            self.missing.append(f"{name} ({int(expected.size)} bytes, SHA-256 {expected.checksum})")
            return Promise.reject(_NotOnShelfError(url))
        # The manager compares this with what TFDS registers, once more and from the copy.
        url_info = checksums.compute_url_info(path)
        return Promise.resolve(downloader.DownloadResult(path=type(destination_path)(path), url_info=url_info))

    def explain_missing(self, name: str) -> str:
        return (
            f"{str(self.folder)!r} lacks {len(self.missing)} of the files that TFDS prepares {name!r} from (looked for "
            f"by SHA-256, whatever their names): {'; '.join(self.missing)}. Nothing was downloaded: get them and run "
            "the same command again."
        )

    @functools.cached_property
    def _registered(self) -> dict[str, Any]:
        from tensorflow_datasets.core.download import checksums

        return {**checksums.get_all_url_infos(), **(self.builder.url_infos or {})}

    @functools.cached_property
    def _sizes(self) -> dict[int, list[Path]]:
        sizes: dict[int, list[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                sizes.setdefault(path.stat().st_size, []).append(path)
        return sizes

    def _place(self, size: int, checksum: str, destination: Path) -> bool:
        for path in self._sizes.get(size, []):
            if storage.sha256_file(path) == checksum:
                shutil.copyfile(path, destination)
                return True
        stripped = gzip_headers.stripped_size(checksum, size)
        return stripped is not None and any(
            gzip_headers.restore(path, checksum, destination) for path in self._sizes.get(stripped, [])
        )


def _use(shelf: _Shelf, builder: Any) -> None:
    """Makes this one builder ask the shelf instead of the network; TFDS offers no option for that."""
    make = builder._make_download_manager

    def make_offline(**options: Any) -> Any:
        manager = make(**options)
        # A copy: TFDS shares one downloader between all builders, and the others' downloads are not ours to change.
        downloader = copy.copy(manager._downloader)
        downloader.download = shelf.download
        manager._DownloadManager__downloader = downloader
        return manager

    builder._make_download_manager = make_offline
