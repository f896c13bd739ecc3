"""Writes that are whole or absent, and the messages where a disk or a path does not let us."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgekd import storage
from edgekd.errors import StorageError


def entries(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_is_written_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file.bin"
    storage.write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert entries(tmp_path) == ["a", "a/b", "a/b/file.bin"]


def test_text_is_written_as_utf8_with_its_line_ends(tmp_path):
    storage.write_text(tmp_path / "file.txt", "× −\r\nend\n")
    assert (tmp_path / "file.txt").read_bytes() == b"\xc3\x97 \xe2\x88\x92\r\nend\n"
    with storage.atomic_open(tmp_path / "file.txt", "w") as file:
        file.write("ü")
    assert (tmp_path / "file.txt").read_bytes() == b"\xc3\xbc"


def test_a_file_can_be_read_by_others_as_an_ordinary_one_can(tmp_path):
    storage.write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_an_old_file_is_replaced_only_when_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    storage.write_text(path, "old")
    with storage.atomic_open(path, "w") as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_who_reads_the_old_file_while_it_is_replaced_reads_it_to_its_end(tmp_path):
    path = tmp_path / "file.txt"
    storage.write_text(path, "old")
    with path.open() as reader:
        storage.write_text(path, "new and longer")
        assert reader.read() == "old"
    assert path.read_text() == "new and longer"


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_the_old_file_stays_and_nothing_is_left_over_when_the_block_raises(tmp_path, error):
    path = tmp_path / "file.txt"
    storage.write_text(path, "old")

    def fail_half_way():
        with storage.atomic_open(path, "w") as file:
            file.write("half of the n")
            file.flush()
            raise error

    with pytest.raises(type(error)) as raised:
        fail_half_way()
    assert raised.value is error
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["file.txt"]


def test_the_temporary_file_keeps_the_suffix_and_lies_in_the_same_folder(tmp_path):
    with storage.atomic_path(tmp_path / "model.weights.h5") as temporary:
        assert temporary.suffix == ".h5"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"weights")
    assert (tmp_path / "model.weights.h5").read_bytes() == b"weights"


def test_a_relative_path_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage.write_text(Path("file.txt"), "x")
    assert entries(tmp_path) == ["file.txt"]


# What a process meets that may write no file beyond 20,000 bytes: the system refuses it as it refuses on a full disk.
LIMITED = """
    import io, json, resource, signal, sys
    from pathlib import Path

    import numpy as np

    from edgekd import storage
    from edgekd.errors import StorageError

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    folder = Path(sys.argv[1])
    values = np.arange(100_000.0)

    def write_whole(temporary):
        temporary.write_bytes(values.tobytes())

    def write_buffered(temporary):
        with io.BufferedWriter(temporary.open("wb", buffering=0), 10_000_000) as file:
            file.write(values.tobytes())

    def save_npy(temporary):
        with temporary.open("wb") as file:
            np.save(file, values)

    def save_npz(temporary):
        with temporary.open("wb") as file:
            np.savez(file, values=values)

    found = {}
    for write in (write_whole, write_buffered, save_npy, save_npz):
        path = folder / f"{write.__name__}.bin"
        path.write_bytes(b"old")
        try:
            with storage.atomic_path(path) as temporary:
                write(temporary)
        except StorageError as error:
            found[write.__name__] = str(error)
    print(json.dumps(found))
