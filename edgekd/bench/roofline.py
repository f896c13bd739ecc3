"""How much of what a machine can do a model uses: its arithmetic a second against the machine's own measured limits."""

import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy  # its parts are imported when they are used

from edgekd import bench, inspect
from edgekd.errors import DataError
from edgekd.inspect import Inspection
from edgekd.records import Interval, Measurement, Record

_ROWS, _INNER, _COLUMNS = 256, 512, 512
_INTEGERS = frozenset({"int4", "int8", "uint8"})
_COPIED_BYTES = 64 << 20  # more than any cache of a core holds
_LEAST_COPIED_BYTES = 16 << 20  # by each of many threads, which share the last cache
_COPIES = 16

Kind = Literal["float32", "int8"]


class Peak(Record):
    """What this machine can do with so many threads: multiply-accumulates a second of a large matrix product."""

    kind: Kind
    gmacs_per_second: Interval


class Point(Record):
    """One model under the roof.

    `macs_per_byte` are its multiply-accumulates over its constants' and activations' bytes, these counted twice, since
    they are written and read. `limit_gmacs_per_second` is the lower of the peak and of what the memory's bandwidth
    allows it, `bound` which of them that is, `share` how much of it the model reaches. A model that stays in the
    processor's caches can do more than the memory allows.
    """

    artifact: str
    kind: Kind
    gmacs_per_second: float
    macs_per_byte: float
    limit_gmacs_per_second: float
    bound: Literal["arithmetic", "memory"]
    share: float


class Roofline(Record):
    """The machine's limits and where the models are.

    `bandwidth_gb_per_second` is that of copying main memory with as many threads: the median of sixteen copies, and
    `bandwidth_interval` what is known of it.

    References:
      Williams, Waterman and Patterson, Roofline: An Insightful Visual Performance Model for Multicore Architectures,
      2009.
    """

    num_threads: int
    peaks: tuple[Peak, ...]
    bandwidth_gb_per_second: float
    bandwidth_interval: Interval | None = None
    points: tuple[Point, ...]


def measure(
    measurements: Sequence[Measurement], models: Sequence[Path], *, num_threads: int, **settings: Any
) -> Roofline:
    """Measures the machine's limits and returns the roofline of models that were measured with one number of threads.

    Args:
      measurements: of the models, in order, with the files' own batch.
      models: their files.
      num_threads: of the measurements.
      settings: as for `bench.measure`, such as `processes=3`.

    Raises:
      DataError: measurements with another number of threads, or with another batch.
    """
    if any(each.num_threads != num_threads or each.batch is not None for each in measurements):
        raise DataError("a roofline is of one number of threads and the files' own batch: measure without sweeps.")
    kinds: tuple[Kind, ...] = ("float32", "int8")
    with tempfile.TemporaryDirectory(prefix="edgekd-roofline-") as temporary:
        paths = [_write_product(Path(temporary, f"{kind}.onnx"), kind) for kind in kinds]
        found = bench.measure(paths, raw_folder=Path(temporary, "samples"), num_threads=(num_threads,), **settings)
    peaks = tuple(Peak(kind=kind, gmacs_per_second=_gmacs(each)) for kind, each in zip(kinds, found, strict=True))
    bandwidth = measure_bandwidth(num_threads, settings.get("cores"))
    points = [
        point(measured, inspect.inspect_model(path), peaks, bandwidth.value)
        for measured, path in zip(measurements, models, strict=True)
    ]
    return Roofline(
        num_threads=num_threads,
        peaks=peaks,
        bandwidth_gb_per_second=bandwidth.value,
        bandwidth_interval=bandwidth,
        points=tuple(each for each in points if each is not None),
    )


