"""The record of each stage: what it hands to the next one, besides files."""

import pydantic

from edgekd.records import (
    Artifact,
    Comparison,
    EpochRecord,
    Estimate,
    Gate,
    Interval,
    LayerErrors,
    Measurement,
    ModelRecord,
    Parity,
    Profile,
    Reconstruction,
    Record,
    StageRow,
)


class TrainingResult(Record):
    """A trained network, and those that were trained beside it: peers or earlier generations."""

    model: ModelRecord
    curve: tuple[EpochRecord, ...]
    companions: tuple[ModelRecord, ...] = ()


class ExportResult(Record):
    """The written files."""

    artifacts: tuple[Artifact, ...]


class VerifyResult(Record):
    """Test accuracies of the Keras models by role, each file against the Keras student, and the gates.

    What gives back its input has no accuracy, and `reconstructions` are those of networks and files by name.
    `gains`, `stages` and `layers` are those of the summary; `predictions` is the name of the file beside this record.
    """

    accuracies: dict[str, Interval]
    reconstructions: dict[str, Reconstruction] = pydantic.Field(default_factory=dict)
    comparisons: tuple[Comparison, ...]
    gates: tuple[Gate, ...]
    gains: dict[str, Interval] = pydantic.Field(default_factory=dict)
    stages: tuple[StageRow, ...] = ()
    layers: tuple[LayerErrors, ...] = ()
    predictions: str | None = None


class BenchResult(Record):
    """Latency and memory of each file, measured and reckoned; where its time goes; what other kernels make of it."""

    measurements: tuple[Measurement, ...]
    profiles: tuple[Profile, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    parities: tuple[Parity, ...] = ()
