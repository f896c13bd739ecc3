"""From an exported file and samples to its golden record."""

import contextlib
import hashlib
import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import runtime
from edgekd.child_process import Child
from edgekd.errors import ModelError, NonFiniteError
from edgekd.golden.records import Activation, Constant, Golden, Inputs, Values
from edgekd.inspect import Inspection
from edgekd.records import TensorSpec
from edgekd.verify.activations import Activation as SteepFunction
from edgekd.verify.judging import Answers, Output
from edgekd.verify.samples import Samples

Array = np.ndarray[Any, Any]

MOST_VALUES = 4096
"""Elements that are kept of one output of one sample; of a larger one every second, third, ... is."""

_DISTRIBUTIONS = {".tflite": "ai-edge-litert", ".onnx": "onnxruntime"}


def read(path: Path) -> tuple[Inspection, tuple[Constant, ...]]:
    """Returns what a TFLite or ONNX file holds and the fingerprints of its constants, read in a child process.

    Raises:
      ModelError: it is damaged, or of another kind.
    """
    with contextlib.closing(Child("edgekd.golden.probe")) as child:
        document, _ = child.ask({"path": str(path.resolve())}, path=path, doing="read")
    return (
        Inspection.model_validate(document["inspection"]),
        tuple(Constant.model_validate(each) for each in document["constants"]),
    )


def record(
    inspection: Inspection,
    constants: Sequence[Constant],
    *,
    arithmetic: str,
    specs: Sequence[TensorSpec],
    steps: Mapping[str, float],
    activations: Mapping[str, SteepFunction],
    arrays: Sequence[Array],
    run_on: Inputs,
    runtime_name: str,
    metrics: Mapping[str, float],
) -> Golden:
    """Returns the golden record of a file.

    Args:
      inspection: what the file holds.
      constants: their fingerprints.
      arithmetic: how it computes.
      specs: its outputs, as its runner has them.
      steps: of outputs that come from integers without being some, by name.
      activations: of outputs that come out of a steep function of integers, by name.
      arrays: for each output, [samples, ...] real numbers, or integers that stand for themselves.
      run_on: the samples.
      runtime_name: what ran it.
      metrics: fractions by name.

    Raises:
      NonFiniteError: NaN or infinity in its outputs.
    """
    return Golden(
        file=inspection.name,
        format=inspection.format,
        sha256=inspection.sha256,
        size_bytes=inspection.size_bytes,
        environment=_environment(Path(inspection.name), runtime_name),
        arithmetic=arithmetic,
        inputs=inspection.inputs,
        outputs=inspection.outputs,
        signatures=inspection.signatures,
        operators={each.operator: each.count for each in inspection.operators},
        activations=tuple(
            Activation(
                name=each.name,
                dtype=each.dtype,
                scale=each.quantisation.scales[0],
                zero_point=each.quantisation.zero_points[0] if each.quantisation.zero_points else 0,
            )
            for each in inspection.tensors
            if each.role != "constant" and each.quantisation is not None and len(each.quantisation.scales) == 1
        ),
        constants=tuple(constants),
        metrics=dict(metrics),
        run_on=run_on,
        values=tuple(
            _values(spec, array, steps.get(spec.name), activations.get(spec.name))
            for spec, array in zip(specs, arrays, strict=True)
        ),
    )


def inputs_of(samples: Samples, *, seed: int) -> Inputs:
    """Returns the identity of the samples that a file is run on, all of them, and of their labels."""
    return Inputs(
        name=samples.name,
        samples=len(samples.arrays[0]),
        sha256=_sha256(samples.arrays),
        labels_sha256=None if samples.labels is None else _sha256([samples.labels]),
        seed=seed if samples.seeded else None,
    )


def _sha256(arrays: Sequence[Array]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def answers(golden: Golden, label: str) -> Answers:
    """Returns the kept outputs as `edgekd.verify.judging` takes them: [samples, kept elements]."""
    return Answers(
        label=label,
        arithmetic=golden.arithmetic,
        outputs=tuple(Output(each.name, real_numbers(each), each.step, _activation(each)) for each in golden.values),
    )


def _activation(values: Values) -> SteepFunction | None:
    if values.activation is None or values.activation_step is None:
        return None
    return SteepFunction(values.activation, values.activation_step)


def real_numbers(values: Values) -> Array:
    """Returns kept rows as [samples, kept elements] real numbers, or as integers that stand for themselves."""
    if values.scale is not None:
        integers = np.array(values.rows, np.int64)
        zero_point = values.zero_point or 0
        return runtime.dequantise_array(integers.astype(values.dtype), scale=values.scale, zero_point=zero_point)
    return np.array(values.rows, values.dtype)


def _values(spec: TensorSpec, array: Array, step: float | None, activation: SteepFunction | None) -> Values:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise NonFiniteError(
            f"{bad} of {array.size} values of output {spec.name!r} are NaN or infinite: such a file is never good."
        )
    if array.size == 0:
        raise ModelError(f"output {spec.name!r} is empty: it tells nothing.")
    every = math.ceil(array[0].size / MOST_VALUES)
    rows = array.reshape(len(array), -1)[:, ::every]
    dtype = spec.dtype if spec.scale is not None else array.dtype.name
    if spec.scale is not None:
        zero_point = spec.zero_point or 0
        rows = runtime.quantise_array(rows, scale=spec.scale, zero_point=zero_point, dtype=spec.dtype)
    numbers = rows.astype(object) if rows.dtype.kind != "f" else np.vectorize(_shortest, otypes=[object])(rows)
    return Values(
        name=spec.name,
        shape=array.shape[1:],
        every=every,
        step=spec.scale if spec.scale is not None else step,
        activation=None if activation is None else activation.function,
        activation_step=None if activation is None else activation.step,
        scale=spec.scale,
        zero_point=spec.zero_point if spec.scale is not None else None,
        dtype=dtype,
        rows=tuple(tuple(int(each) if rows.dtype.kind != "f" else each for each in row) for row in numbers),
    )


def _shortest(value: np.floating[Any]) -> float:
    """Returns the number with the fewest decimals that is the same float32."""
    return float(np.format_float_positional(value, unique=True, trim="0")) if value else 0.0


def _environment(path: Path, runtime_name: str) -> dict[str, str]:
    distribution = _DISTRIBUTIONS[path.suffix.lower()]
    return {
        "runtime": runtime_name,
        distribution: importlib.metadata.version(distribution),
        "machine": platform.machine(),
    }
