"""ONNX Runtime's profile: a trace of every node of every run."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.bench import worker
from edgekd.bench.profiling._summary import summarised, timed_us
from edgekd.errors import ModelError

_SUFFIX = "_kernel_time"
_NUMBER = re.compile(r"(_token_\d+)?_kernel_time$")  # that which the optimiser gives differs from session to session


def profiled(path: Path, job: Mapping[str, Any], *, runs: int) -> dict[str, Any]:
    """Returns the times of a file's nodes.

    Args:
      path: an .onnx file.
      job: the worker's, of which its inputs are made.
      runs: to profile, after as many without.

    Raises:
      ModelError: ONNX Runtime cannot run the file, or not on these inputs.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="edgekd-profile-") as folder:
        try:
            unprofiled, run = _session(path, job)
            names = [each.name for each in unprofiled.get_outputs()]
            worker.require_batch(job, [(name, np.shape(value)) for name, value in zip(names, run(), strict=True)])
            plain_us = timed_us(run, runs)
            session, run = _session(path, job, prefix=str(Path(folder, "trace")))
            for _ in range(2 * runs):
                run()
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        except worker.RefusedError as refusal:
            raise ModelError(f"cannot profile {str(path)!r}: {refusal}.") from refusal
        except Exception as error:
            raise ModelError(f"ONNX Runtime cannot run {str(path)!r}: {str(error).splitlines()[0]}.") from error
    wholes = [each["dur"] for each in events if each["name"] == "model_run"][-runs:]
    nodes = [each for each in events if each.get("cat") == "Node" and each["name"].endswith(_SUFFIX)]
    if len(wholes) < runs or not nodes or len(nodes) % (2 * runs):
        raise ModelError(f"ONNX Runtime's profile of {str(path)!r} is not whole: use fewer runs.")
    count = len(nodes) // (2 * runs)
    last = nodes[-count * runs :]
    return summarised(
        f"onnxruntime {onnxruntime.__version__}",
        [
            {"name": each["args"]["op_name"], "place": _NUMBER.sub("", each["name"]), "in_delegate": False}
            for each in last[:count]
        ],
        wholes,
        [[each["dur"] for each in last[start : start + count]] for start in range(0, len(last), count)],
        plain_us=plain_us,
    )


def _session(path: Path, job: Mapping[str, Any], *, prefix: str | None = None) -> tuple[Any, Callable[[], Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = prefix
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    specs = worker.onnx_inputs(session)
    arrays = worker.make_inputs(specs, job)
    feed = {spec["name"]: value for spec, value in zip(specs, arrays, strict=True)}
    return session, lambda: session.run(None, feed)
