"""Measures one model in one fresh process; depends on the standard library, NumPy and one runtime only.

Run as `python worker.py JOB.json`. It is one self-contained file that imports nothing of edgekd, so that it can be
copied to another machine. The job is a JSON object:

    model               path of a .tflite or .onnx file
    num_threads         threads of the runtime
    seed                of the random inputs
    inputs              path of an .npz with one array per input name, or null for random inputs
    batch               size of the first dimension of every input, or null: the model's own, 1 where it may vary
    cores               numbers of the processor cores to run on, or null
    delegate            for LiteRT: "xnnpack", "none", or null for its own choice
    interval_ms         a timed run starts every so many milliseconds, or null: one after the other
    blocks              timed blocks to run, or null: run them on command (below)
    min_runs            least runs of a timed block
    min_block_ms        least duration of a timed block
    most_runs           timed runs of a block, about: of a shorter model's runs only every so many-th is timed, and the
                        block lasts its time; null: all are timed, and a block ends after 10,000
    min_warmup_seconds  least warm-up
    max_warmup_seconds  warm-up ends here although the last two blocks still differ

With a number of blocks the worker prints one JSON document. With `blocks: null` it prints the cold phase, then reads
commands, one a line, and answers each with one line of JSON: `warm-up`, `block`, and `finish`, which answers with the
same whole document and ends. So the caller can keep several models' workers alive and shuffle their blocks. An answer
waits until the runtime's threads sleep: a worker that waits for a command uses no processor. Closing its standard input
ends it.

Only the call of the runtime is timed, by `perf_counter_ns`; every sample is kept.
"""

from __future__ import annotations

import array
import functools
import importlib
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA_VERSION = 1
REFUSED_STATUS = 3  # the exit status where the last line of standard error is in words for the user
WARMUP_RUNS = 5  # at least
STEADY_RATIO = 1.02  # two successive warm-up blocks whose medians agree within this are steady
WARMUP_BLOCKS = 10  # blocks that the shortest warm-up is divided into
WARMUP_BLOCK_RUNS = 3  # at least, so that a median is not one lucky run
MAX_BLOCK_RUNS = 10_000  # a block of a model of a few microseconds ends here, however short it was
RESUME_RUNS = 3  # untimed runs at the start of a block: another model may have used the caches meanwhile
REST_SECONDS = 0.005  # without work, twice, after which a runtime's threads count as asleep
MOST_REST_SECONDS = 0.5
TIMER_CALLS = 2000
CLOCK = "/sys/devices/system/cpu/cpu{core}/cpufreq/{name}"
CORE_FIELD = 36  # of /proc/PID/stat, after the name, which is the second of its fields: proc_pid_stat(5), `processor`
SAMPLES, LABELS = ("x_test", "x", "images"), ("y_test", "y", "labels")  # of a file of data, as verify reads it too
LOOP_BELOW_MS = 1.0  # shorter inferences are also timed in one loop, which has no timer between the runs


class Engine(NamedTuple):
    """A loaded model: what to call, and what is known of the runtime.

    `outputs` returns names and shapes after a call; `arrays` are those that the runtime reads where they are.
    """

    invoke: Any
    arrays: list[Any]
    outputs: Any
    package: str
    version: str
    delegate: str | None
    delegate_partitions: int | None
    operators: int | None
    delegated_operators: int | None
    inputs: list[dict[str, Any]]
    import_ms: float
    load_ms: float
    allocate_ms: float | None


class RefusedError(Exception):
    """A model or input that cannot be measured, in words for the user."""


