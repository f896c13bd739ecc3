"""Compares files operator by operator in a process of its own: `python -m edgekd.verify.layers.probe`."""

from edgekd import child_process
from edgekd.verify.layers.files import answer

if __name__ == "__main__":
    child_process.serve(answer)
