"""Puts damaged model files through what edgekd does with foreign files, and looks for anything but a clear refusal.

    python tools/fuzz_models.py --count 2000                      2,000 files of each format, made from small networks
    python tools/fuzz_models.py --count 500 a.tflite b.onnx       made from these files
    python tools/fuzz_models.py --only 17 --format tflite         one file again, kept in --keep
    python tools/fuzz_models.py --count 100 --commands 10         every tenth also through the command line itself

Each file is a sound one with one to three changes: bits flipped, the end cut off, pieces spliced in, moved or zeroed,
numbers made extreme, and, through the format's own schema, shapes, indices, buffers, scales, kinds and wiring made
wrong. File number N of a seed is always the same, whatever the count.

It goes through five ways: inspecting (what LiteRT's delegate takes included), comparing with the sound file, opening,
reading how it computes, and running, as `edgekd verify` and `bench` do, comparing operator by operator with the sound
file, as `edgekd verify --layers` does, and reading what a golden record keeps. Each way is the library's own child
process with its limits, kept alive for up to 50 files: starting one for each would only take longer. What counts as a
failure is an error that is not edgekd's, one that does not name the file, has no clear words or more than one line, or
that stems from an exception in the child that nobody foresaw. A child that crashes, hangs or swells is no failure: that
is one line of error here, and is counted.

Exit status 0 where nothing failed, 1 otherwise.
"""

import argparse
import contextlib
import dataclasses
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.message import DecodeError

from edgekd import flatbuffer
from edgekd.child_process import Child, Limits
from edgekd.errors import EdgekdError, ModelError

WAYS = ("inspect", "diff", "run", "layers", "golden")
FORMATS = ("tflite", "onnx")
LIMITS = Limits(seconds=30, memory_bytes=2 << 30)
FILES_PER_CHILD = 50
_MODULES = {
    "inspect": "edgekd.inspect.probe",
    "diff": "edgekd.diff.probe",
    "read": "edgekd.verify.probe",
    "run": "edgekd.runtime.probe",
    "base": "edgekd.runtime.probe",
    "layers": "edgekd.verify.layers.probe",
    "golden": "edgekd.golden.probe",
}
LONGEST_MESSAGE = 1200
EXTREMES = (0, 1, -1, 2**31 - 1, -(2**31), 2**16, 0x7FFFFF)

Rng = np.random.Generator
Change = Callable[[Rng, bytes, Sequence[bytes]], bytes]
ModelChange = Callable[[Rng, Any], None]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A file that was not refused as it should be.

    Attributes:
      number: of the file.
      format: tflite or onnx.
      way: which of WAYS.
      why: what went wrong.
    """

    number: int
    format: str
    way: str
    why: str


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of all files.

    Attributes:
      counts: how often each outcome of each (format, way) occurred.
      failures: what must be mended.
      seconds: that it took.
    """

    counts: Mapping[tuple[str, str], Counter[str]]
    failures: tuple[Failure, ...]
    seconds: float


