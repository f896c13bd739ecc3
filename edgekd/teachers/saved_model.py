"""SavedModel folders as runners: TensorFlow's graphs with their variables, whatever library wrote them."""

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.saved_model.loader_impl import parse_saved_model

from edgekd import storage
from edgekd.errors import ModelError, said, unknown_name
from edgekd.records import TensorSpec
from edgekd.runtime.runner import Array, ClosingRunner, check_arrays
from edgekd.teachers import operators

LOADER = f"TensorFlow {importlib.metadata.version('tensorflow')}"

SIGNATURE = "serving_default"
"""The signature that is run by default."""

_INITIALISER = "__saved_model_init_op"


class SavedModelRunner(ClosingRunner):
    """One function of a SavedModel."""

    def __init__(self, loaded: Any, function: Any, name: str) -> None:
        self._loaded = loaded  # owns the variables; the function refers to them only weakly
        self._function = function
        self.name = name
        arguments, keywords = function.structured_input_signature
        positional = _named(arguments)
        self._keywords = [key for key, value in keywords.items() if _is_tensor(value)]
        found = [*positional, *((key, keywords[key]) for key in self._keywords)]
        if not found:
            raise ModelError(f"{name!r} takes no arrays: export it with a signature that takes some.")
        self._positional = len(positional)
        self.inputs: tuple[TensorSpec, ...] = tuple(_spec(key, value, name) for key, value in found)
        self.outputs: tuple[TensorSpec, ...] = tuple(
            _spec(key, value, name) for key, value in _outputs(function.structured_outputs, name)
        )

    def run(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        if self._function is None:
            raise ModelError(f"{self.name!r} is closed: open it again.")
        check_arrays(self.name, self.inputs, arrays)
        tensors = [tf.constant(array) for array in arrays]
        named = dict(zip(self._keywords, tensors[self._positional :], strict=True))
        try:
            found = self._function(*tensors[: self._positional], **named)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise ModelError(f"TensorFlow could not run {self.name!r}: {' '.join(str(error).split())[:500]}") from error
        return tuple(np.asarray(value) for _, value in _outputs(found, self.name))

    def close(self) -> None:
        self._function = self._loaded = None

    def variables_sha256(self) -> str:
        """Returns the hash of all variables that the function reads, as they are now."""
        digest = hashlib.sha256()
        for variable in self._function.variables:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        return digest.hexdigest()


def open_runner(folder: Path, *, signature: str | None = None) -> SavedModelRunner:
    """Returns a runner for a folder's function; see `load`."""
    return SavedModelRunner(*load(folder, signature=signature), folder.name)


def signatures(folder: Path) -> tuple[str, ...]:
    """Returns the names of a folder's signatures; nothing is loaded or run for this."""
    return tuple(sorted(set(_meta_graph(folder).signature_def) - {_INITIALISER}))


def load(folder: Path, *, signature: str | None = None) -> tuple[Any, Any]:
    """Returns what a folder holds and its function: a signature, or else what a call of it does.

    Where no signature is given, it is `serving_default`, or the only one.

    Whoever uses the function keeps the first, which owns its variables.

    A SavedModel is a program. Refused is one whose function, or what loading it runs, does more than compute and read
    variables: operators that TensorFlow marks as stateful, or that are known to reach files or Python. That is no
    sandbox.

    Raises:
      ModelError: it is damaged, unsafe, written by TensorFlow 1, or has no such function.
    """
    _refuse(folder, operators.unsafe_when_loaded(_meta_graph(folder)))
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow lets any error of a file's content through
        raise ModelError(f"{str(folder)!r} cannot be loaded{said(error)}: copy or export it again.") from error
    function = _function(loaded, folder.name, signature)
    _refuse(folder, operators.unsafe_when_run(function.graph.as_graph_def()))
    return loaded, function


def sha256(folder: Path) -> str:
    """Returns the hash of the names and contents of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{storage.sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _meta_graph(folder: Path) -> Any:
    """Returns what the folder's graph file says; nothing is loaded or run for this."""
    try:
        graphs = parse_saved_model(str(folder)).meta_graphs
    except OSError as error:
        raise ModelError(f"{str(folder)!r} is damaged: {error}. Copy or export it again.") from error
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise ModelError(
            f"{str(folder)!r} was written by TensorFlow 1 or has {len(graphs)} graphs, and what loading it would run "
            "cannot be checked: export it with tf.saved_model.save of TensorFlow 2, or load it in a function of your "
            "own and give package.module:function as the teacher."
        )
    return graphs[0]


def _refuse(folder: Path, unsafe: Sequence[str]) -> None:
    if unsafe:
        raise ModelError(
            f"{str(folder)!r} has operators that do more than compute ({', '.join(unsafe)}): they could run Python, "
            "read or write files, or draw random numbers, which edgekd does not run. Export it without them, or load "
            "it in a function of your own and give package.module:function as the teacher."
        )


def _function(loaded: Any, name: str, signature: str | None) -> Any:
    signatures = dict(getattr(loaded, "signatures", {}))
    if signature is not None:
        if signature not in signatures:
            raise ModelError(unknown_name(f"signature of {name!r}:", signature, signatures))
        return signatures[signature]
    if SIGNATURE in signatures:
        return signatures[SIGNATURE]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    for function in loaded.__call__.concrete_functions if callable(loaded) else ():
        arguments, keywords = function.structured_input_signature
        # A trace with training=True drops out and moves batch statistics.
        if True not in (*arguments, *keywords.values()):
            return function
    raise ModelError(
        f"{name!r} has neither a signature {SIGNATURE!r} nor a function of its own to call. Its signatures: "
        f"{', '.join(sorted(signatures)) or 'none'}. Export it with model.export(), or with signatures= that name one "
        f"{SIGNATURE!r}."
    )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, tf.TensorSpec)


def _named(arguments: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(value.name or f"input_{at}", value) for at, value in enumerate(arguments) if _is_tensor(value)]


def _outputs(structure: Any, name: str) -> list[tuple[str, Any]]:
    """Returns a function's outputs by name; unnamed ones are called output_0, output_1, ... as Keras does it."""
    if isinstance(structure, Mapping):
        found = sorted(structure.items())
    elif isinstance(structure, list | tuple):
        found = [(f"output_{at}", value) for at, value in enumerate(structure)]
    else:
        found = [("output_0", structure)]
    for key, value in found:
        if not isinstance(value, tf.TensorSpec | tf.Tensor):
            raise ModelError(f"output {key!r} of {name!r} is a {type(value).__name__}, expected one array.")
    return found


def _spec(key: str, spec: Any, name: str) -> TensorSpec:
    if spec.shape.rank is None or not (spec.dtype.is_floating or spec.dtype.is_integer):
        raise ModelError(f"tensor {key!r} of {name!r} is {spec}: an array of numbers of known rank is needed.")
    return TensorSpec(name=key, shape=tuple(spec.shape.as_list()), dtype=spec.dtype.name)
