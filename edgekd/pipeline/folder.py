"""A run's folder: whose it is, who works in it, and which stages in it are done."""

import hashlib
import types
from pathlib import Path
from typing import Literal, Self

import filelock

from edgekd import environment, storage
from edgekd.errors import StorageError
from edgekd.recipe import canonical_json
from edgekd.records import SCHEMA_VERSION, Environment, Record

IDENTITY_FILE = "run.json"
TRIED_FILE = "preflight.json"
STAGE_FILE = "stage.json"
_LOCK_FILE = ".lock"


class Identity(Record):
    """Whose folder this is: another recipe or other data must not replace what took hours to train."""

    schema_version: int = SCHEMA_VERSION
    recipe: str
    dataset: str


class StageRecord(Record):
    """That a stage is done: for which settings and inputs (`key`), and what it wrote (SHA-256 by relative path).

    `environment` is where and with which versions it was done; a later process may run on others.
    """

    stage: str
    key: str
    files: dict[str, str]
    seconds: float
    environment: Environment


class TriedExports(Record):
    """That files of these settings could be written of untrained networks: what the export stage's key was then."""

    schema_version: int = SCHEMA_VERSION
    key: str


State = Literal["done", "absent", "stale", "damaged"]


class RunFolder:
    """A folder that belongs to one recipe and is used by one process at a time.

    Raises:
      StorageError: on entering, when the folder is another recipe's, is not a run's folder, is in use, or is not
        writable. Nothing is changed then.
    """

    def __init__(self, path: Path, *, recipe_name: str, dataset: str) -> None:
        self.path = path
        self._identity = Identity(recipe=recipe_name, dataset=dataset)
        self._lock = filelock.FileLock(path / _LOCK_FILE, timeout=0)

    def __enter__(self) -> Self:
        """Claims the folder."""
        self.check_owner()
        with storage.storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except filelock.Timeout as error:
                raise StorageError(
                    f"{str(self.path)!r} is in use by another edgekd process: wait for it, or choose another --out."
                ) from error
        try:
            self.check_owner()  # again: another process may have claimed it before we had the lock
            self._identity.write(self.path / IDENTITY_FILE)
            storage.remove_partial(self.path)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        """Gives the folder back."""
        self._lock.release()

    def stage(self, name: str) -> Path:
        """Returns a stage's folder."""
        return self.path / name

    def state(self, name: str, key: str) -> State:
        """Returns whether a stage is done for this key, and its files are still the ones it wrote."""
        marker = self.stage(name) / STAGE_FILE
        if not marker.is_file():
            return "absent"
        record = StageRecord.read(marker)
        if record.key != key:
            return "stale"
        written = {path: self.stage(name) / path for path in record.files}
        whole = all(
            file.is_file() and storage.sha256_file(file) == record.files[path] for path, file in written.items()
        )
        return "done" if whole else "damaged"

    def tried(self, key: str) -> State:
        """Returns whether the exports of this key of the export stage were tried before a training.

        What says so may be lost without harm: they are tried again where it is damaged.
        """
        path = self.path / TRIED_FILE
        if not path.is_file():
            return "absent"
        try:
            return "done" if TriedExports.read(path).key == key else "stale"
        except StorageError:
            return "damaged"

    def remember_tried(self, key: str) -> None:
        """Says that they were, so that a run that goes on does not try them again."""
        TriedExports(key=key).write(self.path / TRIED_FILE)

    def record(self, name: str) -> StageRecord:
        """Returns the record of a stage that is done."""
        return StageRecord.read(self.stage(name) / STAGE_FILE)

    def begin(self, name: str) -> Path:
        """Returns a stage's folder, made if missing.

        What it holds of an earlier time stays until `finish`: a marker of other settings or of changed files does not
        count as done, and who goes back to those settings finds what was not overwritten.
        """
        folder = self.stage(name)
        with storage.storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self, name: str, key: str, *, files: list[Path], seconds: float) -> None:
        """Marks a stage as done, and removes what it wrote at an earlier time and did not write now."""
        folder = self.stage(name)
        hashes = {file.relative_to(folder).as_posix(): storage.sha256_file(file) for file in sorted(files)}
        for path in self._written_before(folder) - hashes.keys():
            (folder / path).unlink(missing_ok=True)
        here = environment.describe()
        record = StageRecord(stage=name, key=key, files=hashes, seconds=seconds, environment=here)
        record.write(folder / STAGE_FILE)

    def _written_before(self, folder: Path) -> set[str]:
        if not (folder / STAGE_FILE).is_file():
            return set()
        paths = StageRecord.read(folder / STAGE_FILE).files
        # A record that somebody handed us must not reach files elsewhere.
        return {path for path in paths if (folder / path).resolve().is_relative_to(folder.resolve())}

    def check_owner(self) -> None:
        """Raises StorageError if the folder is another recipe's or not a run's; changes nothing.

        An empty folder, and one whose first claim was killed, is anybody's.
        """
        if self.path.exists() and not self.path.is_dir():
            raise StorageError(f"{str(self.path)!r} is a file, not a folder: choose another --out.")
        identity = self.path / IDENTITY_FILE
        if identity.is_file():
            try:
                owner = Identity.read(identity)
            except StorageError as error:
                raise StorageError(
                    f"{str(identity)!r} is damaged, so whose run the folder holds is not known: choose another --out, "
                    "or remove that folder if it is no longer needed."
                ) from error
            if owner != self._identity:
                raise StorageError(
                    f"{str(self.path)!r} holds a run of recipe {owner.recipe!r} on {owner.dataset!r}, not of "
                    f"{self._identity.recipe!r} on {self._identity.dataset!r}: choose another --out, or remove that "
                    "folder if it is no longer needed."
                )
        elif self.path.is_dir() and not all(_is_of_a_claim(entry) for entry in self.path.iterdir()):
            raise StorageError(
                f"{str(self.path)!r} is not empty and is not a run's folder: choose an empty or new folder with --out."
            )


def stage_key(stage: str, *, settings: object, inputs: dict[str, str]) -> str:
    """Returns a hash of all that decides what a stage writes: its settings and the keys of what it reads."""
    document = {"schema": SCHEMA_VERSION, "stage": stage, "settings": settings, "inputs": inputs}
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def _is_of_a_claim(path: Path) -> bool:
    """Whether a claim that was killed may have left this."""
    return path.name == _LOCK_FILE or storage.is_partial(path)
