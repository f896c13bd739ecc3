"""LiteRT's profile, through its C interface: the Python one does not offer it.

The library states neither the identifier of its options nor the layout of an event as an interface that stays, so
every answer is checked, and all of it runs in a child process. Known to work with ai-edge-litert 2.3.
"""

import ctypes
import importlib.metadata
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import flatbuffer
from edgekd.bench import worker
from edgekd.bench.profiling._summary import summarised, timed_us
from edgekd.errors import ModelError

_OPTIONS, _ENABLE = b"runtime_options_string", b"enable_profiling = true\n"
_CPU = 1  # of the hardware accelerators
_WRITE = 1  # of the ways to lock a buffer
_TYPE_BYTES = 512  # more than a tensor's type takes
# tflite::Profiler::EventType
_DEFAULT, _OPERATOR, _IN_DELEGATE, _OF_DELEGATE = 1, 1 << 1, 1 << 2, 1 << 3
_EVENT_TYPES = frozenset(1 << bit for bit in range(9))
_WHOLE = "Invoke"


class _Event(ctypes.Structure):
    """LiteRT's ProfiledEventData; the memory of two moments is not used here."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_int64 * 6),
        ("place", ctypes.c_uint64),
        ("more", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


def profiled(path: Path, job: Mapping[str, Any], *, runs: int) -> dict[str, Any]:
    """Returns the times of a file's operators, those of XNNPACK where it runs them.

    Args:
      path: a .tflite file.
      job: the worker's, of which its inputs are made.
      runs: to profile, after as many without.

    Raises:
      ModelError: LiteRT cannot run the file, or not on these inputs, or its profiler answers in a way that is not
        known.
    """
    plain_us, arrays, shapes = _plain(path, job, runs)
    with tempfile.TemporaryDirectory(prefix="edgekd-profile-") as folder:
        compiled = _Compiled(path, _of_sizes(path, shapes, Path(folder)))
    compiled.fill(arrays)
    for _ in range(runs):
        compiled.run()
    seen = [compiled.profiled_run() for _ in range(runs)]
    first = [each[:3] for each in seen[0][1]]
    if any([each[:3] for each in operators] != first for _, operators in seen):
        raise ModelError(f"{str(path)!r} runs other operators in another inference: it cannot be profiled.")
    return summarised(
        f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
        [{"name": name, "place": place, "in_delegate": in_delegate} for name, place, in_delegate in first],
        [whole for whole, _ in seen],
        [[each[3] for each in operators] for _, operators in seen],
        plain_us=plain_us,
    )


def _plain(path: Path, job: Mapping[str, Any], runs: int) -> tuple[float, list[Any], dict[int, list[int]]]:
    """Returns the time of an inference without profiling, the inputs, and the shapes of inputs and outputs in it."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        details = interpreter.get_input_details()
        specs = worker.litert_inputs(details)
        arrays = worker.make_inputs(specs, job)
        for detail, value in zip(details, arrays, strict=True):
            if list(value.shape) != list(detail["shape"]):
                interpreter.resize_tensor_input(detail["index"], value.shape)
        interpreter.allocate_tensors()
        for detail, value in zip(details, arrays, strict=True):
            interpreter.set_tensor(detail["index"], value)
        plain_us = timed_us(interpreter.invoke, runs)
        outputs = interpreter.get_output_details()
        worker.require_batch(job, [(each["name"], each["shape"]) for each in outputs])
        shapes = {each["index"]: each["shape"].tolist() for each in (*interpreter.get_input_details(), *outputs)}
        return plain_us, arrays, shapes
    except worker.RefusedError as refusal:
        raise ModelError(f"cannot profile {str(path)!r}: {refusal}.") from refusal
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT cannot run {str(path)!r}: {str(error).splitlines()[0]}.") from error


def _of_sizes(path: Path, shapes: Mapping[int, list[int]], folder: Path) -> Path:
    """Returns the file, or a copy of it whose inputs and outputs have these shapes.

    A compiled model makes its buffers as the file says, which may leave sizes open or have another batch.
    """
    model = flatbuffer.read(path.read_bytes())
    tensors = model.subgraphs[0].tensors
    if all(list(tensors[index].shape) == shape and _is_fixed(tensors[index]) for index, shape in shapes.items()):
        return path
    for index, shape in shapes.items():
        tensors[index].shape, tensors[index].shapeSignature = np.array(shape, np.int32), None
    copy = folder / path.name
    copy.write_bytes(flatbuffer.pack(model))
    return copy


def _is_fixed(tensor: Any) -> bool:
    return tensor.shapeSignature is None or min(tensor.shapeSignature, default=0) >= 0


