"""Frozen records: all that stages hand to each other, besides files. Each is one JSON document.

Numbers carry their unit in their name. A field that was not measured is None, never a made-up value.
"""

from pathlib import Path
from typing import Any, Literal, Self

import pydantic

from edgekd import storage
from edgekd.errors import StorageError

SCHEMA_VERSION = 1

Task = Literal["classification", "reconstruction"]
"""What a network gives for a sample: one logit for each class, or the sample itself, as an autoencoder does."""


class Record(pydantic.BaseModel):
    """Base of every record: immutable, strict about its keys, and free of NaN and infinity."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )

    def write(self, path: Path) -> None:
        """Writes the record as indented JSON, atomically."""
        storage.write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a record back.

        Raises:
          StorageError: the file is missing, or is not such a record.
        """
        text = storage.require_file(path, "record").read_text(encoding="utf-8", errors="replace")
        try:
            return cls.model_validate_json(text)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise StorageError(
                f"{str(path)!r} is not a valid {cls.__name__} record ({where}: {first['msg'].lower()}): check the "
                "path; if a run wrote that file, delete it and run the same command again."
            ) from error


class TensorSpec(Record):
    """One input or output of a model: None in `shape` is a dimension that may vary, such as the batch.

    `scale` and `zero_point` are set for quantised tensors: real = scale * (integer - zero_point).
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class Preprocessing(Record):
    """What became of the rescaling or normalisation that a network begins with: factor · x + shift for each channel.

    `placement` is `outside` where the file takes preprocessed values, so that the caller computes it; `input_scale`
    where the integers that the file takes are the raw values themselves, and its scale and zero point do the rest;
    `first_layer` where it is in the weights of `layer`; `first_layer_factor` where only the factor is, and the file
    still adds the shift. `factor` and `shift` have one number for each channel, or one for all.
    """

    input: str
    placement: Literal["outside", "input_scale", "first_layer", "first_layer_factor"]
    factor: tuple[float, ...]
    shift: tuple[float, ...]
    layer: str | None = None

    @property
    def by_the_caller(self) -> bool:
        """Whether the numbers that the file's input stands for are preprocessed ones."""
        return self.placement in ("outside", "input_scale")


class Interval(Record):
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float = 0.95


class Reconstruction(Record):
    """How near what a network gives back is to what it was given, and how well the error tells anomalies.

    Test samples of a class that the training or the validation split has are normal, all others are anomalous. `mse` is
    the mean squared error over the normal ones. `auc` is the probability that an anomaly has a larger error than what
    is normal, ties counting half; it is None where there are no anomalies. Errors are means over the `normal` and
    `anomalous` groups of samples, such as the windows of one recording, where the data says which belong together.
    """

    mse: float
    auc: Interval | None = None
    normal: int
    anomalous: int


class KernelValues(Record):
    """What the kernels of a network or file hold, those of its convolutions and dense layers taken together.

    `sparsity` is the share of `zeros` among the `weights`. `distinct_values` is the most that one kernel has,
    `distinct_per_channel` the most that one output channel of a kernel has: in a file, batch normalisation is folded
    into kernels, and gives every channel a factor of its own. `zeros_by_kernel` and `distinct_by_kernel` have the zeros
    of each kernel and the most values of one of its channels, each sorted: files have their kernels in another order.
    """

    weights: int
    zeros: int
    sparsity: float
    distinct_values: int
    distinct_per_channel: int
    zeros_by_kernel: tuple[int, ...]
    distinct_by_kernel: tuple[int, ...]


class ModelRecord(Record):
    """One Keras model of a run. Accuracies are top-1 fractions; the test split is read once, after training.

    `training_seconds` is the time spent in training steps, over all the processes that it took. A `foreign` model
    is a teacher from outside that is not a Keras file: it has neither parameters nor MACs, `weights_sha256` is over
    everything that determines its outputs, None where that cannot be known, and `path` is where it lies. `kernels` is
    told of a sparse student. A network that reconstructs has no accuracies but a `validation_loss`, the mean squared
    error, and a `reconstruction`.
    """

    role: str
    path: str
    architecture: str
    parameters: int | None
    macs: int | None
    accuracy: float | None = None
    accuracy_interval: Interval | None = None
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    reconstruction: Reconstruction | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    weights_sha256: str | None
    foreign: bool = False
    training_seconds: float | None = None
    kernels: KernelValues | None = None


