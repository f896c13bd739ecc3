"""A model that runs in a child process: one that crashes, hangs or swells there is an error here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.child_process import Child, Limits
from edgekd.errors import ModelError
from edgekd.records import Preprocessing, TensorSpec
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays

PROBE = "edgekd.runtime.probe"
"""The module that a child runs by default."""

_HINT = " (open_runner(check=False) opens it in this process, without limits)"


class IsolatedRunner(ClosingRunner):
    """The runner of any engine, in a child process; arrays are copied to it and back."""

    def __init__(
        self,
        path: Path,
        *,
        num_threads: int = 1,
        options: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        probe: str = PROBE,
        child: Child | None = None,
    ) -> None:
        """Opens the file in a child, which also runs it once on zeros where its inputs' shapes tell how.

        Args:
          path: the file.
          num_threads: threads that the engine may use.
          options: further arguments of the engine's `open_runner`, of JSON's types.
          limits: of the child, for opening and for each run; by default `child_process.default_limits`.
          probe: the module that the child runs, which answers as `edgekd.runtime.probe` does.
          child: one that another runner has released; a new one by default. `limits` and `probe` are those of it.

        Raises:
          ModelError: it is damaged, cannot be run, crashed the child, or exceeded a limit.
        """
        self.name = path.name
        self._path = path
        self._child = Child(probe, limits=limits) if child is None else child
        try:
            question = {"path": str(path.resolve()), "num_threads": num_threads, "options": dict(options or {})}
            found, _ = self._child.ask(question, path=path, doing="opened", hint=_HINT)
        except BaseException:
            self._child.close()
            raise
        self.inputs, self.outputs = (
            tuple(TensorSpec.model_validate(spec) for spec in found[side]) for side in ("inputs", "outputs")
        )
        self._stateful = bool(found["stateful"])
        self.preprocessing = tuple(Preprocessing.model_validate(record) for record in found["preprocessing"])

    @property
    def stateful(self) -> bool:
        """Whether a run changes what the next one returns."""
        return self._stateful

    def reset(self) -> None:
        if self.stateful:
            self._child.ask("reset", path=self._path, doing="reset", hint=_HINT)

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if not self._child.is_alive:
            raise ModelError(f"{self.name!r} is closed, or crashed its process: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        _, outputs = self._child.ask("run", arrays, path=self._path, doing="run", hint=_HINT)
        return outputs

    def ask(self, question: Any, *, doing: str) -> tuple[Any, tuple[Array, ...]]:
        """Returns the child's answer to a question that its module knows besides those of a runner, and its arrays.

        Args:
          question: of JSON's types.
          doing: what the child does with the file, as a participle, for messages.

        Raises:
          ModelError: it raised that, crashed, or exceeded a limit.
        """
        return self._child.ask(question, path=self._path, doing=doing, hint=_HINT)

    def release(self) -> Child:
        """Closes the file and returns the child, which can open another one. This runner cannot be used any more."""
        self._child.ask("close", path=self._path, doing="closed", hint=_HINT)
        return self._child

    def close(self) -> None:
        self._child.close()
