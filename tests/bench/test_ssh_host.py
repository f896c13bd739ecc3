"""What is said of ssh's errors, and what killed callers leave behind; tests/bench/targets open connections."""

import io
import os
import threading
import time
from types import SimpleNamespace

import filelock
import pytest

from edgekd.bench import ssh_host

OWN = ("-F", "my config", "-i", "key", "-p", "2222")


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("Host key verification failed.", "`ssh -F 'my config' -i key -p 2222 pi@board`"),
        ("Permission denied (publickey).", "`ssh-copy-id -F 'my config' -i key -p 2222 pi@board`"),
        ("REMOTE HOST IDENTIFICATION HAS CHANGED!", "`ssh-keygen -R '[board]:2222'`"),
        ("Connection refused", "`ssh -F 'my config' -i key -p 2222 pi@board true`"),
    ],
)
def test_a_command_that_is_suggested_has_the_users_own_options(said, command):
    assert command in ssh_host.why_not_connected(ssh_host.parse("pi@board:2222"), OWN, said)


def test_folders_of_callers_that_are_gone_are_removed_and_no_others(tmp_path):
    past = time.time() - 3600
    for name in ("edgekd-ssh-gone", "edgekd-ssh-held", "edgekd-ssh-new", "edgekd-ssh-unlocked", "another"):
        (tmp_path / name).mkdir()
        if name != "edgekd-ssh-unlocked":
            (tmp_path / name / "lock").touch()
        if name != "edgekd-ssh-new":
            os.utime(tmp_path / name, (past, past))
    (tmp_path / "edgekd-ssh-link").symlink_to(tmp_path / "another")
    with filelock.FileLock(tmp_path / "edgekd-ssh-held" / "lock"):
        os.utime(tmp_path / "edgekd-ssh-held", (past, past))
        ssh_host.remove_left(tmp_path)
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"edgekd-ssh-held", "edgekd-ssh-new", "edgekd-ssh-unlocked", "edgekd-ssh-link", "another"}


def test_an_interruption_while_a_board_cleans_up_leaves_nothing_running():
    class Interrupted(io.StringIO):
        def __next__(self):
            raise KeyboardInterrupt

    killed = []
    keeper = SimpleNamespace(stdin=io.StringIO(), stdout=Interrupted(), kill=lambda: killed.append(True))
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        ssh_host._leave(keeper, ssh_host.parse("pi@board"), "folder")
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=2)
        assert not thread.is_alive()
    assert keeper.stdin.closed
    assert not killed
