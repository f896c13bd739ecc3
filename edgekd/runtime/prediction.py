"""Real numbers in, real numbers out, whatever batch and dtypes a model was exported with."""

from collections.abc import Sequence

import numpy as np

from edgekd.errors import ModelError, ShapeError, unknown_name
from edgekd.records import TensorSpec
from edgekd.runtime.preprocessing import preprocessed
from edgekd.runtime.quantisation import dequantise, quantise, require_quantised
from edgekd.runtime.runner import Array, Runner, shape_matches


def predict(runner: Runner, images: Array, *, batch_size: int = 64) -> Array:
    """Returns a single-input, single-output model's outputs for any number of samples.

    Integer inputs are quantised and integer outputs dequantised with the model's own scales; preprocessing that the
    file leaves to its caller (`preprocessing: outside`, see `edgekd.export`) is done before. A model with a static
    batch is run in batches of exactly that size, the last one filled up by repeating its last sample.

    Args:
      runner: the model.
      images: [samples, ...] float32, without NaN.
      batch_size: samples per run of a model whose batch may vary.

    Returns:
      [samples, ...] float32.

    Raises:
      ShapeError: no samples, or samples of another shape than the model takes, or outputs without a batch dimension.
      ModelError: several inputs or outputs, dtypes other than floats and quantised integers, or the engine failed.
    """
    target = _only(runner.outputs, runner.name, "output")
    return predict_outputs(runner, images, names=[target.name], batch_size=batch_size)[target.name]


def predict_outputs(runner: Runner, images: Array, *, names: Sequence[str], batch_size: int = 64) -> dict[str, Array]:
    """Returns some outputs of a single-input model for any number of samples, as `predict` gives the only one.

    Args:
      runner: the model.
      images: [samples, ...] float32, without NaN.
      names: which of its outputs.
      batch_size: samples per run of a model whose batch may vary.

    Returns:
      [samples, ...] float32 of each name.

    Raises:
      ShapeError: no samples, or samples of another shape than the model takes, or outputs without a batch dimension.
      ModelError: several inputs, no output of that name, other dtypes, or the engine failed.
    """
    source = _only(runner.inputs, runner.name, "input")
    targets = {spec.name: spec for spec in runner.outputs}
    for name in names:
        if name not in targets:
            raise ModelError(unknown_name(f"output of {runner.name!r}:", name, targets))
        if not _is_float(targets[name]):
            require_quantised(targets[name])
    images = np.asarray(images)
    if images.dtype != np.float32:
        raise ModelError(f"the samples for {runner.name!r} are {images.dtype.name}, expected float32.")
    if not _is_float(source):
        require_quantised(source)
    found = predict_arrays(runner, [images], batch_size=batch_size)
    return {spec.name: values for spec, values in zip(runner.outputs, found, strict=True) if spec.name in names}


def predict_arrays(
    runner: Runner, arrays: Sequence[Array], *, batch_size: int = 64, reset_every: int = 1
) -> tuple[Array, ...]:
    """Returns all outputs of a model with any number of inputs, for any number of samples.

    Quantised inputs and outputs are (de)quantised with the model's own scales; integers without a scale, such as token
    numbers or classes, are passed as they are. A model with a static batch is run in batches of exactly that size, the
    last one filled up by repeating its last sample.

    A model with a state is run with one sample after the other, and reset before every `reset_every` of them: by
    default no sample can see what came before it.

    Args:
      runner: the model.
      arrays: for each input, in order, [samples, ...]: float32 where the input is a float or quantised, else integers.
      batch_size: samples per run of a model whose batch may vary.
      reset_every: samples between two resets of a model with a state.

    Returns:
      For each output, in order, [samples, ...]: float32, or integers where they have no scale. An output that lacks the
      batch is taken whole where the model takes one sample at a time.

    Raises:
      ShapeError: no samples, different numbers of them, samples of another shape than the model takes, or outputs
        whose first dimension is not the batch.
      ModelError: dtypes that do not fit, or the engine failed.
      NonFiniteError: NaN or infinity for a quantised input.
    """
    samples = _samples(runner, arrays)
    for record in runner.preprocessing:
        arrays = [
            preprocessed(array, record) if spec.name == record.input else array
            for array, spec in zip(arrays, runner.inputs, strict=True)
        ]
    size = _batch_size(runner, batch_size)
    if runner.stateful and size != 1:
        raise ModelError(f"{runner.name!r} has a state and takes {size} samples at once: export it with a batch of 1.")
    parts: list[tuple[Array, ...]] = []
    for at in range(0, samples, size):
        if runner.stateful and at % reset_every == 0:
            runner.reset()
        parts.append(_batch(runner, [array[at : at + size] for array in arrays], size))
    return tuple(_joined(runner, index, [part[index] for part in parts]) for index in range(len(runner.outputs)))