class _Compiled:
    """A compiled model with its profiler and buffers; they live as long as the process."""

    def __init__(self, path: Path, file: Path) -> None:
        """Compiles `file`, which messages call by the path that the user gave."""
        import ai_edge_litert.compiled_model

        self._path = path
        package = Path(ai_edge_litert.compiled_model.__file__).parent
        self._library = ctypes.CDLL(str(package / "libLiteRt.so"))
        self._deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
        self._text = ctypes.create_string_buffer(_ENABLE)
        handle = ctypes.c_void_p
        environment, options, opaque = handle(), handle(), handle()
        self._model, self._compiled, self._profiler = handle(), handle(), handle()
        self._call("CreateEnvironment", 0, None, ctypes.byref(environment))
        name = ctypes.c_char_p(str(file).encode())
        self._call("CreateModelFromFile", environment, name, ctypes.byref(self._model))
        self._call("CreateOptions", ctypes.byref(options))
        self._call("SetOptionsHardwareAccelerators", options, _CPU)
        text = ctypes.cast(self._text, handle)
        self._call("CreateOpaqueOptions", ctypes.c_char_p(_OPTIONS), text, self._deleter, ctypes.byref(opaque))
        self._call("AddOpaqueOptions", options, opaque)
        self._call("CreateCompiledModel", environment, self._model, options, ctypes.byref(self._compiled))
        self._call("CompiledModelGetProfiler", self._compiled, ctypes.byref(self._profiler))
        if not self._profiler:
            raise self._unknown("it gives no profiler")
        self._signature = handle()
        self._call("GetModelSignature", self._model, ctypes.c_size_t(0), ctypes.byref(self._signature))
        self._inputs = self._buffers("Input", environment)
        self._outputs = self._buffers("Output", environment)

    def fill(self, arrays: list[Any]) -> None:
        """Writes the inputs, in the file's order."""
        if len(arrays) != len(self._inputs):
            raise self._unknown(f"it has {len(self._inputs)} inputs for {len(arrays)}")
        for buffer, value in zip(self._inputs, arrays, strict=True):
            size, address = ctypes.c_size_t(), ctypes.c_void_p()
            self._call("GetTensorBufferPackedSize", ctypes.c_void_p(buffer), ctypes.byref(size))
            content = np.ascontiguousarray(value).tobytes()
            if size.value != len(content):
                raise self._unknown(f"an input takes {size.value} bytes where {len(content)} were expected")
            self._call("LockTensorBuffer", ctypes.c_void_p(buffer), ctypes.byref(address), _WRITE)
            ctypes.memmove(address, content, len(content))
            self._call("UnlockTensorBuffer", ctypes.c_void_p(buffer))

    def run(self) -> None:
        """Runs one inference."""
        counts = ctypes.c_size_t(len(self._inputs)), ctypes.c_size_t(len(self._outputs))
        self._call(
            "RunCompiledModel", self._compiled, ctypes.c_size_t(0), counts[0], self._inputs, counts[1], self._outputs
        )

    def profiled_run(self) -> tuple[int, list[tuple[str, str, bool, int]]]:
        """Runs one inference and returns its time and each operator's name, place, whether delegated, and time."""
        self._call("ResetProfiler", self._profiler)
        self._call("StartProfiler", self._profiler)
        self.run()
        self._call("StopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("GetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * (count.value + 8))()
        self._call("GetProfilerEvents", self._profiler, count, events)
        found = events[: count.value]
        if not found or any(each.type not in _EVENT_TYPES or not each.tag for each in found):
            raise self._unknown("its events have another layout")
        wholes = [each.elapsed_us for each in found if each.type == _DEFAULT and each.tag.decode() == _WHOLE]
        operators = [
            (each.tag.decode(), str(each.place), each.type != _OPERATOR, each.elapsed_us)
            for each in found
            if each.type in (_OPERATOR, _IN_DELEGATE, _OF_DELEGATE)
        ]
        if len(wholes) != 1 or not operators:
            raise self._unknown("it has no event of the whole inference or none of operators")
        return wholes[0], operators

    def _buffers(self, kind: str, environment: ctypes.c_void_p) -> Any:
        count = ctypes.c_size_t()
        self._call(f"GetNumSignature{kind}s", self._signature, ctypes.byref(count))
        buffers = (ctypes.c_void_p * count.value)()
        for index in range(count.value):
            tensor, needs, buffer = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
            place = ctypes.c_size_t(index)
            kind_of_tensor = (ctypes.c_byte * _TYPE_BYTES)()
            self._call(f"GetSignature{kind}TensorByIndex", self._signature, place, ctypes.byref(tensor))
            self._call("GetRankedTensorType", tensor, ctypes.byref(kind_of_tensor))
            self._call(
                f"GetCompiledModel{kind}BufferRequirements",
                self._compiled,
                ctypes.c_size_t(0),
                place,
                ctypes.byref(needs),
            )
            self._call(
                "CreateManagedTensorBufferFromRequirements",
                environment,
                ctypes.byref(kind_of_tensor),
                needs,
                ctypes.byref(buffer),
            )
            buffers[index] = buffer.value
        return buffers

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            function: Callable[..., int] = getattr(self._library, f"LiteRt{name}")
        except AttributeError:
            raise self._unknown(f"it has no LiteRt{name}") from None
        status = function(*arguments)
        if status:
            raise self._unknown(f"LiteRt{name} ended with status {status}")

    def _unknown(self, what: str) -> ModelError:
        version = importlib.metadata.version("ai-edge-litert")
        return ModelError(
            f"LiteRT {version} cannot profile {str(self._path)!r}: {what}. Known to work is ai-edge-litert 2.3."
        )
