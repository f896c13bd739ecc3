"""The processor times of test files, in whichever process they ran."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUSY = """
import subprocess, sys, time

def test_works_in_a_child():
    script = "import time\\nwhile time.process_time() < 0.4: pass"
    subprocess.run([sys.executable, "-c", script], check=True)
"""
IDLE = """
import time

def test_sleeps():
    time.sleep(0.6)
"""


def test_what_works_comes_before_what_sleeps_and_children_count(tmp_path: Path) -> None:
    (tmp_path / "test_idle.py").write_text(IDLE)
    (tmp_path / "test_busy.py").write_text(BUSY)
    plugins = ["-p", "tools.processor_times", "-p", "no:cacheprovider", "-n", "1"]
    command = [sys.executable, "-m", "pytest", *plugins, "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    worked, waited = done.stdout.split(" waiting ")
    (first, second) = re.findall(r"^ +(\d+\.\d) s  (\S+)$", worked, re.MULTILINE)
    assert (first[1], second[1]) == ("test_busy.py", "test_idle.py")
    assert float(first[0]) >= 0.4
    assert float(second[0]) < 0.4
    waits = {file: float(seconds) for seconds, file in re.findall(r"^ +(\d+\.\d) s  (\S+)$", waited, re.MULTILINE)}
    assert waits["test_idle.py"] >= 0.5
    assert re.search(r"^ +\d+\.\d s  after the start: gw0 is done$", waited, re.MULTILINE)