def _samples(runner: Runner, arrays: Sequence[Array]) -> int:
    if len(arrays) != len(runner.inputs):
        raise ShapeError(f"{runner.name!r} takes {len(runner.inputs)} input(s), received {len(arrays)} array(s).")
    for spec, array in zip(runner.inputs, arrays, strict=True):
        if array.ndim == 0 or len(array) == 0:
            raise ShapeError(f"no samples for {runner.name!r}: received shape {list(array.shape)}.")
        if not spec.shape:
            raise ShapeError(f"input {spec.name!r} of {runner.name!r} is a single number, without a batch of samples.")
        if not shape_matches(spec.shape[1:], array.shape[1:]):
            raise ShapeError(
                f"{runner.name!r} takes samples of shape {list(spec.shape[1:])}, received {list(array.shape[1:])}: "
                "use the data that the model was made for."
            )
    counts = {len(array) for array in arrays}
    if len(counts) > 1:
        raise ShapeError(f"the inputs of {runner.name!r} got different numbers of samples: {sorted(counts)}.")
    return counts.pop()


def _batch_size(runner: Runner, asked: int) -> int:
    if asked < 1:
        raise ShapeError(f"batch_size must be at least 1, not {asked}.")
    static = {spec.shape[0] for spec in runner.inputs} - {None}
    if len(static) > 1:
        sizes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in runner.inputs)
        raise ShapeError(f"the inputs of {runner.name!r} have different batches ({sizes}): one batch is needed.")
    if static:
        return next(size for size in static if size is not None)
    return 1 if runner.stateful else asked


def _batch(runner: Runner, arrays: Sequence[Array], size: int) -> tuple[Array, ...]:
    count = len(arrays[0])
    static = runner.inputs[0].shape[0] is not None
    if static and count < size:
        arrays = [np.concatenate([array, np.repeat(array[-1:], size - count, axis=0)]) for array in arrays]
    given = len(arrays[0])
    raw = runner.run([_as_input(array, spec, runner) for array, spec in zip(arrays, runner.inputs, strict=True)])
    found = []
    for spec, array in zip(runner.outputs, raw, strict=True):
        if array.ndim == 0 or len(array) != given:
            if given != 1:
                raise ShapeError(
                    f"{runner.name!r} returned shape {list(array.shape)} for {given} samples: its first dimension "
                    "is not the batch."
                )
            kept = array[np.newaxis]
        else:
            kept = array[:count]
        if _is_float(spec):
            found.append(kept.astype(np.float32, copy=False))
        else:
            found.append(kept if spec.scale is None else dequantise(kept, spec))
    return tuple(found)


def _as_input(array: Array, spec: TensorSpec, runner: Runner) -> Array:
    if spec.scale is not None and not _is_float(spec):
        return quantise(array, spec)
    if array.dtype.kind != np.dtype(spec.dtype).kind and not {array.dtype.kind, np.dtype(spec.dtype).kind} <= set("iu"):
        raise ModelError(
            f"input {spec.name!r} of {runner.name!r} is {spec.dtype}, and its samples are {array.dtype.name}: give "
            f"{'floats' if _is_float(spec) else 'integers, since the file has no scale that says what they mean'}."
        )
    if array.dtype.kind in "iu":
        limits = np.iinfo(spec.dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise ModelError(
                f"input {spec.name!r} of {runner.name!r} is {spec.dtype}, and its samples go from {array.min()} to "
                f"{array.max()}."
            )
    return array.astype(spec.dtype, copy=False)


def _joined(runner: Runner, index: int, parts: Sequence[Array]) -> Array:
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise ShapeError(
            f"output {runner.outputs[index].name!r} of {runner.name!r} has another shape for each sample "
            f"({', '.join(str(list(shape)) for shape in sorted(shapes)[:3])}): such outputs cannot be compared."
        )
    return np.concatenate(parts)


def _is_float(spec: TensorSpec) -> bool:
    return np.dtype(spec.dtype).kind == "f"


def _only(specs: tuple[TensorSpec, ...], name: str, what: str) -> TensorSpec:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise ModelError(f"{name!r} has {len(specs)} {what}s ({names}), one is needed here.")
    return specs[0]
