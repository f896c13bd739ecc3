"""edgekd cache as a user meets it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.distill.cache import OutputIdentity, TeacherCache

Command = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGEKD_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def identities(root: Path) -> list[OutputIdentity]:
    """Two views of logits, filled in the default cache."""
    base = OutputIdentity(
        teacher_sha256="a" * 64,
        preprocessing="pixel / 255",
        dataset_fingerprint="d" * 64,
        samples=5000,
        augmentation={"shift": 1},
        seed=3,
        batch_size=64,
        output="logits",
        shape=(10,),
        dtype="float16",
        engine="formula 1.0",
    )
    filled = [base.at_view(view) for view in range(2)]
    with TeacherCache() as cache:
        cache.fill(filled, lambda ids, view: {"logits": np.repeat(ids[:, None], 10, 1).astype(np.float32) + view})
    return filled


def damage(root: Path, identity: OutputIdentity) -> Path:
    path = next((root / identity.key[:2] / identity.key).glob("rows-00001-*.npy"))
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    return path


def test_list_shows_every_entry(edgekd_command: Command, root: Path, identities: list[OutputIdentity]) -> None:
    result = edgekd_command("cache", "list")
    assert (result.status, result.err) == (0, "")
    for identity in identities:
        row = next(line for line in result.out.splitlines() if identity.key[:12] in line)
        for shown in ("logits", "10", "float16", f"{identity.view} of seed 3", "5,000", "98.4 KiB", "100 %"):
            assert shown in row
    assert f"2 entries, 197 KiB in {root}" in result.out


def test_list_as_json_is_one_document(edgekd_command: Command, root: Path, identities: list[OutputIdentity]) -> None:
    document = json.loads(edgekd_command("cache", "list", "--json").out)
    assert document["schema_version"] == 1
    assert document["root"] == str(root)
    assert {entry["key"] for entry in document["entries"]} == {identity.key for identity in identities}
    first = document["entries"][0]
    assert OutputIdentity(**first["identity"]) in identities
    assert first["filled"] == 1.0
    assert document["size_bytes"] == sum(entry["size_bytes"] for entry in document["entries"])


def test_list_of_nothing_says_so(edgekd_command: Command, root: Path) -> None:
    assert edgekd_command("cache", "list").out == f"the teacher cache {root} is empty\n"
    assert json.loads(edgekd_command("cache", "list", "--json").out)["entries"] == []


def test_another_folder_can_be_named(edgekd_command: Command, identities: list[OutputIdentity], tmp_path: Path) -> None:
    assert "is empty" in edgekd_command("cache", "list", "--cache-dir", tmp_path / "other").out


def test_verify_ends_with_status_1_and_names_what_is_damaged(
    edgekd_command: Command, root: Path, identities: list[OutputIdentity]
) -> None:
    sound = edgekd_command("cache", "verify")
    assert (sound.status, sound.err) == (0, "")
    assert sound.out == f"2 entries, 4 shards in {root}: 0 damaged\n"
    path = damage(root, identities[1])
    result = edgekd_command("cache", "verify")
    assert result.status == 1
    assert f"damaged: {path}: its SHA-256 is" in result.out
    assert "edgekd cache prune --damaged" in result.out
    as_json = edgekd_command("cache", "verify", "--json")
    assert as_json.status == 1
    assert [each["path"] for each in json.loads(as_json.out)["damaged"]] == [str(path)]


def test_what_another_version_wrote_is_named_and_fails_nothing(
    edgekd_command: Command, root: Path, identities: list[OutputIdentity]
) -> None:
    folder = root / identities[0].key[:2] / identities[0].key
    (folder / "identity.json").write_text('{"format_version": 99}')
    assert f"{folder}: of another version of edgekd" in edgekd_command("cache", "list").out
    verified = edgekd_command("cache", "verify")
    assert verified.status == 0
    assert "1 of another version of edgekd" in verified.out


def test_prune_damaged_makes_verify_pass(edgekd_command: Command, root: Path, identities: list[OutputIdentity]) -> None:
    path = damage(root, identities[0])
    result = edgekd_command("cache", "prune", "--damaged")
    assert result.status == 0
    assert f"removed {path} " in result.out
    assert edgekd_command("cache", "verify").status == 0


@pytest.mark.parametrize(("size", "stay"), [("1GB", 2), ("0.15MB", 1), ("150 kb", 1), ("100KiB", 1), ("99000", 0)])
def test_prune_to_a_size(
    edgekd_command: Command, root: Path, identities: list[OutputIdentity], size: str, stay: int
) -> None:
    planned = edgekd_command("cache", "prune", "--max-size", size, "--dry-run")
    assert planned.out.count("would remove") == 2 - stay
    assert edgekd_command("cache", "prune", "--max-size", size).status == 0
    assert len(json.loads(edgekd_command("cache", "list", "--json").out)["entries"]) == stay


def test_prune_leaves_what_is_in_use(edgekd_command: Command, root: Path, identities: list[OutputIdentity]) -> None:
    with TeacherCache() as cache:
        cache.rows(identities[0], np.arange(2))
        result = edgekd_command("cache", "prune", "--all")
        assert f"left {identities[0].key}: a process uses it" in result.out
        assert "freed 0 bytes" in result.out
    document = json.loads(edgekd_command("cache", "prune", "--all", "--json").out)
    assert (len(document["removed"]), document["in_use"], document["kept_bytes"]) == (2, [], 0)


def test_prune_by_age_keeps_what_is_new(edgekd_command: Command, identities: list[OutputIdentity]) -> None:
    assert "removed" not in edgekd_command("cache", "prune", "--older-than", 1).out
    assert edgekd_command("cache", "prune", "--older-than", 0).out.count("removed") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to remove"),
        (("--max-size", "2 parsecs"), "'2 parsecs' is not a size such as 2GB"),
        (("--max-size", "5I"), "'5I' is not a size"),
        (("--older-than", "-1"), "-1"),
    ],
)
def test_prune_refuses_what_it_does_not_understand(
    edgekd_command: Command, identities: list[OutputIdentity], arguments: tuple[str, ...], message: str
) -> None:
    result = edgekd_command("cache", "prune", *arguments)
    assert result.status == 2
    assert message in result.err
    assert len(json.loads(edgekd_command("cache", "list", "--json").out)["entries"]) == 2