def point(measurement: Measurement, inspection: Inspection, peaks: Sequence[Peak], bandwidth_gb: float) -> Point | None:
    """Returns where a model is, or None where its arithmetic or its memory is not known."""
    macs, memory = inspection.macs, inspection.memory
    if not macs or memory is None:
        return None
    kind = kind_of(inspection)
    (peak,) = [each.gmacs_per_second.value for each in peaks if each.kind == kind]
    intensity = macs / (inspection.weights_bytes + 2 * memory.activations_bytes)
    reached = macs / measurement.latency_ms.p50 / 1e6
    limit = min(peak, bandwidth_gb * intensity)
    return Point(
        artifact=measurement.artifact,
        kind=kind,
        gmacs_per_second=reached,
        macs_per_byte=intensity,
        limit_gmacs_per_second=limit,
        bound="arithmetic" if limit == peak else "memory",
        share=reached / limit,
    )


def kind_of(inspection: Inspection) -> Kind:
    """Returns in which numbers most of a model's multiply-accumulates are, by the kernels that they read."""
    macs = {"float32": 0, "int8": 0}
    for node in inspection.nodes:
        read = [inspection.tensors[index] for index in node.inputs[:2] if index is not None]
        integers = any(tensor.dtype in _INTEGERS for tensor in read)
        macs["int8" if integers else "float32"] += node.macs or 0
    return "int8" if macs["int8"] > macs["float32"] else "float32"


def measure_bandwidth(num_threads: int, cores: Sequence[int] | None = None) -> Interval:
    """Returns the bytes read and written a second, in 10^9, while so many threads copy main memory at the same time.

    The median of sixteen copies, after one that is not counted, between the order statistics that hold the
    median of further ones with 95 % confidence.

    Args:
      num_threads: each copies memory of its own.
      cores: to run on, or None.

    References:
      David and Nagaraja, Order Statistics, 2003, section 7.1: distribution-free intervals for quantiles.
    """
    copied = max(_COPIED_BYTES // num_threads, _LEAST_COPIED_BYTES)
    arrays = [(np.ones(copied // 8), np.empty(copied // 8)) for _ in range(num_threads)]
    started = threading.Barrier(num_threads + 1)

    def work(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> None:
        if cores is not None:
            os.sched_setaffinity(0, cores)  # of this thread alone
        for _ in range(_COPIES + 1):
            started.wait()
            np.copyto(target, source)  # without the interpreter's lock
            started.wait()

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in arrays]
    for thread in threads:
        thread.start()
    rates = []
    for _ in range(_COPIES + 1):
        started.wait()
        begin = time.perf_counter()
        started.wait()
        rates.append(2 * num_threads * copied / (time.perf_counter() - begin) / 1e9)
    for thread in threads:
        thread.join()
    ordered = sorted(rates[1:])
    rank = int(scipy.stats.binom.ppf(0.025, _COPIES, 0.5))
    return Interval(value=float(np.median(ordered)), low=ordered[rank - 1], high=ordered[-rank])


def _gmacs(measurement: Measurement) -> Interval:
    macs, latency = _ROWS * _INNER * _COLUMNS / 1e6, latency_interval(measurement)
    return Interval(value=macs / latency.value, low=macs / latency.high, high=macs / latency.low)


def latency_interval(measurement: Measurement) -> Interval:
    """Returns the interval of the latency in milliseconds, without width where there were too few processes for one."""
    p50 = measurement.latency_ms.p50
    return measurement.latency_ms.interval or Interval(value=p50, low=p50, high=p50, confidence=0.0)


def _write_product(path: Path, kind: Kind) -> Path:
    """Writes a matrix product; the integers' is of unsigned by signed bytes, for which processors have instructions."""
    import onnx

    value, shape = onnx.helper.make_tensor_value_info, (_ROWS, _INNER)
    generator = np.random.default_rng(0)
    if kind == "float32":
        operator, given, made = "MatMul", onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT
        kernel = generator.normal(0, 0.05, (_INNER, _COLUMNS)).astype(np.float32)
    else:
        operator, given, made = "MatMulInteger", onnx.TensorProto.UINT8, onnx.TensorProto.INT32
        kernel = generator.integers(-63, 64, (_INNER, _COLUMNS)).astype(np.int8)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, ["x", "kernel"], ["y"])],
        "product",
        [value("x", given, shape)],
        [value("y", made, (_ROWS, _COLUMNS))],
        [onnx.numpy_helper.from_array(kernel, "kernel")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path
