"""The same model gives the same bytes in another process, whatever that process has done before."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

from edgekd import quantize

SCRIPT = Path(__file__).with_name("same_bytes_process.py")


def test_every_kind_of_file_is_the_same_in_two_processes_with_different_pasts(tmp_path):
    folders = [tmp_path / "fresh", tmp_path / "used"]
    for folder in folders:
        folder.mkdir()
    # A hash seed of its own, so that the order of sets differs.
    environment = {**os.environ, "PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
    command = [sys.executable, str(SCRIPT), str(folders[0]), "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        used = runpy.run_path(str(SCRIPT))["hashes"](folders[1], models_before=3)
        said, errors = child.communicate()
    assert child.returncode == 0, errors
    fresh = json.loads(said.splitlines()[-1])
    assert len(fresh) == sum(len(scheme.formats) for scheme in quantize.all_schemes()) >= 11
    assert fresh == used
