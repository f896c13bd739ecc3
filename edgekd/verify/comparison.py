"""A candidate against a reference on the same samples."""

import math
from typing import Any

import numpy as np

from edgekd.errors import ShapeError
from edgekd.records import Comparison, Interval, OutputError, TensorSpec
from edgekd.runtime import Runner, predict
from edgekd.verify import metrics

Array = np.ndarray[Any, Any]


def compare(
    reference: Runner | Array,
    candidate: Runner,
    images: Array,
    labels: Array | None = None,
    *,
    names: tuple[str, str],
    dataset: str,
    batch_size: int = 64,
    step: float | None = None,
    by_class: bool = True,
) -> Comparison:
    """Returns how far the candidate's outputs are from the reference's, and what that costs in accuracy.

    Top-1 agreement and accuracy are computed for outputs of shape [samples, classes]; other outputs, such as an
    autoencoder's, are compared by value alone.

    Args:
      reference: a runner, or its outputs for `images`: [samples, ...] float.
      candidate: a runner with one input and one output.
      images: [samples, ...] float32.
      labels: [samples] integer classes, or None: then no accuracy is computed.
      names: what to call the reference and the candidate in the record.
      dataset: what to call the samples in the record.
      batch_size: samples per run of a model whose batch may vary.
      step: the size of a quantisation step of the outputs, where they are given as floats; else the candidate tells it.
      by_class: whether outputs of shape [samples, values] are logits, so that classes can agree.

    Raises:
      ShapeError: no samples, or shapes that do not fit together.
      NonFiniteError: NaN or infinity in either's outputs.
      ModelError: a model cannot run these samples.
    """
    if len(images) == 0:
        raise ShapeError(f"there are no samples to compare {names[0]!r} and {names[1]!r} on.")
    expected = reference if isinstance(reference, np.ndarray) else predict(reference, images, batch_size=batch_size)
    received = predict(candidate, images, batch_size=batch_size)
    (output,) = candidate.outputs
    return compare_outputs(
        expected, received, labels, output=output, names=names, dataset=dataset, step=step, by_class=by_class
    )


def compare_outputs(
    expected: Array,
    received: Array,
    labels: Array | None = None,
    *,
    output: TensorSpec,
    names: tuple[str, str],
    dataset: str,
    step: float | None = None,
    by_class: bool = True,
) -> Comparison:
    """Returns how far outputs of a candidate are from the reference's; see `compare`.

    Args:
      expected: [samples, ...] float, the reference's.
      received: [samples, ...] float, the candidate's, dequantised.
      labels: [samples] integer classes, or None.
      output: the candidate's output.
      names: what to call the reference and the candidate in the record.
      dataset: what to call the samples in the record.
      step: the size of a quantisation step of the outputs, where they are given as floats; else `output` tells it.
      by_class: whether outputs of shape [samples, values] are logits, so that classes can agree.

    Raises:
      ShapeError: no samples, or shapes that do not fit together.
      NonFiniteError: NaN or infinity in either's outputs.
    """
    samples = len(received)
    if len(expected) != samples:
        raise ShapeError(f"the reference {names[0]!r} has {len(expected)} outputs for {samples} samples.")
    error = _output_error(expected, received, output, step)
    record = Comparison(reference=names[0], candidate=names[1], samples=samples, dataset=dataset, outputs=(error,))
    if by_class and expected.ndim == 2 and expected.shape[1] > 1:
        return record.model_copy(update=_by_class(expected, received, labels))
    if labels is not None:
        raise ShapeError(f"labels need outputs of shape [samples, classes], received {list(expected.shape)}.")
    return record


def _output_error(expected: Array, received: Array, output: TensorSpec, step: float | None) -> OutputError:
    scale = output.scale if step is None else step
    ratio_db = metrics.sqnr_db(expected, received)
    return OutputError(
        output=output.name,
        elements=expected.size,
        max_abs=metrics.max_abs(expected, received),
        relative_l2=metrics.relative_l2(expected, received),
        cosine=metrics.cosine(expected, received) if received.any() else None,  # a dead model is for the gates
        sqnr_db=None if math.isinf(ratio_db) else ratio_db,
        max_lsb=None if scale is None else metrics.max_lsb(expected, received, scale=scale),
        beyond_one_lsb=None if scale is None else metrics.beyond_lsb(expected, received, scale=scale),
    )


def _by_class(expected: Array, received: Array, labels: Array | None) -> dict[str, float | Interval]:
    reference, candidate = expected.argmax(axis=-1), received.argmax(axis=-1)
    found: dict[str, float | Interval] = {"agreement": metrics.accuracy_interval(candidate, reference)}
    if labels is not None:
        found["reference_accuracy"] = metrics.accuracy(reference, labels)
        found["candidate_accuracy"] = metrics.accuracy(candidate, labels)
        found["accuracy_drop"] = metrics.paired_drop_interval(reference, candidate, labels)
    return found