def open_litert(job: dict[str, Any]) -> Engine:
    """Loads a .tflite file and sets its inputs; copying them is not part of what is timed."""
    start = time.perf_counter_ns()
    runtime = importlib.import_module("ai_edge_litert.interpreter")
    importlib.import_module("numpy")
    imported = time.perf_counter_ns()  # NumPy included: the runtime imports it
    kinds = runtime.OpResolverType
    interpreter = runtime.Interpreter(
        model_path=job["model"],
        num_threads=job["num_threads"],
        experimental_op_resolver_type=(
            kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if job["delegate"] == "none" else kinds.AUTO
        ),
    )
    loaded = time.perf_counter_ns()
    specs = litert_inputs(interpreter.get_input_details())
    arrays = make_inputs(specs, job)
    for detail, value in zip(interpreter.get_input_details(), arrays, strict=True):
        if list(value.shape) != list(detail["shape"]):
            interpreter.resize_tensor_input(detail["index"], value.shape)
    before_allocate = time.perf_counter_ns()
    interpreter.allocate_tensors()
    allocated = time.perf_counter_ns()
    for detail, value in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], value)
    partitions, operators, delegated = _litert_operators(interpreter)
    if job["delegate"] == "xnnpack" and not delegated:
        raise RefusedError(
            f"XNNPACK takes none of the {operators} operators of {job['model']!r}: measure it with delegate 'none'"
        )
    return Engine(
        invoke=interpreter.invoke,
        arrays=[],
        outputs=lambda: [(each["name"], each["shape"]) for each in interpreter.get_output_details()],
        package="ai-edge-litert",
        version=importlib.metadata.version("ai-edge-litert"),
        delegate="XNNPACK" if partitions else None,
        delegate_partitions=partitions,
        operators=operators,
        delegated_operators=delegated,
        inputs=_described(specs, arrays),
        import_ms=(imported - start) / 1e6,
        load_ms=(loaded - imported) / 1e6,
        allocate_ms=(allocated - before_allocate) / 1e6,
    )


