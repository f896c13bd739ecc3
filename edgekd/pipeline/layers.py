"""Adds to a verification where its pairs differ, operator by operator."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.errors import ModelError, NonFiniteError, ShapeError
from edgekd.runtime.selection import split_choice
from edgekd.verify.comparing import Subject
from edgekd.verify.layers import LayerComparison, LayeredVerification, LayersNotCompared, compare_files
from edgekd.verify.records import Status, Verification, worst
from edgekd.verify.samples import Samples

DEFAULT_SAMPLES = 32
_SUFFIXES = (".keras", ".onnx", ".tflite")


def with_layers(
    found: Verification, subjects: Sequence[Subject], given: Samples, *, samples: int = DEFAULT_SAMPLES
) -> LayeredVerification:
    """Returns a verification with each of its pairs compared operator by operator; it failed where one of these did.

    Where two files cannot be compared so, what was verified stays, at best as inconclusive, and the reason is told.

    Files are compared once, whatever runtimes they were run in: operators run in the built-in kernels, one by one.

    Args:
      found: what was verified.
      subjects: its models; the first one's inputs are the order of the samples.
      given: the samples.
      samples: how many of them to use, from the first on.

    Raises:
      ModelError: a model that is no .keras, .onnx or .tflite file.
    """
    files = {subject.label: _file(subject) for subject in subjects}
    inputs = [np.asarray(each[:samples]) for each in given.arrays]
    compared: dict[tuple[Path, Path], LayerComparison] = {}
    failed: dict[tuple[Path, Path], LayersNotCompared] = {}
    for pair in found.pairs:
        paths = files[pair.reference], files[pair.candidate]
        if paths in compared or paths in failed:
            continue
        names = str(split_choice(pair.reference)[0]), str(split_choice(pair.candidate)[0])
        try:
            compared[paths] = compare_files(
                *paths,
                inputs,
                names=names,
                dataset=given.name,
                input_names=[spec.name for spec in subjects[0].runner.inputs],
            )
        except (ModelError, NonFiniteError, ShapeError) as error:
            failed[paths] = LayersNotCompared(reference=names[0], candidate=names[1], reason=str(error))
    layers, missing = tuple(compared.values()), tuple(failed.values())
    statuses: list[Status] = [found.status, *(each.status for each in layers)]
    status = worst([*statuses, "inconclusive"] if missing else statuses)
    return LayeredVerification.model_validate(
        {**dict(found), "status": status, "layers": layers, "not_compared": missing}
    )


def _file(subject: Subject) -> Path:
    path = split_choice(subject.path)[0]
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        raise ModelError(
            f"{subject.label!r} cannot be compared operator by operator: that takes {', '.join(_SUFFIXES)} files. Save "
            "or export the model as one of these."
        )
    return path
