"""One file per engine, one `Runner` interface: running model files without caring which engine does it.

An engine is a file of this folder that states SUFFIXES (the file suffixes it opens) and NATIVE_PARSER (whether a
malformed file may crash it), and defines `open_runner(path, *, num_threads=1) -> Runner`. Importing this package
imports no engine. It may also state VARIANTS (names for ways to run a file, with arguments for `open_runner`) and OPENS
(suffixes that it opens only when it is asked for by name), and ONLY_BY_NAME (whether it is left out where all runtimes
are asked for).
"""

from pathlib import Path
from typing import Any, cast

from edgekd import registry, storage
from edgekd.errors import ModelError, unknown_name
from edgekd.runtime import isolated, selection
from edgekd.runtime.isolated import IsolatedRunner
from edgekd.runtime.prediction import predict, predict_arrays, predict_outputs
from edgekd.runtime.quantisation import dequantise, dequantise_array, quantise, quantise_array
from edgekd.runtime.runner import Runner

__all__ = [
    "IsolatedRunner",
    "Runner",
    "dequantise",
    "dequantise_array",
    "engine_of",
    "open_runner",
    "predict",
    "predict_arrays",
    "predict_outputs",
    "quantise",
    "quantise_array",
]


def open_runner(
    path: Path | str,
    *,
    num_threads: int = 1,
    check: bool = True,
    runtime: str | None = None,
    probe: str = isolated.PROBE,
    **options: Any,
) -> Runner:
    """Returns a runner for a model file; the suffix chooses the engine.

    Args:
      path: a `.tflite`, `.onnx` or `.keras` file.
      num_threads: threads that the engine may use.
      check: whether a file for a native parser is opened and run in a child process with limits of time and memory
        (about half a second to start, and a copy of the arrays for each run), so that a file that crashes it raises
        here instead of ending this process. False is for files that this program made itself.
      runtime: another way to run it than the suffix chooses, such as litert_builtin, onnxruntime_unoptimised or
        tflite_micro.
      probe: the module that the child process runs, which may know more questions, see `IsolatedRunner.ask`.
      **options: further arguments of the engine's `open_runner`, of JSON's types, such as `signature="serve"`.

    Raises:
      StorageError: the file does not exist or cannot be read.
      ModelError: the suffix or runtime is unknown, or the file is empty, damaged or not runnable.
    """
    path = Path(path)
    chosen = None if runtime is None else selection.variant(runtime, path)
    engine = engine_of(path) if chosen is None else chosen.engine
    known = registry.describe(__name__, engine, entry="open_runner").parameters
    for name in options:
        if name not in known:
            raise ModelError(unknown_name(f"option of runtime {runtime or engine!r}:", name, known))
    storage.require_file(path, "model")
    if num_threads < 1:
        raise ModelError(f"num_threads must be at least 1, not {num_threads}.")
    if path.stat().st_size == 0:
        raise ModelError(f"{str(path)!r} is empty: export it again.")
    if check and registry.describe(__name__, engine, entry="open_runner").constants["NATIVE_PARSER"]:
        further = options if runtime is None else {**options, "runtime": runtime}
        return IsolatedRunner(path, num_threads=num_threads, options=further, probe=probe)
    runner = registry.load(__name__, engine).open_runner(
        path, num_threads=num_threads, **(chosen.options if chosen else {}), **options
    )
    return cast(Runner, runner)


def engine_of(path: Path) -> str:
    """Returns the name of the engine that opens files of that suffix.

    Raises:
      ModelError: no engine does; the message lists the suffixes.
    """
    engines = _engines()
    if path.suffix.lower() not in engines:
        raise ModelError(f"{str(path)!r}: {unknown_name('model file suffix', path.suffix, engines)}")
    return engines[path.suffix.lower()]


def _engines() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in registry.discover(__name__):
        for suffix in registry.describe(__name__, name, entry=None).constants.get("SUFFIXES", ()):
            if suffix in found:
                raise ModelError(f"the engines {found[suffix]!r} and {name!r} both claim {suffix} files.")
            found[suffix] = name
    return found