def open_onnxruntime(job: dict[str, Any]) -> Engine:
    """Loads an .onnx file on the processor and binds its inputs and outputs, so that no call copies or makes them.

    `session.run` would: that takes some microseconds, and LiteRT's `invoke` does nothing of the kind.
    """
    if job["delegate"] is not None:
        raise RefusedError(f"delegate {job['delegate']!r} is LiteRT's; an .onnx file is measured without one")
    start = time.perf_counter_ns()
    runtime = importlib.import_module("onnxruntime")
    importlib.import_module("numpy")
    imported = time.perf_counter_ns()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = job["num_threads"]
    options.inter_op_num_threads = 1
    session = runtime.InferenceSession(job["model"], options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter_ns()
    specs = onnx_inputs(session)
    arrays = make_inputs(specs, job)
    binding = session.io_binding()
    for spec, value in zip(specs, arrays, strict=True):
        binding.bind_ortvalue_input(spec["name"], runtime.OrtValue.ortvalue_from_numpy(value))
    names = [value.name for value in session.get_outputs()]
    for name in names:
        binding.bind_output(name)  # the first call makes it, and later ones write into it
    return Engine(
        invoke=functools.partial(session.run_with_iobinding, binding),
        arrays=arrays,
        outputs=lambda: [
            (name, value.shape()) for name, value in zip(names, binding.get_outputs(), strict=True) if value.is_tensor()
        ],
        package="onnxruntime",
        version=runtime.__version__,
        delegate=", ".join(session.get_providers()),
        delegate_partitions=None,
        operators=None,
        delegated_operators=None,
        inputs=_described(specs, arrays),
        import_ms=(imported - start) / 1e6,
        load_ms=(loaded - imported) / 1e6,
        allocate_ms=None,
    )


def litert_inputs(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns name, shape (None where it may vary) and dtype of the inputs that an interpreter describes."""
    specs = []
    for detail in details:
        signature = detail.get("shape_signature", detail["shape"])
        shape = [None if size < 0 else int(size) for size in signature]
        specs.append({"name": detail["name"], "shape": shape, "dtype": _dtype_name(detail["dtype"])})
    return specs


def onnx_inputs(session: Any) -> list[dict[str, Any]]:
    """Returns name, shape (None where it may vary) and dtype of a session's inputs."""
    return [
        {
            "name": value.name,
            "shape": [size if isinstance(size, int) else None for size in value.shape],
            "dtype": _onnx_dtype(value.type, value.name),
        }
        for value in session.get_inputs()
    ]


ENGINES = {".tflite": open_litert, ".onnx": open_onnxruntime}


def make_inputs(specs: list[dict[str, Any]], job: Mapping[str, Any]) -> list[Any]:
    """Returns one array per input: from the job's file, or random and the same for the same seed.

    Random floats are uniform in [0, 1); 8- and 16-bit integers use their whole range; wider integers, which are often
    indices, are 0 or 1. A batch that may vary is the job's, or 1; any other dimension that may vary is refused.
    """
    import numpy as np

    specs = [{**spec, "shape": _with_batch(spec, job)} for spec in specs]
    if job.get("inputs"):
        return _inputs_from_file(specs, job["inputs"])
    generator = np.random.default_rng(job["seed"])
    arrays = []
    for spec in specs:
        if None in spec["shape"][1:]:
            raise RefusedError(
                f"input {spec['name']!r} has the shape {spec['shape']}, in which more than the batch may vary: "
                "give a file with an array for each input (--inputs FILE.npz), or export the model with fixed sizes"
            )
        shape = [1 if size is None else size for size in spec["shape"]]
        dtype = np.dtype(spec["dtype"])
        if dtype.kind == "f":
            arrays.append(generator.random(shape, dtype=np.float32).astype(dtype))
        elif dtype.kind == "b":
            arrays.append(generator.integers(0, 2, shape).astype(bool))
        elif dtype.kind in "iu" and dtype.itemsize <= 2:
            bounds = np.iinfo(dtype)
            arrays.append(generator.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True))
        elif dtype.kind in "iu":
            arrays.append(generator.integers(0, 2, shape, dtype=dtype))
        else:
            raise RefusedError(f"input {spec['name']!r} has the type {dtype}: only numbers and booleans can be made up")
    return arrays


def _with_batch(spec: dict[str, Any], job: Mapping[str, Any]) -> list[int | None]:
    """Returns an input's shape with the job's batch; LiteRT can change a fixed one, ONNX Runtime cannot."""
    shape, batch = list(spec["shape"]), job.get("batch")
    if batch is None:
        return shape
    if not shape:
        raise RefusedError(f"input {spec['name']!r} is a single number: it has no batch that could be {batch}")
    if shape[0] not in (None, batch) and Path(job["model"]).suffix.lower() == ".onnx":
        raise RefusedError(
            f"input {spec['name']!r} has the shape {shape}, so the batch cannot be {batch}: export the model with a "
            "batch that may vary"
        )
    return [batch, *shape[1:]]


def require_batch(job: Mapping[str, Any], outputs: list[tuple[str, Any]]) -> None:
    """Refuses a model that does not carry the job's batch through, such as one with a constant shape inside."""
    for name, shape in outputs if job["batch"] is not None else ():
        if len(shape) == 0 or shape[0] != job["batch"]:
            raise RefusedError(
                f"with a batch of {job['batch']} the output {name!r} has the shape {[int(size) for size in shape]}: "
                "this model computes one fixed batch. Export it with a batch that may vary"
            )


def _inputs_from_file(specs: list[dict[str, Any]], path: str) -> list[Any]:
    import zipfile
    import zlib

    import numpy as np

    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RefusedError(f"the input file {path!r} is not a readable .npz archive of numbers: {error}") from error
    chosen = _chosen(specs, arrays, path)
    for spec, value in zip(specs, chosen, strict=True):
        fits = len(value.shape) == len(spec["shape"]) and all(
            size in (None, given) for size, given in zip(spec["shape"], value.shape, strict=True)
        )
        if not fits or value.dtype != np.dtype(spec["dtype"]):
            raise RefusedError(
                f"the array for input {spec['name']!r} in {path!r} is {list(value.shape)} {value.dtype}; the model "
                f"takes {spec['shape']} {spec['dtype']} in one run: give the samples of one run, in that type"
            )
    return chosen


def _chosen(specs: list[dict[str, Any]], arrays: dict[str, Any], path: str) -> list[Any]:
    """Returns the array of each input: the one of its name, or for the only input that of SAMPLES or the only array.

    Other arrays may be there: several models' inputs have different names and share one file.
    """
    names = [spec["name"] for spec in specs]
    if all(name in arrays for name in names):
        return [arrays[name] for name in names]
    others = [name for name in arrays if name not in LABELS]
    for name in (*SAMPLES, *(others if len(others) == 1 else ())):
        if len(names) == 1 and name in arrays:
            return [arrays[name]]
    raise RefusedError(
        f"{path!r} has no array for input {next(name for name in names if name not in arrays)!r}: it holds "
        f"{', '.join(sorted(arrays)) or 'nothing'}. Name the arrays like the inputs (for a single input "
        f"{', '.join(SAMPLES)} or the only array will do)"
    )


def _described(specs: list[dict[str, Any]], arrays: list[Any]) -> list[dict[str, Any]]:
    return [
        {"name": spec["name"], "shape": list(value.shape), "dtype": str(value.dtype)}
        for spec, value in zip(specs, arrays, strict=True)
    ]


def _dtype_name(dtype: Any) -> str:
    import numpy as np

    return np.dtype(dtype).name


def _onnx_dtype(kind: str, name: str) -> str:
    element = kind.removeprefix("tensor(").removesuffix(")")
    known = {"float": "float32", "double": "float64"}
    if not kind.startswith("tensor(") or element in ("string", "bfloat16"):
        raise RefusedError(f"input {name!r} has the type {kind}: only tensors of numbers and booleans can be made up")
    return known.get(element, element)


def _litert_operators(interpreter: Any) -> tuple[int, int, int]:
    """Returns the delegate's partitions, the model's operators, and how many of those the delegate took.

    The list of operators holds the model's own, also those that were taken, and one more for each partition. Those
    taken are the ones that a partition's outputs depend on, back to its inputs. LiteRT's built-in resolver applies
    XNNPACK alone by itself.
    """
    details = interpreter._get_ops_details()
    own = [each for each in details if each["op_name"] != "DELEGATE"]
    makers = {int(tensor): index for index, each in enumerate(own) for tensor in each["outputs"]}
    taken: set[int] = set()
    partitions = [each for each in details if each["op_name"] == "DELEGATE"]
    for partition in partitions:
        given = {int(tensor) for tensor in partition["inputs"]}
        wanted = [int(tensor) for tensor in partition["outputs"]]
        while wanted:
            tensor = wanted.pop()
            maker = makers.get(tensor)
            if tensor in given or maker is None or maker in taken:
                continue
            taken.add(maker)
            wanted += [int(each) for each in own[maker]["inputs"] if each >= 0]
    return len(partitions), len(own), len(taken)


class Session:
    """One model in this process, from the first import to the last block."""

    def __init__(self, job: dict[str, Any]) -> None:
        optional = ("batch", "cores", "delegate", "interval_ms", "most_runs")
        self.job = {**dict.fromkeys(optional), **job}
        job = self.job
        self.started_ns = time.perf_counter_ns()
        if job["cores"] is not None:
            pin(job["cores"])
        self.blocks: list[dict[str, Any]] = []
        self.warmup_runs = 0
        self.warmup_seconds = 0.0
        self.steady: bool | None = None
        self.median_ns = 0.0  # of the last block
        self.system_before = system_state()
        suffix = Path(job["model"]).suffix.lower()
        if suffix not in ENGINES:
            raise RefusedError(f"{job['model']!r} ends in {suffix!r}: expected one of {', '.join(ENGINES)}")
        self.rss_before_bytes = current_rss_bytes()
        self.engine = ENGINES[suffix](job)
        start = time.perf_counter_ns()
        self.engine.invoke()
        self.first_inference_ms = (time.perf_counter_ns() - start) / 1e6
        require_batch(job, self.engine.outputs())

    def cold(self) -> dict[str, Any]:
        """Returns what was measured before any warm-up, in milliseconds."""
        engine = self.engine
        return {
            "import_ms": engine.import_ms,
            "load_ms": engine.load_ms,
            "allocate_ms": engine.allocate_ms,
            "first_inference_ms": self.first_inference_ms,
        }

    def warm_up(self) -> dict[str, Any]:
        """Runs until two successive blocks' medians agree within 2 %, at least and at most as long as the job says."""
        least = self.job["min_warmup_seconds"]
        block_ns = max(least / WARMUP_BLOCKS * 1e9, 1e6)
        start = time.perf_counter_ns()
        medians: list[float] = []
        steady = False
        while True:
            if self.job["interval_ms"] is None:
                samples = self._timed(least_runs=WARMUP_BLOCK_RUNS, least_ns=block_ns)
            else:
                samples, _ = self._periodic(WARMUP_BLOCK_RUNS, block_ns)
            self.warmup_runs += len(samples)
            medians.append(statistics.median(samples))
            elapsed = (time.perf_counter_ns() - start) / 1e9
            steady = len(medians) > 1 and max(medians[-2:]) <= STEADY_RATIO * min(medians[-2:])
            enough = elapsed >= least and self.warmup_runs >= WARMUP_RUNS
            if (steady and enough) or (elapsed >= self.job["max_warmup_seconds"] and self.warmup_runs >= WARMUP_RUNS):
                break
        self.steady, self.warmup_seconds, self.median_ns = steady, elapsed, medians[-1]
        return {"warmup_runs": self.warmup_runs, "warmup_seconds": elapsed, "steady": steady}

    def block(self) -> dict[str, Any]:
        """Times one block: every single inference, and short ones also in one loop without the timer."""
        if self.job["interval_ms"] is None:
            for _ in range(RESUME_RUNS):
                self.engine.invoke()
        else:  # at the interval too, or the block would begin with warm caches and a high clock rate
            self._periodic(RESUME_RUNS, 0)
            time.sleep(self.job["interval_ms"] / 1e3)
        self.warmup_runs += RESUME_RUNS
        begin = time.perf_counter_ns() - self.started_ns
        usage = resource.getrusage(resource.RUSAGE_SELF)
        least_runs, least_ns = self.job["min_runs"], self.job["min_block_ms"] * 1e6
        late: int | None = None
        untimed = 0
        if self.job["interval_ms"] is None:
            most = self.job["most_runs"]
            if most is not None and self.median_ns > 0:
                untimed = int(least_ns / self.median_ns / most)
            samples = self._timed(least_runs=least_runs, least_ns=least_ns, untimed=untimed)
        else:
            samples, late = self._periodic(least_runs, least_ns)
        end = time.perf_counter_ns() - self.started_ns
        after = resource.getrusage(resource.RUSAGE_SELF)
        clock_khz, max_clock_khz = clock_rates_khz()
        self.median_ns = statistics.median(samples)
        block: dict[str, Any] = {
            "samples_ns": samples.tolist(),
            "begin_ns": begin,
            "end_ns": end,
            "untimed_runs": untimed * len(samples),
            "clock_khz": clock_khz,
            "max_clock_khz": max_clock_khz,
            "cpu_ns": round(1e9 * (after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime)),
            "late_runs": late,
            "loop_ns_per_run": None,
            "voluntary_context_switches": after.ru_nvcsw - usage.ru_nvcsw,
            "involuntary_context_switches": after.ru_nivcsw - usage.ru_nivcsw,
        }
        if late is None and self.median_ns < LOOP_BELOW_MS * 1e6:
            block["loop_ns_per_run"] = self._looped(max(len(samples) // 5, 10))
        self.blocks.append(block)
        return {"runs": len(samples), "median_ns": self.median_ns, "begin_ns": begin, "end_ns": end}

    def document(self) -> dict[str, Any]:
        """Returns everything that was measured, raw samples included."""
        peak, source = peak_rss_bytes()
        return {
            "schema_version": SCHEMA_VERSION,
            "runtime": self.engine.package,
            "runtime_version": self.engine.version,
            "delegate": self.engine.delegate,
            "delegate_partitions": self.engine.delegate_partitions,
            "operators": self.engine.operators,
            "delegated_operators": self.engine.delegated_operators,
            "num_threads": self.job["num_threads"],
            "inputs": self.engine.inputs,
            "cold": self.cold(),
            "warmup_runs": self.warmup_runs,
            "warmup_seconds": self.warmup_seconds,
            "steady": self.steady,
            "blocks": self.blocks,
            "timer_overhead_ns": timer_overhead_ns(),
            "peak_memory_bytes": peak,
            "peak_memory_source": source,
            "memory_before_load_bytes": self.rss_before_bytes,
            "machine": machine(),
            "python": sys.version.split()[0],
            "affinity_cores": affinity_cores(),
            "system_before": self.system_before,
            "system_after": system_state(),
        }

    def _timed(self, *, least_runs: int, least_ns: float, untimed: int = 0) -> array.array[int]:
        """Times inferences one by one until there are enough of them and enough time has passed.

        Before each of them are `untimed` ones.
        """
        invoke, clock = self.engine.invoke, time.perf_counter_ns
        most_runs = max(least_runs, MAX_BLOCK_RUNS)
        samples = array.array("q")
        between = range(untimed)
        end = clock() + least_ns
        while True:
            for _ in between:
                invoke()
            start = clock()
            invoke()
            stop = clock()
            samples.append(stop - start)
            if (stop >= end and len(samples) >= least_runs) or len(samples) >= most_runs:
                return samples

    def _periodic(self, least_runs: int, least_ns: float) -> tuple[array.array[int], int]:
        """Times inferences that start at fixed times, and counts those that could not, because one took too long."""
        interval_ns = round(self.job["interval_ms"] * 1e6)
        invoke, clock = self.engine.invoke, time.perf_counter_ns
        samples, late = array.array("q"), 0
        begin = due = clock()
        while len(samples) < least_runs or clock() - begin < least_ns:
            wait_ns = due - clock()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)
            else:
                late += len(samples) > 0
                due = clock()  # from now on: what was missed is not made up for
            start = clock()
            invoke()
            samples.append(clock() - start)
            due += interval_ns
        return samples, late

    def _looped(self, runs: int) -> float:
        invoke = self.engine.invoke
        start = time.perf_counter_ns()
        for _ in range(runs):
            invoke()
        return (time.perf_counter_ns() - start) / runs


def rest() -> None:
    """Returns when this process's other threads have stopped working, or after half a second.

    ONNX Runtime's threads wait for more work by spinning, some 20 ms each, which they would take from the next block.
    """
    end, calm = time.monotonic() + MOST_REST_SECONDS, 0
    while calm < 2 and time.monotonic() < end:
        before = time.process_time()
        time.sleep(REST_SECONDS)
        # A thread that would work but has no core now uses no processor either: where the system tells, ask for both.
        idle = time.process_time() - before < REST_SECONDS / 10
        calm = calm + 1 if idle and not any_thread_runs() else 0


def any_thread_runs() -> bool:
    """Returns whether a thread of this process other than the one that asks is running or would; False if unknown."""
    own = threading.get_native_id()
    for task in Path("/proc/self/task").glob("*"):
        try:
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has ended
            continue
        if int(task.name) != own and state == "R":
            return True
    return False


def pin(cores: list[int]) -> None:
    """Keeps this process, and the threads it will start, on some of the processor's cores."""
    if not hasattr(os, "sched_setaffinity"):
        raise RefusedError(f"this system ({sys.platform}) cannot pin a process to cores: measure without cores")
    allowed = sorted(os.sched_getaffinity(0))
    if threading.active_count() > 1 or not set(cores) <= set(allowed):
        raise RefusedError(f"the process cannot be pinned to the cores {cores}: it may use {allowed}")
    os.sched_setaffinity(0, cores)


def timer_overhead_ns() -> float:
    """Returns the median time between two successive readings of the clock."""
    clock = time.perf_counter_ns
    return statistics.median([-(clock() - clock()) for _ in range(TIMER_CALLS)])


def peak_rss_bytes() -> tuple[int, str]:
    """Returns this process' peak resident memory and where the number comes from.

    Linux carries `ru_maxrss` over from the process that was forked (or vforked: then it is the parent's peak), so a
    small worker of a large parent would report the parent. `VmHWM` belongs to the memory that exec made anew.
    """
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024, "VmHWM"
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "ru_maxrss"


def current_rss_bytes() -> int | None:
    """Returns this process' resident memory, or None where the system does not show it."""
    for line in _lines("/proc/self/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None


def affinity_cores() -> list[int] | None:
    """Returns the cores that this process may use, or None where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def machine() -> dict[str, Any]:
    """Returns what this machine is; records of different machines are told apart by it."""
    pages = [os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_PAGE_SIZE")]
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": cpu_model(),
        "logical_cores": os.cpu_count() or 1,
        "memory_bytes": pages[0] * pages[1],
    }


def cpu_model() -> str:
    """Returns the processor's name, and on a board whose processor has none the board's."""
    named = dict.fromkeys(("model name", "Hardware", "Model"))
    for line in _lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in named and named[key.strip()] is None:
            named[key.strip()] = value.strip()
    board = "".join(_lines("/proc/device-tree/model")).strip("\0 ")
    return next((name for name in (*named.values(), board, platform.processor()) if name), platform.machine())


def system_state() -> dict[str, Any]:
    """Returns the load, the processor's time counters and its governor, each None where it is not visible."""
    ticks = next((line.split()[1:] for line in _lines("/proc/stat") if line.startswith("cpu ")), None)
    governor = _lines(CLOCK.format(core=(affinity_cores() or [0])[0], name="scaling_governor"))
    return {
        "load_1min": os.getloadavg()[0],
        "steal_ticks": int(ticks[7]) if ticks and len(ticks) > 7 else None,
        "total_ticks": sum(int(tick) for tick in ticks[:8]) if ticks else None,
        "governor": governor[0].strip() if governor else None,
    }


def clock_rates_khz() -> tuple[int | None, int | None]:
    """Returns the clock rate of the core that this thread runs on, and its highest; None where not visible."""
    after_name = "".join(_lines("/proc/self/stat")).rpartition(")")[2].split()
    core = after_name[CORE_FIELD] if len(after_name) > CORE_FIELD else "0"
    found = [_lines(CLOCK.format(core=core, name=name)) for name in ("scaling_cur_freq", "cpuinfo_max_freq")]
    now, most = (int(lines[0]) if lines and lines[0].strip().isdecimal() else None for lines in found)
    return now, most


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []


def main(job_path: str) -> None:
    """Runs a job and prints its JSON; native libraries that print to standard output are sent to standard error."""
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    session = Session(job)
    if job["blocks"] is not None:
        session.warm_up()
        for _ in range(job["blocks"]):
            session.block()
        answer(session.document())
        return
    answer(session.cold())
    commands = {"warm-up": session.warm_up, "block": session.block, "finish": session.document}
    for line in sys.stdin:
        command = line.strip()
        if command not in commands:
            raise RefusedError(f"unknown command {command!r}: expected one of {', '.join(commands)}")
        done = commands[command]()
        if job["num_threads"] > 1:
            rest()
        answer(done)
        if command == "finish":
            return


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except RefusedError as refusal:
        sys.stderr.write(f"{refusal}\n")
        sys.exit(REFUSED_STATUS)