def fuzz(
    bases: Mapping[str, Sequence[Path]],
    *,
    numbers: Sequence[int],
    seed: int,
    folder: Path,
    limits: Limits = LIMITS,
    commands: int = 0,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Returns what became of damaged files.

    Args:
      bases: sound files by format.
      numbers: which files of the seed to make of each format.
      seed: of the damage.
      folder: where the files are written, and the ones that failed stay.
      limits: of each child.
      commands: every so many files also go through the command line; 0 for none.
      on_progress: is called with a line now and then.
    """
    start = time.monotonic()
    counts: dict[tuple[str, str], Counter[str]] = {}
    failures: list[Failure] = []
    for name, paths in bases.items():
        contents = [path.read_bytes() for path in paths]
        with contextlib.closing(_Ways(limits)) as ways:
            for done, number in enumerate(numbers, start=1):
                which = number % len(paths)
                path = folder / f"{name}-{seed}-{number}.{name}"
                path.write_bytes(damaged(name, contents, which, seed=seed, number=number))
                found = {way: ways.outcome(way, path, paths[which]) for way in WAYS}
                if commands and number % commands == 0:
                    found |= _commands(path, paths[which])
                for way, (outcome, why) in found.items():
                    counts.setdefault((name, way), Counter())[outcome] += 1
                    if outcome == "failure":
                        failures.append(Failure(number=number, format=name, way=way, why=why))
                        on_progress(f"{path.name}: {way}: {why}")
                if not any(outcome == "failure" for outcome, _ in found.values()):
                    path.unlink()
                if done % 100 == 0:
                    on_progress(f"{name}: {done:,} of {len(numbers):,} files, {time.monotonic() - start:.0f} s")
    return Result(counts=counts, failures=tuple(failures), seconds=time.monotonic() - start)


def damaged(name: str, contents: Sequence[bytes], which: int, *, seed: int, number: int) -> bytes:
    """Returns a damaged file: the same for the same arguments.

    Args:
      name: its format.
      contents: sound files of that format.
      which: of them is damaged; pieces of the others may come in.
      seed: of all files.
      number: of this one.
    """
    rng = np.random.default_rng([seed, number, FORMATS.index(name)])
    content = contents[which]
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.5:
            content = _through_schema(rng, name, content)
        else:
            content = _BYTES[rng.integers(len(_BYTES))](rng, content, contents)
    if content == contents[which]:
        content = _flip_bits(rng, content, contents)
    return content or b"\0"


class _Ways:
    """One child process for each way, replaced when it ends and after some files."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._children: dict[str, Child] = {}
        self._asked: Counter[str] = Counter()

    def outcome(self, way: str, path: Path, base: Path) -> tuple[str, str]:
        """Returns what became of a file, and why where it was refused or failed."""
        try:
            getattr(self, f"_{way}")(path, base)
        except EdgekdError as error:
            return _judged(str(error), path)
        except Exception as error:  # what the command line would show as a traceback
            return "failure", f"{type(error).__name__}: {error}"
        return "accepted", ""

    def close(self) -> None:
        for child in self._children.values():
            child.close()

    def _inspect(self, path: Path, base: Path) -> None:  # noqa: ARG002
        from edgekd.inspect import Delegation, Inspection

        document = self._ask("inspect", {"what": "inspection", "path": str(path)}, path, "read")
        Inspection.model_validate(document)
        if path.suffix == ".tflite":
            with contextlib.suppress(ModelError):  # it stands in a note of the inspection
                question = {"what": "delegation", "path": str(path)}
                Delegation.model_validate(self._ask("inspect", question, path, "prepared"))

    def _diff(self, path: Path, base: Path) -> None:
        from edgekd.diff import Difference

        for old, new in ((base, path), (path, base)):
            document = self._ask("diff", {"old": str(old), "new": str(new)}, path, "compared")
            Difference.model_validate(document)

    def _run(self, path: Path, base: Path) -> None:  # noqa: ARG002
        from edgekd.records import TensorSpec

        found = self._ask("run", {"path": str(path), "num_threads": 1, "options": {}}, path, "opened")
        # As comparing does, of what could be opened.
        self._ask("read", {"read": str(path), "signature": None}, path, "read")
        specs = [TensorSpec.model_validate(spec) for spec in found["inputs"]]
        rng = np.random.default_rng(0)
        arrays = []
        for spec in specs:
            shape = [size or 1 for size in spec.shape]
            if np.prod(shape, dtype=float) > 1 << 24:
                return  # it opened; nobody has such samples
            arrays.append((100 * rng.standard_normal(shape)).astype(spec.dtype))
        self._ask("run", "run", path, "run", arrays)

    def _layers(self, path: Path, base: Path) -> None:
        from edgekd.records import TensorSpec
        from edgekd.verify.layers import LayerComparison

        question = {"path": str(base), "num_threads": 1, "options": {}}
        specs = [TensorSpec.model_validate(spec) for spec in self._ask("base", question, base, "opened")["inputs"]]
        rng = np.random.default_rng(0)
        arrays = [rng.random((4, *(size or 1 for size in spec.shape[1:])), np.float32) for spec in specs]
        self._ask("layers", {"open": str(path)}, path, "opened")
        question = {"paths": [str(base), str(path)], "names": [base.name, path.name], "dataset": "random"}
        question["input_names"] = None
        LayerComparison.model_validate(self._ask("layers", question, path, "compared operator by operator", arrays))

    def _golden(self, path: Path, base: Path) -> None:  # noqa: ARG002
        from edgekd.golden.records import Constant
        from edgekd.inspect import Inspection

        document = self._ask("golden", {"path": str(path)}, path, "read")
        Inspection.model_validate(document["inspection"])
        for each in document["constants"]:
            Constant.model_validate(each)

    def _ask(self, way: str, question: Any, path: Path, doing: str, arrays: Sequence[Any] = ()) -> Any:
        child = self._children.get(way)
        fresh = question != "run" and self._asked[way] >= FILES_PER_CHILD
        if child is None or not child.is_alive or fresh:
            if child is not None:
                child.close()
            child = self._children[way] = Child(_MODULES[way], limits=self._limits)
            self._asked[way] = 0
        self._asked[way] += 1
        return child.ask(question, arrays, path=path, doing=doing)[0]


def _judged(message: str, path: Path) -> tuple[str, str]:
    """Returns whether a refusal is as it should be: of one line, clear, and with the file's name."""
    if "crashed its parser" in message:
        return "crashed in the child", message
    if "within" in message and "in a child process" in message:
        return "took too long", message
    if "of memory, which is what a child process may use" in message:
        return "needed too much memory", message
    wrong = [
        why
        for why, holds in (
            ("an exception in the child that nobody foresaw", "could not be tried in a child process" in message),
            ("it does not name the file", path.name not in message),
            ("it is too long", len(" ".join(message.split())) > LONGEST_MESSAGE),
            ("it has no words", len(message.split()) < 4),
            ("it has a traceback", "Traceback" in message),
            ("it has bytes that no terminal shows", not " ".join(message.split()).isprintable()),
        )
        if holds
    ]
    return ("failure", f"{'; '.join(wrong)}: {message}") if wrong else ("refused", message)


def _commands(path: Path, base: Path) -> dict[str, tuple[str, str]]:
    """Runs the command line itself: no traceback, one line of error, exit status 0 to 3."""
    found = {}
    start = [sys.executable, "-P", "-c", "from edgekd.cli import main; main()"]
    for way, arguments in (
        ("edgekd inspect", ["inspect", str(path)]),
        ("edgekd diff", ["diff", str(base), str(path), "--exit-code"]),
        ("edgekd verify", ["verify", str(base), str(path), "--seeded", "4"]),
        ("verify --layers", ["verify", str(base), str(path), "--seeded", "4", "--layers"]),
    ):
        done = subprocess.run([*start, *arguments], capture_output=True, text=True, timeout=600, check=False)
        lines = done.stderr.strip().splitlines()
        good = (done.returncode in (0, 1, 3) and not lines) or (done.returncode == 2 and len(lines) == 1)
        why = f"exit status {done.returncode}, {len(lines)} lines of error, the last: {(lines or ['none'])[-1]}"
        found[way] = ("failure", why) if not good else ("refused" if lines else "accepted", why)
    return found


def _flip_bits(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:  # noqa: ARG001
    array = np.frombuffer(content, np.uint8).copy()
    count = int(rng.integers(1, 65))
    end = len(array) if rng.random() < 0.5 else min(len(array), 2048)  # where the structure often lies
    array[rng.integers(0, end, count)] ^= (1 << rng.integers(0, 8, count)).astype(np.uint8)
    return array.tobytes()


def _truncate(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:  # noqa: ARG001
    return content[: int(rng.integers(0, len(content)))] if content else content


def _splice(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:
    """Puts a piece of a sound file over, or between, what is there."""
    donor = others[int(rng.integers(len(others)))]
    size = int(rng.integers(1, min(len(donor), 512)))
    start, target = int(rng.integers(0, len(donor) - size + 1)), int(rng.integers(0, len(content) + 1))
    kept = target if rng.random() < 0.3 else target + size
    return content[:target] + donor[start : start + size] + content[kept:]


def _zero(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:  # noqa: ARG001
    start, size = int(rng.integers(0, len(content) + 1)), int(rng.integers(1, 256))
    return content[:start] + b"\0" * min(size, len(content) - start) + content[start + size :]


def _extreme_numbers(rng: Rng, content: bytes, others: Sequence[bytes]) -> bytes:  # noqa: ARG001
    """Puts extreme 32-bit numbers where numbers may stand."""
    array = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        if len(array) >= 8:
            start = int(rng.integers(0, len(array) // 4 - 1)) * 4
            array[start : start + 4] = np.int32(EXTREMES[rng.integers(len(EXTREMES))]).tobytes()
    return bytes(array)


def _through_schema(rng: Rng, name: str, content: bytes) -> bytes:
    """Returns the file with one field changed in a way that its format can write; as it is where it is past reading."""
    try:
        if name == "tflite":
            model = flatbuffer.read(content)
            _TFLITE[rng.integers(len(_TFLITE))](rng, model)
            return flatbuffer.pack(model)
        proto = onnx.load_model_from_string(content)
        _ONNX[rng.integers(len(_ONNX))](rng, proto)
        return proto.SerializeToString()
    except (ModelError, DecodeError, ValueError, TypeError, AttributeError, LookupError, OverflowError, struct.error):
        return content


def _one(rng: Rng, things: Any) -> Any:
    return things[int(rng.integers(len(things)))]


def _extreme(rng: Rng) -> int:
    return int(_one(rng, EXTREMES))


def _tflite_shape(rng: Rng, model: Any) -> None:
    tensor = _one(rng, _one(rng, model.subgraphs).tensors)
    shape = np.asarray(tensor.shape if tensor.shape is not None else [], np.int32)
    if rng.random() < 0.3:
        tensor.shape = rng.integers(1, 1 << 12, rng.integers(0, 7)).astype(np.int32)
    elif len(shape):
        shape = shape.copy()
        shape[rng.integers(len(shape))] = _extreme(rng)
        tensor.shape = shape


def _tflite_index(rng: Rng, model: Any) -> None:
    graph = _one(rng, model.subgraphs)
    holder, side = _one(rng, [*((each, side) for each in graph.operators for side in ("inputs", "outputs"))])
    if rng.random() < 0.2:
        holder, side = graph, _one(rng, ["inputs", "outputs"])
    indices = np.asarray(getattr(holder, side), np.int32).copy()
    wrong = _extreme(rng) if rng.random() < 0.4 else int(rng.integers(0, len(graph.tensors)))
    indices[rng.integers(len(indices))] = wrong
    setattr(holder, side, indices)


def _tflite_buffers(rng: Rng, model: Any) -> None:
    first, second = (_one(rng, _one(rng, model.subgraphs).tensors) for _ in range(2))
    if rng.random() < 0.3:
        first.buffer = abs(_extreme(rng))
    elif rng.random() < 0.5:
        first.buffer, second.buffer = second.buffer, first.buffer
    else:
        buffer = model.buffers[first.buffer]
        buffer.data = None if buffer.data is None else buffer.data[: rng.integers(0, len(buffer.data) + 1)]


def _tflite_quantisation(rng: Rng, model: Any) -> None:
    tensor = _one(rng, _one(rng, model.subgraphs).tensors)
    if tensor.quantization is None:
        tensor.quantization = schema.QuantizationParametersT()
    scales = _one(rng, [[], [0.0], [np.nan], [-1.0], [np.inf], [1e-38], [0.1] * 3, [1e38]])
    tensor.quantization.scale = np.float32(scales)
    tensor.quantization.zeroPoint = np.int64(_one(rng, [[], [0], [2**40], [0, 1], [-(2**63)]]))
    tensor.quantization.quantizedDimension = _one(rng, [0, 1, -1, 9, 2**31 - 1])


def _tflite_kind(rng: Rng, model: Any) -> None:
    if rng.random() < 0.5:
        _one(rng, _one(rng, model.subgraphs).tensors).type = int(rng.integers(0, 22))
    else:
        code = _one(rng, model.operatorCodes)
        code.builtinCode = int(rng.integers(0, 210))
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = int(_one(rng, [1, 2, 9, 1000]))


def _tflite_wiring(rng: Rng, model: Any) -> None:
    graph = _one(rng, model.subgraphs)
    what = rng.integers(5)
    if what == 0:
        graph.operators = graph.operators[::-1]
    elif what == 1:
        graph.operators = [each for each in graph.operators if rng.random() < 0.7]
    elif what == 2:
        graph.operators.append(_one(rng, graph.operators))
    elif what == 3:
        model.subgraphs.append(graph)
    else:
        _one(rng, graph.operators).opcodeIndex = _extreme(rng) & 0xFFFF


def _tflite_options(rng: Rng, model: Any) -> None:
    options = _one(rng, _one(rng, model.subgraphs).operators).builtinOptions
    numbers = [name for name, value in vars(options).items() if isinstance(value, int) and not isinstance(value, bool)]
    name = _one(rng, numbers)
    setattr(options, name, _one(rng, [0, 1, -1, 100, 127, 2**31 - 1 if name.startswith(("stride", "dil")) else 3]))


def _onnx_shape(rng: Rng, model: Any) -> None:
    value = _one(rng, [*model.graph.input, *model.graph.output])
    if rng.random() < 0.5 and model.graph.initializer:
        tensor = _one(rng, model.graph.initializer)
        if len(tensor.dims):
            tensor.dims[int(rng.integers(len(tensor.dims)))] = int(_one(rng, [*EXTREMES, 2**62]))
        return
    _one(rng, value.type.tensor_type.shape.dim).dim_value = int(_one(rng, [*EXTREMES, 2**40]))


def _onnx_wiring(rng: Rng, model: Any) -> None:
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    node, what = _one(rng, model.graph.node), rng.integers(5)
    if what == 0:
        node.input[int(rng.integers(len(node.input)))] = _one(rng, names)
    elif what == 1:
        node.output[int(rng.integers(len(node.output)))] = _one(rng, names)
    elif what == 2:
        del model.graph.node[int(rng.integers(len(model.graph.node)))]
    elif what == 3:
        model.graph.node.add().CopyFrom(node)
    else:
        del node.input[int(rng.integers(len(node.input))) :]


def _onnx_tensor(rng: Rng, model: Any) -> None:
    tensor, what = _one(rng, model.graph.initializer), rng.integers(4)
    if what == 0:
        tensor.data_type = int(rng.integers(0, 27))
    elif what == 1:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(0, len(tensor.raw_data) + 1))]
    elif what == 2:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=_one(rng, ["/etc/passwd", "../x", "", "\0"]))
    else:
        tensor.name = _one(rng, ["", tensor.name * 3, "\U0001f600"])


def _onnx_kind(rng: Rng, model: Any) -> None:
    node, what = _one(rng, model.graph.node), rng.integers(5)
    if what == 0:
        node.op_type = _one(
            rng, ["", "Relu", "Conv", "If", "Loop", "Gather", "NoSuchOperator", "QLinearConv", "Resize"]
        )
    elif what == 1:
        node.domain = _one(rng, ["com.example", "ai.onnx.ml", "com.microsoft"])
    elif what == 2:
        model.opset_import[0].version = int(_one(rng, [0, 1, 7, 99, -1, 2**31]))
    elif what == 3:
        model.ir_version = int(_one(rng, [0, 1, 3, 99, -1]))
    else:
        value = _one(rng, [*model.graph.input, *model.graph.output])
        value.type.tensor_type.elem_type = int(rng.integers(0, 27))


def _onnx_attribute(rng: Rng, model: Any) -> None:
    attribute = _one(rng, [each for node in model.graph.node for each in node.attribute])
    what = rng.integers(4)
    if what == 0:
        attribute.type = int(rng.integers(0, 15))
    elif what == 1 and attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = int(_one(rng, [*EXTREMES, 2**62]))
    elif what == 2:
        attribute.i = int(_one(rng, [*EXTREMES, -(2**63)]))
    else:
        attribute.name = _one(rng, ["", "axis", "group", "unknown"])


_BYTES: tuple[Change, ...] = (_flip_bits, _truncate, _splice, _zero, _extreme_numbers)
_TFLITE: tuple[ModelChange, ...] = (
    _tflite_shape,
    _tflite_index,
    _tflite_buffers,
    _tflite_quantisation,
    _tflite_kind,
    _tflite_wiring,
    _tflite_options,
)
_ONNX: tuple[ModelChange, ...] = (_onnx_shape, _onnx_wiring, _onnx_tensor, _onnx_kind, _onnx_attribute)


def small_networks(folder: Path) -> dict[str, list[Path]]:
    """Returns files of small networks, float32 and int8, in each format."""
    import keras
    from keras import layers

    from edgekd.export import export_model

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(stem)
    x = layers.Concatenate()([layers.MaxPooling2D()(stem), layers.Activation("hard_sigmoid")(x)])
    x = layers.Dense(5)(layers.GlobalAveragePooling2D()(x))
    network = keras.Model(image, layers.Softmax()(x))
    samples = np.random.default_rng(0).random((8, 8, 8, 3), np.float32)
    found: dict[str, list[Path]] = {}
    for name in FORMATS:
        for scheme, batch in (("float32", None), ("int8", 1)):
            path = folder / f"{scheme}.{name}"
            export_model(
                network, path, format=name, scheme=scheme, batch=batch, calibration=samples, name="n", source="n"
            )
            found.setdefault(name, []).append(path)
    return found


def page(result: Result) -> str:
    """Returns the result as a table, then the failures."""
    outcomes = sorted({outcome for counts in result.counts.values() for outcome in counts})
    lines = [" | ".join([" " * 6, "way".ljust(15), *outcomes])]
    for (name, way), counts in result.counts.items():
        cells = (str(counts[outcome]).rjust(len(outcome)) for outcome in outcomes)
        lines.append(" | ".join([name.ljust(6), way.ljust(15), *cells]))
    lines += [f"{each.format} {each.number} {each.way}: {each.why}" for each in result.failures]
    lines.append(f"{len(result.failures)} failures, {result.seconds:.0f} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the tool, and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="sound .tflite and .onnx files; by default small networks")
    parser.add_argument("--count", type=int, default=200, help="damaged files of each format (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first file (default: %(default)s)")
    parser.add_argument("--only", type=int, help="only the file of this number")
    parser.add_argument("--format", choices=FORMATS, help="only this format")
    parser.add_argument("--keep", type=Path, help="folder for the files that failed (default: a temporary one)")
    parser.add_argument("--commands", type=int, default=0, help="every so many files also through the command line")
    parser.add_argument("--seconds", type=float, default=LIMITS.seconds, help="limit of each answer")
    options = parser.parse_args(arguments)
    numbers = range(options.first, options.first + options.count) if options.only is None else [options.only]
    with tempfile.TemporaryDirectory(prefix="edgekd-fuzz-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bases: dict[str, list[Path]] = {}
        for path in options.models:
            bases.setdefault(path.suffix.removeprefix("."), []).append(path.resolve())
        if not bases:
            bases = small_networks(Path(temporary))
        if unknown := set(bases) - set(FORMATS):
            parser.error(f"files must end in .tflite or .onnx, not in {', '.join(sorted(unknown))}")
        result = fuzz(
            {name: paths for name, paths in bases.items() if options.format in (None, name)},
            numbers=numbers,
            seed=options.seed,
            folder=folder.resolve(),
            limits=dataclasses.replace(LIMITS, seconds=options.seconds),
            commands=options.commands,
            on_progress=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
        )
    print(page(result))  # noqa: T201
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
