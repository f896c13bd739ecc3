"""Real numbers in, real numbers out, whatever batch and dtypes a model was exported with."""

from collections.abc import Sequence

import numpy as np

from edgekd.errors import ModelError, ShapeError, unknown_name
from edgekd.records import TensorSpec
from edgekd.runtime.quantisation import dequantise, quantise
from edgekd.runtime.runner import Array, Runner, shape_matches


def predict(runner: Runner, images: Array, *, batch_size: int = 64) -> Array:
    """Returns a single-input, single-output model's outputs for any number of samples.

    Integer inputs are quantised and integer outputs dequantised with the model's own scales. A model with a static
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
    images = np.asarray(images)
    if images.dtype != np.float32:
        raise ModelError(f"the samples for {runner.name!r} are {images.dtype.name}, expected float32.")
    if images.ndim == 0 or len(images) == 0:
        raise ShapeError(f"no samples for {runner.name!r}: received shape {list(images.shape)}.")
    if not source.shape or not shape_matches(source.shape[1:], images.shape[1:]):
        raise ShapeError(
            f"{runner.name!r} takes samples of shape {list(source.shape[1:])}, received {list(images.shape[1:])}: "
            "use the data that the model was made for."
        )
    size = source.shape[0] or batch_size
    if size < 1:
        raise ShapeError(f"batch_size must be at least 1, not {size}.")
    wanted = {name: targets[name] for name in names}
    batches = [_batch(runner, images[at : at + size], source, wanted) for at in range(0, len(images), size)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in wanted}


def _batch(runner: Runner, images: Array, source: TensorSpec, wanted: dict[str, TensorSpec]) -> dict[str, Array]:
    count = len(images)
    if source.shape[0] is not None and count < source.shape[0]:
        images = np.concatenate([images, np.repeat(images[-1:], source.shape[0] - count, axis=0)])
    raw = runner.run([images.astype(source.dtype, copy=False) if _is_float(source) else quantise(images, source)])
    found = {}
    for spec, array in zip(runner.outputs, raw, strict=True):
        if spec.name not in wanted:
            continue
        if array.ndim == 0 or len(array) != len(images):
            raise ShapeError(
                f"{runner.name!r} returned shape {list(array.shape)} for {len(images)} samples: its first dimension "
                "is not the batch."
            )
        kept = array[:count]
        found[spec.name] = kept.astype(np.float32, copy=False) if _is_float(spec) else dequantise(kept, spec)
    return found


def _is_float(spec: TensorSpec) -> bool:
    return np.dtype(spec.dtype).kind == "f"


def _only(specs: tuple[TensorSpec, ...], name: str, what: str) -> TensorSpec:
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise ModelError(f"{name!r} has {len(specs)} {what}s ({names}), one is needed here.")
    return specs[0]
