"""What an exported file says of its arithmetic and of its network, read in a child process."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.child_process import Child
from edgekd.runtime import IsolatedRunner, Runner
from edgekd.verify.activations import Activation
from edgekd.verify.arithmetic import Arithmetic, arithmetic_of
from edgekd.verify.identity import Identity, identity_of

PROBE = "edgekd.verify.probe"
"""The module whose process runs models as `edgekd.runtime.probe` does, and reads what is asked for here."""

Array = np.ndarray[Any, Any]


def read(path: Path, runner: Runner, *, signature: str | None = None) -> tuple[Arithmetic, Identity]:
    """Returns how a TFLite or ONNX file computes, and what its network can be recognised by.

    Args:
      path: the file.
      runner: which has opened it; one in a process of `PROBE` is asked there, else a process is started.
      signature: as for `arithmetic_of`.

    Raises:
      ModelError: the file is damaged, or crashed the process or exceeded its limits.
    """
    question = {"read": str(path.resolve()), "signature": signature}
    if isinstance(runner, IsolatedRunner):
        return _understood(*runner.ask(question, doing="read"))
    child = Child(PROBE)
    try:
        return _understood(*child.ask(question, path=path, doing="read"))
    finally:
        child.close()


def answer(read: str, signature: str | None) -> tuple[dict[str, Any], tuple[Array, ...]]:
    """Returns, in the child, what `read` asks for: a document and the identity's channels.

    Args:
      read: the path of the file.
      signature: as for `arithmetic_of`.

    Raises:
      ModelError: it is damaged.
    """
    arithmetic, identity = arithmetic_of(Path(read), signature=signature), identity_of(Path(read))
    recorded = {name: getattr(identity, name) for name in ("weights", "calibration", "scheme")}
    document = {"arithmetic": dataclasses.asdict(arithmetic), "recorded": recorded, "weights": [*identity.channels]}
    return document, tuple(identity.channels.values())


def _understood(document: Mapping[str, Any], arrays: Sequence[Array]) -> tuple[Arithmetic, Identity]:
    found = document["arithmetic"]
    arithmetic = Arithmetic(
        kind=found["kind"],
        steps=found["steps"],
        ranges={name: (low, high) for name, (low, high) in found["ranges"].items()},
        activations={name: Activation(**each) for name, each in found["activations"].items()},
    )
    return arithmetic, Identity(**document["recorded"], channels=dict(zip(document["weights"], arrays, strict=True)))