"""


def test_a_write_that_the_system_cuts_short_is_a_storage_error_whichever_library_meets_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert sorted(found) == ["save_npy", "save_npz", "write_buffered", "write_whole"]
    for name, message in found.items():
        assert message.startswith(f"cannot write {str(tmp_path / f'{name}.bin')!r}: "), message
        assert "the file would be larger than this system allows" in message or "the disk is full" in message
    assert entries(tmp_path) == sorted(f"{name}.bin" for name in found)
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"old"}


def test_a_full_disk_is_named_as_such_and_the_old_file_stays(tmp_path):
    path = tmp_path / "file.bin"
    storage.write_bytes(path, b"old")
    # Linux's /dev/full answers every write with the error of a full disk.
    with (
        pytest.raises(StorageError) as raised,
        storage.atomic_path(path),
        Path("/dev/full").open("wb") as full,
    ):
        full.write(b"x" * 100_000)
    assert str(raised.value) == (
        f"cannot write {str(path)!r}: the disk is full: free some space and run the same command again."
    )
    assert raised.value.__cause__.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["file.bin"]


def refused(path):
    """Returns why the path cannot be written; fails where it can."""
    with pytest.raises(StorageError) as raised:
        storage.write_bytes(path, b"x")
    message = str(raised.value)
    assert message.startswith(f"cannot write {str(path)!r}: ")
    return message


def test_a_path_that_goes_through_a_file_is_refused(tmp_path):
    storage.write_bytes(tmp_path / "file", b"x")
    assert "--out" in refused(tmp_path / "file" / "inner")
    assert "a part of the path is a file" in refused(tmp_path / "file" / "deep" / "inner")


def test_a_folder_in_the_files_place_is_refused_and_kept(tmp_path):
    (tmp_path / "file").mkdir()
    assert "it is a folder, not a file" in refused(tmp_path / "file")
    assert entries(tmp_path) == ["file"]


def test_a_name_that_is_too_long_is_refused(tmp_path):
    assert "the name is too long" in refused(tmp_path / ("n" * 300) / "file")
    assert "the name is too long" in refused(tmp_path / ("n" * 300))


def test_a_folder_where_the_system_lets_nobody_write_is_refused():
    # Permission bits do not bind root, but /proc lets nobody make files.
    assert "--out" in refused(Path("/proc/edgekd-test/file"))
    assert "--out" in refused(Path("/proc/file"))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permission denied: choose another folder with --out, or change its permissions"),
        (errno.EROFS, "the file system is read-only: choose another folder with --out"),
        (errno.EDQUOT, "your disk quota is used up: free some space and run the same command again"),
    ],
)
def test_every_reason_comes_with_what_to_do(tmp_path, number, words):
    with pytest.raises(StorageError) as raised, storage.storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(raised.value) == f"cannot write {str(tmp_path)!r}: {words}."


def test_another_file_that_fails_while_one_is_written_is_the_one_that_is_named(tmp_path):
    with (
        pytest.raises(StorageError, match=r"cannot use '/elsewhere/scratch': the disk is full"),
        storage.storage_errors(tmp_path / "file"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/elsewhere/scratch")


def test_a_file_that_the_block_reads_and_does_not_find_is_not_called_a_failed_write(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"), storage.atomic_path(tmp_path / "file"):
        (tmp_path / "missing").read_bytes()
    assert entries(tmp_path) == []


def test_errors_that_no_user_can_mend_pass_unchanged(tmp_path):
    error = OSError("some library's own trouble")
    with pytest.raises(OSError, match="own trouble") as raised, storage.storage_errors(tmp_path):
        raise error
    assert raised.value is error


def test_an_error_of_the_system_is_told_in_words_and_any_other_is_not():
    told = storage.in_words(PermissionError(errno.EACCES, "Permission denied", "/data/x.yaml"))
    assert told is not None
    assert told.startswith("cannot use '/data/x.yaml': permission denied")
    assert storage.in_words(OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300)) is not None
    assert storage.in_words(FileNotFoundError(errno.ENOENT, "No such file", "/data/x.yaml")) is None
    assert storage.in_words(OSError("no number")) is None
    assert storage.in_words(OSError(errno.EACCES, "Permission denied")) is None


def test_the_hash_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # The example of FIPS 180-4.
    assert storage.sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    # Longer than what is read at once.
    content = bytes(range(256)) * 9000
    path.write_bytes(content)
    assert storage.sha256_file(path) == hashlib.sha256(content).hexdigest()


def test_a_required_file_is_returned(tmp_path):
    (tmp_path / "file").touch()
    assert storage.require_file(tmp_path / "file", "record") == tmp_path / "file"


def test_a_required_file_that_is_missing_or_a_folder_is_named_with_what_it_is(tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(StorageError) as raised:
        storage.require_file(missing, "teacher model")
    assert str(raised.value) == f"teacher model {str(missing)!r} does not exist: check the path."
    with pytest.raises(StorageError) as raised:
        storage.require_file(tmp_path, "record")
    assert str(raised.value) == f"record {str(tmp_path)!r} is a folder, not a file: give the file's path."


# Killed between the write and the rename.
KILLED = """
    import os, signal, sys
    from pathlib import Path

    from edgekd import storage

    with storage.atomic_path(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    storage.write_text(path, "old")
    (tmp_path / "partial-success.txt").touch()
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert len(entries(tmp_path)) == 4
    storage.remove_partial(tmp_path)
    assert entries(tmp_path) == ["deep", "deep/file.txt", "partial-success.txt"]
    storage.remove_partial(tmp_path / "no such folder")
