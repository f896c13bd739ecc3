"""The record of each stage: what it hands to the next one, besides files."""

from edgekd.records import Artifact, Comparison, EpochRecord, Estimate, Gate, Interval, Measurement, ModelRecord, Record


class TrainingResult(Record):
    """A trained network, and those that were trained beside it: peers or earlier generations."""

    model: ModelRecord
    curve: tuple[EpochRecord, ...]
    companions: tuple[ModelRecord, ...] = ()


class ExportResult(Record):
    """The written files."""

    artifacts: tuple[Artifact, ...]


class VerifyResult(Record):
    """Test accuracies of the Keras models by role, each file against the Keras student, and the gates."""

    accuracies: dict[str, Interval]
    comparisons: tuple[Comparison, ...]
    gates: tuple[Gate, ...]


class BenchResult(Record):
    """Latency and memory of each file, measured and reckoned."""

    measurements: tuple[Measurement, ...]
    estimates: tuple[Estimate, ...] = ()