class OperatorCost(Record):
    """What one operator of a file takes: the constants that it reads, and the activations that live while it runs.

    Operators are in the order in which they run. `weights_bytes` counts a constant where it is read first, so that the
    operators of a file add up; `live_bytes` is an estimate from the graph alone; it and `macs` are None where they
    cannot be told.
    """

    operator: str
    name: str | None
    macs: int | None
    weights_bytes: int
    live_bytes: int | None


class TensorSize(Record):
    """What one tensor of a file takes: stored for a constant, while the graph runs for any other.

    `shape` is None where not even its rank is known, None within it is an open size; `size_bytes` is then None, unless
    only the batch is open, which counts as 1.
    """

    artifact: str
    tensor: str
    role: Literal["input", "output", "constant", "activation", "variable"]
    shape: tuple[int | None, ...] | None
    dtype: str
    size_bytes: int | None


class Artifact(Record):
    """One exported file. `accuracy`, `accuracy_drop` and `agreement` are None until it has been verified.

    `accuracy_drop` is the reference model's accuracy minus this file's; `agreement` is the fraction of test samples
    on which both predict the same class. A file that reconstructs has a `reconstruction` instead. `float_operators` are
    those that the scheme left in float, each with the name of its output. `gzip_bytes` is the size after gzip at its
    highest level; `kernels` are those that are stored. `preprocessing` is what was moved out of the graph, for each
    such input. A run fills in `operators` and `tensors`, the constants that the file stores, the largest first.
    """

    name: str
    source: str
    format: str
    scheme: str
    path: str
    size_bytes: int
    gzip_bytes: int | None = None
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    float_operators: tuple[str, ...] = ()
    kernels: KernelValues | None = None
    preprocessing: tuple[Preprocessing, ...] = ()
    operators: tuple[OperatorCost, ...] = ()
    tensors: tuple[TensorSize, ...] = ()
    accuracy: float | None = None
    accuracy_drop: float | None = None
    agreement: float | None = None
    reconstruction: Reconstruction | None = None


class Finding(Record):
    """Something in a model that a target cannot carry, and what to write instead.

    `targets` and `schemes` are the files and training that it concerns. `layer` is the layer of the user's model where
    it can be told; `operator` is what whoever refuses it calls it (a layer's class for the target `qat`), and `output`
    the tensor that it makes.
    """

    targets: tuple[str, ...]
    schemes: tuple[str, ...] = ()
    layer: str | None = None
    operator: str | None = None
    output: str | None = None
    problem: str
    advice: str

    @property
    def subject(self) -> str:
        """What it is about, in few words; empty where it is about the model as a whole."""
        if self.operator is None:
            return self.layer or ""
        if self.layer is not None:
            return f"{self.layer} ({self.operator})"
        return f"{self.operator} {self.output}" if self.output else self.operator


