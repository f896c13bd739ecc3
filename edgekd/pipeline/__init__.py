"""The stages in order: each reads files and writes files; a run does only what is not done yet."""

from edgekd.pipeline.execution import RunResult, default_folder, load_data, run
from edgekd.pipeline.progress import Progress

__all__ = ["Progress", "RunResult", "default_folder", "load_data", "run"]
