"""Adds to a verification where its pairs differ, operator by operator."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekd.errors import ModelError
from edgekd.runtime.selection import split_choice
from edgekd.verify.comparing import Subject
from edgekd.verify.layers import LayerComparison, LayeredVerification, compare_files
from edgekd.verify.records import Verification, worst
from edgekd.verify.samples import Samples

DEFAULT_SAMPLES = 32
_SUFFIXES = (".keras", ".onnx", ".tflite")


def with_layers(
    found: Verification, subjects: Sequence[Subject], given: Samples, *, samples: int = DEFAULT_SAMPLES
) -> LayeredVerification:
    """Returns a verification with each of its pairs compared operator by operator; it failed where one of these did.

    Files are compared once, whatever runtimes they were run in: operators run in the built-in kernels, one by one.

    Args:
      found: what was verified.
      subjects: its models; the first one's inputs are the order of the samples.
      given: the samples.
      samples: how many of them to use, from the first on.

    Raises:
      ModelError: a model that is no .keras, .onnx or .tflite file, or a file that cannot be compared so.
    """
    files = {subject.label: _file(subject) for subject in subjects}
    inputs = [np.asarray(each[:samples]) for each in given.arrays]
    compared: dict[tuple[Path, Path], LayerComparison] = {}
    for pair in found.pairs:
        paths = files[pair.reference], files[pair.candidate]
        if paths not in compared:
            compared[paths] = compare_files(
                *paths,
                inputs,
                names=(str(split_choice(pair.reference)[0]), str(split_choice(pair.candidate)[0])),
                dataset=given.name,
                input_names=[spec.name for spec in subjects[0].runner.inputs],
            )
    layers = tuple(compared.values())
    status = worst([found.status, *("passed" if each.passed else "failed" for each in layers)])
    return LayeredVerification.model_validate({**dict(found), "status": status, "layers": layers})


def _file(subject: Subject) -> Path:
    path = split_choice(subject.path)[0]
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        raise ModelError(
            f"{subject.label!r} cannot be compared operator by operator: that takes {', '.join(_SUFFIXES)} files. Save "
            "or export the model as one of these."
        )
    return path