class ExportCheck(Record):
    """What of a model keeps it from the targets that it was checked for; `notes` say what else was seen."""

    schema_version: int = SCHEMA_VERSION
    model: str
    targets: tuple[str, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


class OutputError(Record):
    """How far one output of the candidate is from the reference's, over all compared samples.

    `sqnr_db` is None where the two are identical (infinite ratio), `cosine` where the candidate's outputs are all
    zero and have no direction. `max_lsb` is the largest absolute error in steps
    of the candidate output's own scale, None for a float output.
    """

    output: str
    elements: int
    max_abs: float
    relative_l2: float
    cosine: float | None
    sqnr_db: float | None
    max_lsb: float | None = None
    beyond_one_lsb: float | None = None


class Comparison(Record):
    """A candidate against a reference on the same samples; `auc_drop` is told where both reconstruct."""

    reference: str
    candidate: str
    samples: int
    dataset: str
    reference_accuracy: float | None = None
    candidate_accuracy: float | None = None
    accuracy_drop: Interval | None = None
    agreement: Interval | None = None
    auc_drop: Interval | None = None
    outputs: tuple[OutputError, ...]


class StageRow(Record):
    """One network of a run, or one of its files in one runtime, on the test split.

    `before` names the row that it came from, to which agreement, accuracy drop and SQNR refer. `sqnr_db` is None where
    there is none before, and where the outputs are equal (`identical`). What reconstructs has a `reconstruction` and an
    `auc_drop` in place of accuracy, accuracy drop and agreement.
    """

    name: str
    kind: Literal["network", "file"]
    runtime: str
    accuracy: Interval | None
    before: str | None = None
    accuracy_drop: Interval | None = None
    agreement: Interval | None = None
    reconstruction: Reconstruction | None = None
    auc_drop: Interval | None = None
    sqnr_db: float | None = None
    identical: bool = False


class OperatorError(Record):
    """How far what one operator of a file gives is from what the network's own gives.

    `sqnr_db` is that of both run from the model's inputs, `local_sqnr_db` that of this operator alone on the same
    numbers; each is None where the two are equal (`identical`, of the first) or could not be compared. `excess` is the
    local error in units of what rounding explains, None where nothing was compared locally; `passed` is None there too.
    """

    operator: str
    tensor: str
    sqnr_db: float | None
    local_sqnr_db: float | None
    identical: bool
    excess: float | None
    passed: bool | None


class LayerErrors(Record):
    """A file beside the network that it was made from, operator by operator, in the network's order.

    `reason` says why they could not be compared so; then there are no rows.
    """

    reference: str
    candidate: str
    samples: int
    rows: tuple[OperatorError, ...] = ()
    reason: str | None = None


class Machine(Record):
    """What a model ran on: the system's and the processor's names as that machine gives them."""

    system: str
    architecture: str
    cpu: str
    logical_cores: int
    memory_bytes: int


class Latency(Record):
    """What one inference takes, in milliseconds; every process weighs the same, however many runs it had time for.

    `p50` is the median of process medians, and `interval` that value with a t-interval on logarithms; None with fewer
    than three processes. The other percentiles are those of an inference of a process drawn at random: the smallest
    sample at or below which so much of the weight lies (Hyndman-Fan type 1). `mean` is the mean of process means. `p99`
    is None with fewer than 1000 timed runs. Where a target gives no samples but statistics of each process, `p90`,
    `p95`, `p99` and `scaled_mad` are None.
    """

    p50: float
    p90: float | None
    p95: float | None
    p99: float | None
    minimum: float
    mean: float
    scaled_mad: float | None
    interval: Interval | None = None


class Measurement(Record):
    """Latency and memory of one file on one target; the raw samples are in `samples_path`.

    That path starts at the run's folder; where there is no run, at the folder that holds the samples' own; None where
    they could not be kept. `batch` is the first dimension that the inputs were given, None for the file's own. `ended`
    says why no further process was started: all had run, the interval was narrow enough, the time was up, or something
    broke it off, in which case the numbers are those of the whole rounds before; `failure` says what went wrong.
    `late_runs` are those of a periodic measurement that could not start in time. `minute_medians_ms` and `throttled`
    belong to a sustained one; `throttled` is None where it was too short to tell. `macs` are the multiply-accumulates
    of one inference with the file's own batch, `run_macs` those of one as it was run, and `gmacs_per_second` how many
    10^9 of these a second at p50; None where not known. `machine` is the one that measured, wherever it
    stands; None in records of versions that did not note it. `peak_memory_bytes` is None where the target does not
    tell. `import_ms`, `load_ms`, of which `allocate_ms` is a part, and `first_inference_ms` are medians over fresh
    processes before any warm-up; None where the runtime does not part them. `size_bytes` and `sha256` are also of the
    files beside an ONNX file in which it keeps constants. `delegated_operators` run in `delegate_partitions` parts.
    `outliers` counts the runs beyond Tukey's outer fences of their block, which are in every number all the same;
    `unsteady_processes` those that did not become steady in the time there was for it; `loop_ms` is the time of a short
    inference in a loop without a clock. `governor` is the one that chose the clock rate. `settings` are all that it was
    measured with.
    """

    artifact: str
    target: str
    machine: Machine | None = None
    runtime: str
    num_threads: int
    batch: int | None = None
    mode: Literal["back_to_back", "periodic", "sustained"] = "back_to_back"
    interval_ms: float | None = None
    latency_ms: Latency
    first_inference_ms: float
    load_ms: float
    import_ms: float | None = None
    allocate_ms: float | None = None
    peak_memory_bytes: int | None
    size_bytes: int
    sha256: str
    macs: int | None = None
    run_macs: int | None = None
    gmacs_per_second: float | None = None
    operators: int | None = None
    delegated_operators: int | None = None
    delegate_partitions: int | None = None
    processes: int
    num_runs: int
    warmup_runs: int
    outliers: int | None = None
    unsteady_processes: int | None = None
    loop_ms: float | None = None
    governor: str | None = None
    settings: dict[str, bool | int | float | str | tuple[int, ...] | None] = {}
    late_runs: int | None = None
    minute_medians_ms: tuple[float, ...] = ()
    throttled: bool | None = None
    ended: Literal["processes", "precision", "seconds", "interrupted", "failed"] = "processes"
    failure: str | None = None
    samples_path: str | None = None
    warnings: tuple[str, ...] = ()


LatencyVerdict = Literal["faster", "slower", "equivalent", "inconclusive"]


class LatencyComparison(Record):
    """Whether one file is faster than another that was measured in the same rounds.

    `ratio` is how many times as long it takes, None for fewer than three rounds. A difference within `floor` is neither
    faster nor slower. `p_differs` and `p_equivalent` are corrected for the number of files compared.
    """

    artifact: str
    baseline: str
    target: str
    num_threads: int
    batch: int | None = None
    rounds: int
    ratio: Interval | None
    verdict: LatencyVerdict
    floor: float
    p_differs: float | None
    p_equivalent: float | None


class LatencySelfTest(Record):
    """What copies of one file, measured together, say of the machine.

    `spread_of_processes` and `spread_of_ratios` are standard deviations of logarithms, of one copy from process to
    process and of two copies within a round. `verdicts` are those on each copy but the first, against the first: a good
    machine calls them equivalent. `detectable` is the smallest share by which another model must be slower to be found
    so four times in five with as many rounds, None for fewer than three; `rounds_needed` says how many rounds other
    shares take, None where more than a thousand or where a share is within the floor.
    """

    schema_version: int = SCHEMA_VERSION
    model: str
    target: str
    runtime: str
    num_threads: int
    copies: int
    rounds: int
    p50_ms: float
    spread_of_processes: float | None
    spread_of_ratios: float
    floor: float
    verdicts: tuple[LatencyVerdict, ...]
    detectable: float | None
    rounds_needed: dict[str, int | None]


class OperatorTime(Record):
    """One operator as the runtime runs it, `number` in the order of execution.

    `operator` is the runtime's name: XNNPACK's own where the delegate runs it, which may be part of an operator of the
    file or several of them. `place` is the node's name in an .onnx file, or its index in a .tflite file or within its
    partition. `time_us` is the mean over the faster half of the runs, with a t-interval over processes, `share` that of
    the whole.
    """

    number: int
    operator: str
    place: str
    in_delegate: bool
    time_us: Interval
    share: float


class Profile(Record):
    """The time of one inference by operator, in microseconds, on one thread.

    `whole_us` is what the runtime says of whole profiled inferences, the faster half of them; `plain_us` the median of
    those without profiling, as their caller sees them. `share_of_operators` is the operators' sum over the whole;
    runtimes round every operator down to microseconds, which takes away up to `share_lost_to_rounding`, half of that on
    average. `adds_up` says whether the sum and that half are within 10 % of the whole, None where the half is more than
    10 %: where it is false, the profiler itself takes much of the time, and the shares mislead.
    """

    schema_version: Literal[1] = 1
    model: str
    sha256: str
    runtime: str
    processes: int
    runs: int
    whole_us: Interval
    plain_us: Interval
    operators: tuple[OperatorTime, ...]
    share_of_operators: float
    share_lost_to_rounding: float
    adds_up: bool | None


class Bounded(Record):
    """A reckoned number and the band in which it is believed to lie; None where the tool states no band."""

    value: float
    low: float | None = None
    high: float | None = None


class Figures(Record):
    """What a program reckons that a file takes on a chip; None for what it says nothing of.

    `tool` is the program or method with its version, and `configuration` what it was told. `latency_ms` comes from
    `cycles` at the configuration's clock; `macs` are those that were counted for it. `arena_bytes` is TFLM's tensor
    arena; `sram_bytes`, `dram_bytes` and `flash_bytes` are what a compiler allots. `cpu_operators` are those that an
    NPU leaves to the CPU, each with the name of its output. `output_lsb` is the largest difference of an integer output
    from LiteRT's built-in kernels, in steps of that output, `output_max_abs` that of a float one, and
    `differing_outputs` the share of values that differ at all.
    """

    tool: str
    configuration: dict[str, bool | int | float | str | None] = pydantic.Field(default_factory=dict)
    latency_ms: Bounded | None = None
    cycles: int | None = None
    macs: int | None = None
    arena_bytes: int | None = None
    sram_bytes: int | None = None
    dram_bytes: int | None = None
    flash_bytes: int | None = None
    cpu_operators: tuple[str, ...] | None = None
    output_lsb: int | None = None
    output_max_abs: float | None = None
    differing_outputs: float | None = None
    notes: tuple[str, ...] = ()


class Estimate(Record):
    """One file on one chip that is not at hand: nothing here was measured there.

    `refusal` says why the target cannot run the file; then, and only then, there are no `figures`.
    """

    artifact: str
    target: str
    size_bytes: int
    sha256: str
    figures: Figures | None = None
    refusal: str | None = None


class OutputParity(Record):
    """How far one output elsewhere is from the one here, over all samples.

    `differing` is the share of values that are not equal. `max_lsb` and `beyond_one_lsb`, a share of the values, are in
    steps of an integer output and None for a float one, whose largest difference is `max_abs`. `agreement` is the share
    of vectors along the last axis whose largest value is at the same place; None where they have one value.
    """

    output: str
    dtype: str
    elements: int
    differing: float
    max_lsb: int | None
    beyond_one_lsb: float | None
    max_abs: float | None
    agreement: float | None


class ParityFindings(Record):
    """What ran a file elsewhere and here, on the same inputs, and how far the outputs are apart. No time is known.

    `emulator` and `cpu` stand for the other machine, `runtime` (with its `delegate`, `python` and `numpy`) ran the file
    there and `reference` here. `samples` inputs are random, the same for the same `seed`.
    """

    emulator: str
    cpu: str
    runtime: str
    delegate: str | None
    python: str
    numpy: str
    reference: str
    samples: int
    seed: int
    outputs: tuple[OutputParity, ...]


class Parity(Record):
    """Whether another processor's kernels compute of a file what this machine's do. Nothing here is a time.

    `refusal` says why it could not be run there; then, and only then, there are no `findings`.
    """

    artifact: str
    target: str
    size_bytes: int
    sha256: str
    findings: ParityFindings | None = None
    refusal: str | None = None


class Gate(Record):
    """One requirement and whether it held.

    `observed` is None where nothing could be measured: then it failed; and of `sqnr_db` where outputs are equal, whose
    ratio is infinite: then it held.

    `samples` is how many there were where `observed` is a fraction of samples. `inconclusive` is set only where gates
    are judged by intervals: the limit lies inside, so neither is known.
    """

    name: str
    passed: bool
    observed: float | None
    limit: float
    relation: Literal["<=", ">="]
    subject: str
    samples: int | None = None
    inconclusive: bool = False


class Environment(Record):
    """Where and with what something ran."""

    edgekd: str
    python: str
    platform: str
    machine: str
    cpu: str
    logical_cores: int
    memory_bytes: int
    packages: dict[str, str]


class EpochRecord(Record):
    """One row of a learning curve. `terms` holds each weighted loss term's mean over the epoch.

    `learning_rate` is the one of the epoch's last step. Accuracies are None of networks that reconstruct; their
    validation loss is the mean squared error.
    """

    epoch: int
    loss: float
    terms: dict[str, float]
    accuracy: float | None
    validation_loss: float
    validation_accuracy: float | None
    learning_rate: float
    images_per_second: float


class DatasetRecord(Record):
    """The data a run used. The fingerprint is a SHA-256 over every sample and label of every split.

    `train` counts all training samples, `unlabelled` those of them that have no label.

    `preprocessing` says what becomes of a stored sample before a network gets it: exported files expect the same.
    """

    name: str
    fingerprint: str
    input_shape: tuple[int, ...]
    preprocessing: str
    class_names: tuple[str, ...]
    train: int
    validation: int
    test: int
    unlabelled: int = 0


TrainingWarningKind = Literal["chance", "one_class", "weak_teacher", "worse_than_labels"]


class TrainingWarning(Record):
    """What in a run's record says that a training went wrong, whatever the gates say.

    `chance`: the accuracy of `network` is not known to be better than always naming the most frequent class;
    `one_class`: it names one class for nearly everything; `weak_teacher`: a teacher weaker than the student on labels;
    `worse_than_labels`: a distilled student worse than that one. The rules are in docs/report.md. `seen` has the
    numbers, `advice` says what to do.
    """

    kind: TrainingWarningKind
    network: str
    seen: str
    advice: str


class Summary(Record):
    """Everything a run found: what the report shows and what other programs read.

    `recipe_sha256` is a hash of every setting, `experiment_sha256` one without the seed, the name, places on a machine,
    gates and measuring: runs that share it, the data's fingerprint and the weights of given teachers are one
    experiment, over seeds. It is None in records of earlier versions.

    `environment` is where the summary was made; `earlier_environments` has the stages that were done elsewhere or with
    other versions, and are kept. `task` is what networks give: with `reconstruction`, networks and files have an AUC at
    most, where this says accuracy. `taught` says in words how the student was taught. `gains` has the accuracy of each
    later student minus that of the student on labels, paired over the test samples. `stages` are networks and files,
    each beside the one that it came from, and `layers` files operator by operator, where the recipe asks for it.
    `predictions_path` is the file of `edgekd.predictions`, from the run's folder on. `training_warnings` say where this
    record shows that a training went wrong; it is None in records of earlier versions, which did not look. The numbers
    of a `smoke` run mean nothing.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    task: Task = "classification"
    smoke: bool = False
    seed: int
    recipe_sha256: str
    experiment_sha256: str | None = None
    environment: Environment
    earlier_environments: dict[str, Environment] = pydantic.Field(default_factory=dict)
    taught: str | None = None
    data: DatasetRecord
    models: dict[str, ModelRecord]
    curves: dict[str, tuple[EpochRecord, ...]]
    artifacts: tuple[Artifact, ...]
    comparisons: tuple[Comparison, ...]
    measurements: tuple[Measurement, ...]
    profiles: tuple[Profile, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    parities: tuple[Parity, ...] = ()
    gates: tuple[Gate, ...]
    gains: dict[str, Interval] = pydantic.Field(default_factory=dict)
    stages: tuple[StageRow, ...] = ()
    layers: tuple[LayerErrors, ...] = ()
    predictions_path: str | None = None
    training_warnings: tuple[TrainingWarning, ...] | None = None
    seconds: dict[str, float]


class Rounding(Record):
    """What rounding some layers to int8 does to a network's logits and predictions, against the float network.

    `sqnr_db` is None where the logits are identical (infinite ratio). `accuracy_drop` is the float network's accuracy
    minus this one's, on the same samples.
    """

    sqnr_db: float | None
    accuracy: float
    accuracy_drop: Interval


class LayerSensitivity(Record):
    """How much one unit of layers, which an integer file computes as one, suffers from int8.

    `exclude` is what leaves it in float: a batch normalisation or ReLU stays with its convolution unnamed. `weights`
    counts the numbers in its kernels. `alone` is the network in which only this unit is rounded, `others` the one in
    which everything else is. Ranks count from 1, the most sensitive.
    """

    name: str
    layers: tuple[str, ...]
    exclude: tuple[str, ...]
    weights: int
    alone: Rounding
    others: Rounding
    sqnr_rank: int
    accuracy_rank: int


class ExclusionTrial(Record):
    """One set of units that was left in float, and what the rest, rounded, costs."""

    units: tuple[str, ...]
    accuracy_drop: float
    fits: bool


class MixedFile(Record):
    """A file of the network with some layers in float, as its runtime computes it on the same validation images.

    `path` is None for a file that was measured and not kept.
    """

    name: str
    scheme: str
    exclude: tuple[str, ...]
    path: str | None
    size_bytes: int
    sha256: str
    comparison: Comparison
    measurement: Measurement
    fits: bool


class Sensitivity(Record):
    """Which layers of a classifier suffer from int8, and the cheapest file that loses little enough accuracy.

    All accuracies but those of `test` are on `images` validation images, chosen by `seed`. On these the kept file was
    chosen, too, so that its accuracy there flatters it; `test` compares it with the float network on the test split,
    which is read once, after the choice. `units` are in the network's order, `trials` in
    the order in which they were made. `files` begin with the float one and the one of full int8. `kept` is the name of
    the cheapest int8 or mixed file that fits `max_accuracy_drop`, None where none does, and `exclude` its layers in
    float.
    """

    schema_version: int = SCHEMA_VERSION
    model: str
    weights_sha256: str
    dataset: str
    data_fingerprint: str
    images: int
    seed: int
    calibration: str
    calibration_settings: dict[str, Any] = pydantic.Field(default_factory=dict)
    calibration_samples: int
    always_excluded: tuple[str, ...]
    max_accuracy_drop: float
    float_accuracy: float
    int8: Rounding
    units: tuple[LayerSensitivity, ...]
    trials: tuple[ExclusionTrial, ...]
    files: tuple[MixedFile, ...]
    kept: str | None
    exclude: tuple[str, ...]
    test: Comparison | None = None
    environment: Environment
    seconds: dict[str, float]
