"""A real sshd on loopback, with keys made here; the worker runs where only NumPy and one runtime are installed."""

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest

from edgekd import bench
from edgekd.bench.plan import make_plan
from edgekd.bench.samples import RawSamples
from edgekd.bench.targets import local, ssh
from edgekd.errors import ModelError, RecipeError, StorageError, TargetError
from tests.bench.shortest import SHORTEST

pytestmark = pytest.mark.sshd

QUICK = SHORTEST | {"blocks": 2}


@pytest.fixture(scope="module")
def keys(tmp_path_factory, sshd_program):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("host", "other_host", "user", "stranger"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """An environment with NumPy and ai-edge-litert and what that itself needs, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for package in ("numpy", "ai-edge-litert", "flatbuffers"):
        for top in {file.parts[0] for file in metadata.files(package) if file.parts[0] != ".."}:
            source = Path(metadata.distribution(package).locate_file(top))
            if top != "__pycache__":
                (site / top).symlink_to(source)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def empty_python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


class Board:
    """A running sshd: how to reach it, and where its logins put temporary files."""

    def __init__(self, folder, port, process, python):
        self.temporary = folder / "tmp"
        self.port = port
        self.process = process
        self.target = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
        self.address = self.target.removeprefix("ssh://")
        self.settings = {"config": str(folder / "ssh_config"), "python": str(python)}

    def measured(self, paths, *, on_progress=None, plan=(), **settings):
        made = make_plan(**{**QUICK, **dict(plan)})
        rounds = ssh.measure(paths, made, address=self.address, on_progress=on_progress, **(self.settings | settings))
        with contextlib.closing(rounds):
            return tuple(zip(*rounds, strict=True))

    def workers(self):
        return [each for each in psutil.process_iter(["cmdline"]) if str(self.temporary) in str(each.info["cmdline"])]

    def is_clean(self):
        return list(self.temporary.iterdir()) == [] and self.workers() == []


@pytest.fixture
def start_board(tmp_path, keys, bare_python, sshd_program):
    """Starts an sshd with some lines of configuration more, and ends it with the test."""
    with contextlib.ExitStack() as stack:

        def start(*lines, known="host", login="user"):
            folder = tmp_path / "board"
            (folder / "tmp").mkdir(parents=True)
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            configuration = [
                f"Port {port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {keys / 'host'}",
                f"AuthorizedKeysFile {keys / 'user.pub'}",
                "PidFile none",
                "StrictModes no",
                "UsePAM no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                f"SetEnv TMPDIR={folder / 'tmp'}",
                *lines,
            ]
            (folder / "sshd_config").write_text("\n".join(configuration) + "\n")
            kind, key, _ = (keys / f"{known}.pub").read_text().split()
            (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n" if known != "stranger" else "")
            (folder / "ssh_config").write_text(
                f"UserKnownHostsFile {folder / 'known_hosts'}\nGlobalKnownHostsFile none\n"
                f"IdentityFile {keys / login}\nIdentitiesOnly yes\nIdentityAgent none\n"
            )
            if os.geteuid() == 0:
                Path("/run/sshd").mkdir(exist_ok=True)  # sshd changes its root to there when root starts it
            command = [sshd_program, "-D", "-e", "-f", str(folder / "sshd_config")]
            log = stack.enter_context((folder / "log").open("w"))
            process = subprocess.Popen(command, stderr=log, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            deadline = time.monotonic() + 20
            while "Server listening" not in (folder / "log").read_text():
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, "sshd does not start"
                time.sleep(0.01)
            return Board(folder, port, process, bare_python)

        yield start


@pytest.fixture
def board(start_board):
    return start_board()


def test_a_board_measures_as_this_machine_does(board, monkeypatch, dense_tflite, int8_tflite):
    paths, steps, variables = (dense_tflite, int8_tflite), {"local": [], "ssh": []}, {}
    monkeypatch.setenv("SECRET_TOKEN", "do not pass on")

    def look(*step):
        steps["ssh"].append(step)
        variables.update(next(each for each in board.workers() if "python" in each.info["cmdline"][0]).environ())

    there = board.measured(paths, on_progress=look)
    assert (variables["OMP_NUM_THREADS"], variables["PYTHONSAFEPATH"]) == ("1", "1")
    assert "SECRET_TOKEN" not in variables
    plan = make_plan(**QUICK)
    here = tuple(zip(*local.measure(paths, plan, on_progress=lambda *step: steps["local"].append(step)), strict=True))
    assert steps["ssh"] == steps["local"]  # the same order of blocks too
    measured = {"blocks", "cold", "warmup_runs", "warmup_seconds", "steady", "timer_overhead_ns", "peak_memory_bytes"}
    measured |= {"memory_before_load_bytes", "system_before", "system_after"}
    for ours, theirs in zip(here, there, strict=True):
        assert len(ours) == len(theirs) == 1
        for one, other in zip(ours, theirs, strict=True):
            assert one.model_dump(exclude=measured) == other.model_dump(exclude=measured)
            assert len(other.blocks) == 2
            assert all(len(block.samples_ns) >= 5 for block in other.blocks)
    assert board.is_clean()


def test_the_record_names_the_target_and_the_machine_that_measured(board, tmp_path, dense_tflite):
    settings = {**QUICK, **board.settings, "num_threads": (2,), "batches": (4,)}
    (record,) = bench.measure([dense_tflite], raw_folder=tmp_path / "raw" / "samples", target=board.target, **settings)
    assert record.target == board.target
    assert record.num_threads == 2
    assert record.machine.logical_cores == os.cpu_count()
    assert record.machine.architecture == os.uname().machine
    raw = RawSamples.read(tmp_path / "raw" / record.samples_path)
    assert raw.processes[0].inputs[0].shape == (4, 64)
    assert raw.settings["python"] == board.settings["python"]
    assert board.is_clean()


def test_an_input_file_is_pushed_with_the_model(board, tmp_path, dynamic_length_tflite):
    np.savez(tmp_path / "inputs.npz", x=np.ones((1, 5, 64), np.float32))
    ((process,),) = board.measured([dynamic_length_tflite], plan={"inputs": str(tmp_path / "inputs.npz")})
    assert process.inputs[0].shape == (1, 5, 64)


def test_the_files_beside_a_model_are_pushed_with_it(board, outside_onnx, dense_onnx):
    (outside,), (whole,) = board.measured([outside_onnx, dense_onnx], python=sys.executable)
    assert outside.runtime == "onnxruntime"
    assert outside.inputs == whole.inputs
    assert board.is_clean()


def test_an_interruption_leaves_nothing_behind(board, dense_tflite, int8_tflite):
    def interrupt(done, total, text):
        if done == 3:
            assert len(list(board.temporary.glob("*/*.pid"))) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        board.measured([dense_tflite, int8_tflite], on_progress=interrupt)
    assert board.is_clean()


def test_stopping_after_a_round_leaves_nothing_behind(board, dense_tflite, tmp_path):
    settings = {**QUICK, "processes": 50, "seconds": 0.001}
    (record,) = bench.measure([dense_tflite], raw_folder=tmp_path, target=board.target, **(settings | board.settings))
    assert (record.ended, record.processes) == ("seconds", 1)
    assert board.is_clean()


def test_a_worker_that_is_killed_there_is_reported_with_the_signal(board, dense_tflite):
    def kill(done, total, text):
        for pid in board.temporary.glob("*/*.pid"):
            os.kill(int(pid.stem), signal.SIGKILL)

    with pytest.raises(ModelError, match=r"dense\.tflite' on .*@127\.0\.0\.1: its process was killed by SIGKILL"):
        board.measured([dense_tflite], on_progress=kill)
    assert board.is_clean()


def test_a_worker_that_hangs_is_ended_there(board, dense_tflite):
    def stop(done, total, text):
        for pid in board.temporary.glob("*/*.pid"):
            os.kill(int(pid.stem), signal.SIGSTOP)

    with pytest.raises(ModelError, match=r"on .*@127\.0\.0\.1 did not end within 3 s \(step 'block'\)"):
        board.measured([dense_tflite], on_progress=stop, plan={"timeout_seconds": 3.0})
    assert board.is_clean()


def test_a_connection_that_breaks_is_reported_and_the_board_cleans_up_by_itself(board, dense_tflite):
    def cut(done, total, text):
        for session in psutil.Process(board.process.pid).children():
            session.kill()

    with pytest.raises(TargetError, match=r"the connection to the worker on .*@127\.0\.0\.1 broke in step 'block'"):
        board.measured([dense_tflite], on_progress=cut)
    deadline = time.monotonic() + 20
    while not board.is_clean():
        assert time.monotonic() < deadline, list(board.temporary.rglob("*"))
        time.sleep(0.02)


def test_a_caller_that_is_killed_leaves_nothing_behind(board, dense_tflite, tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from edgekd.bench.plan import make_plan\n"
        "from edgekd.bench.targets import ssh\n"
        "path, address, settings = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])\n"
        "def die(done, total, text):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "next(ssh.measure([path], make_plan(min_warmup_seconds=0.01), address=address, on_progress=die, **settings))\n"
    )
    command = [sys.executable, str(script), str(dense_tflite), board.address, json.dumps(board.settings)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while not board.is_clean() or psutil.Process(board.process.pid).children():
        assert time.monotonic() < deadline, list(board.temporary.rglob("*"))
        time.sleep(0.02)


def test_a_model_that_the_runtime_refuses_is_reported_in_its_words(board, tmp_path):
    (tmp_path / "model.tflite").write_text("this is not a model")
    with pytest.raises(ModelError, match=r"cannot measure '.*model\.tflite' on .*@127\.0\.0\.1 .*Flatbuffer"):
        board.measured([tmp_path / "model.tflite"])
    assert board.is_clean()


def test_a_full_disk_there_is_reported(start_board, dense_tflite, tmp_path):
    # What can be filled without root: files there may have 1 KiB, and writing more is an error.
    board = start_board('ForceCommand ulimit -f 1; trap "" XFSZ; eval "$SSH_ORIGINAL_COMMAND"')
    with pytest.raises(StorageError, match=r"cannot write '0/dense.tflite' .* on .*: cat: .*File too large\. Free sp"):
        board.measured([dense_tflite])
    assert board.is_clean()


def test_a_disk_that_fills_up_there_keeps_what_was_measured(start_board, dense_tflite, tmp_path):
    # The worker's number is the one file of a round; from the second round on it may have no byte.
    full = tmp_path / "full"
    limit = f'case "$SSH_ORIGINAL_COMMAND" in "exec sh /"*) [ -e {full} ] && ulimit -f 0; trap "" XFSZ ;; esac'
    board = start_board(f'ForceCommand {limit}; eval "$SSH_ORIGINAL_COMMAND"')
    broken = []
    (found,) = bench.measure(
        [dense_tflite],
        raw_folder=tmp_path / "raw",
        target=board.target,
        on_progress=lambda *_: full.touch(),
        on_broken_off=broken.append,
        **{**QUICK, **board.settings, "processes": 3},
    )
    assert (found.ended, found.processes) == ("failed", 1)
    assert isinstance(broken[0], StorageError)
    assert "its temporary folder cannot be written (" in found.failure
    assert board.is_clean()


def test_a_folder_that_cannot_be_made_there_is_reported(board, dense_tflite):
    board.temporary.rmdir()
    with pytest.raises(StorageError, match=r"cannot make a temporary folder on .*: mktemp: failed to create directory"):
        board.measured([dense_tflite])


def test_a_login_shell_that_talks_is_reported(start_board, dense_tflite):
    board = start_board('ForceCommand echo Welcome to the board; eval "$SSH_ORIGINAL_COMMAND"')
    with pytest.raises(TargetError, match="prints 'Welcome to the board' before it runs a command"):
        board.measured([dense_tflite])
    assert board.is_clean()


def test_too_few_sessions_for_the_models_are_reported(start_board, dense_tflite, int8_tflite):
    board = start_board("MaxSessions 2")
    with pytest.raises(TargetError, match=r"allows no further session.*MaxSessions"):
        board.measured([dense_tflite, int8_tflite])
    assert board.is_clean()


def test_a_missing_runtime_is_named_with_what_to_install(board, dense_tflite, dense_onnx, empty_python):
    with pytest.raises(
        TargetError, match=r"lacks numpy and ai-edge-litert: install there.*-m pip install numpy ai-edge"
    ):
        board.measured([dense_tflite], python=str(empty_python))
    with pytest.raises(TargetError, match="lacks onnxruntime: install there"):
        board.measured([dense_tflite, dense_onnx])
    assert board.is_clean()


def test_a_missing_or_broken_python_is_named(board, dense_tflite, tmp_path, caplog):
    with pytest.raises(TargetError, match=r"there is no 'python9' on .*install Python 3.10 or newer there, or name"):
        board.measured([dense_tflite], python="python9")
    with pytest.raises(TargetError, match=r"'false' does not work on .*exit status 1"):
        board.measured([dense_tflite], python="false")
    with pytest.raises(TargetError, match=r"'echo' does not work on .* \(it says '-'\)"):
        board.measured([dense_tflite], python="echo")
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 300\n")
    sleeper.chmod(0o755)
    with pytest.raises(TargetError, match=r"did not end .*python -' within 0\.2 s: it hangs"):
        board.measured([dense_tflite], python=str(sleeper), plan={"timeout_seconds": 0.2, "min_runs": 1})
    assert board.is_clean()
    assert not caplog.records  # what hangs there does not keep the connection open until the clean-up is given up


def test_an_old_python_is_refused(board, dense_tflite, tmp_path):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\necho \'{"python": [3, 7], "packages": null}\'\n')
    old.chmod(0o755)
    with pytest.raises(TargetError, match=r"is Python 3\.7: expected 3\.10 or newer"):
        board.measured([dense_tflite], python=str(old))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"known": "stranger"}, "the host key of .* is not known.*compare the fingerprint"),
        ({"known": "other_host"}, "shows another host key than the one that is known.*ssh-keygen -R"),
        ({"login": "stranger"}, r"does not let this user in \(.*Permission denied.*only keys are used.*ssh-copy-id"),
    ],
)
def test_keys_decide_who_is_who(start_board, dense_tflite, changes, words):
    board = start_board(**changes)
    with pytest.raises(TargetError, match=words):
        board.measured([dense_tflite])


def test_a_key_can_be_named(start_board, keys, dense_tflite):
    board = start_board(login="stranger")
    assert board.measured([dense_tflite], identity=str(keys / "user"))
    with pytest.raises(StorageError, match=r"private key '.*gone' does not exist"):
        board.measured([dense_tflite], identity=str(keys / "gone"))


def test_a_host_that_does_not_answer_is_reported(board, dense_tflite):
    board.process.kill()
    board.process.wait()
    with pytest.raises(
        TargetError, match=r"cannot be reached \(.*Connection refused\).*that `ssh -F .* -p \d+ .*` works"
    ):
        board.measured([dense_tflite])


@pytest.mark.parametrize("address", ["", "-oProxyCommand=x", "pi@", "pi@board:", "pi@board:0", "pi@board:70000", "a b"])
def test_what_is_no_address_is_refused(address, dense_tflite):
    with pytest.raises(RecipeError, match="is not an address: expected ssh://user@host"):
        ssh.measure([dense_tflite], make_plan(), address=address)


def test_no_ssh_client_is_reported(monkeypatch, dense_tflite):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(TargetError, match=r"no ssh client on this machine: install OpenSSH \(Debian: openssh-client\)"):
        next(ssh.measure([dense_tflite], make_plan(), address="pi@board"))
