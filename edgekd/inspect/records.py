"""What an inspection finds, as frozen records."""

from typing import Any, Literal

import pydantic

from edgekd.provenance import Provenance
from edgekd.records import KernelValues, Record, TensorSpec

SCHEMA_VERSION = 2


class Quantisation(Record):
    """How a tensor's integers stand for real numbers: real = scale * (integer - zero_point).

    `axis` is the dimension along which a `per_channel` tensor has its scales. A `blockwise` tensor keeps its scales in
    a tensor of their own, and `scales` is empty.
    """

    granularity: Literal["per_tensor", "per_channel", "blockwise"]
    axis: int | None = None
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]


class Tensor(Record):
    """One tensor of a graph; None in `shape` is an open size, and `shape` is None where not even the rank is known.

    `size_bytes` is what is stored for a constant, and what the tensor takes while the graph runs for any other one,
    an open batch counted as 1; None where another size is open. `subgraph` is the number of its graph.
    """

    name: str
    role: Literal["input", "output", "constant", "activation", "variable"]
    shape: tuple[int | None, ...] | None
    dtype: str
    size_bytes: int | None
    quantisation: Quantisation | None = None
    subgraph: int = 0


class Operator(Record):
    """One operator of a graph, in the order in which they run.

    `version` is its kernel version in TFLite, the opset that it was defined in for ONNX; None where it is not known.
    `inputs` and `outputs` are positions in the inspection's `tensors`, None for an optional tensor that is left out.
    `weights_bytes` counts the constants that it reads, `made_bytes` what it makes, `live_bytes` the activations that
    live while it runs; None where a size is open. `macs` is None where its arithmetic is not known.
    """

    operator: str
    version: int | None
    subgraph: int = 0
    name: str | None = None
    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]
    attributes: dict[str, Any] = pydantic.Field(default_factory=dict)
    macs: int | None
    weights_bytes: int
    made_bytes: int | None
    live_bytes: int | None = None


class OperatorCount(Record):
    """How often an operator occurs. `macs` is None where its arithmetic is not known or was not counted by operator."""

    operator: str
    count: int
    macs: int | None = None


class Memory(Record):
    """An estimate, from the graph alone, of what activations take; `method` says how it was made.

    `activations_bytes` is the sum over all of them, `peak_bytes` the most that is needed at once, `peak_operator` the
    position among `nodes` of the first operator that needs it (None in a graph without operators), and `live_bytes`
    what is needed at each operator of the main graph.
    """

    activations_bytes: int
    peak_bytes: int
    peak_operator: int | None
    live_bytes: tuple[int, ...]
    method: str


class Subgraph(Record):
    """A graph of the file; the first is the one that runs, the others are bodies of its control flow."""

    name: str
    operators: int


class Signature(Record):
    """A named entry point of a TFLite file: what it calls its inputs and outputs, and the tensors' own names."""

    name: str
    subgraph: int
    inputs: dict[str, str]
    outputs: dict[str, str]


class Variable(Record):
    """State that a model keeps from one inference to the next; None where its shape or size cannot be told."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str | None
    size_bytes: int | None


class Delegation(Record):
    """Which operators of the main graph a delegate really took when LiteRT prepared the file on this machine.

    `operators` are their positions among `nodes`, `partitions` is the number of runs that they form. Both are None
    where it could not be told, with the reason in `note`.
    """

    delegate: str
    partitions: int | None
    operators: tuple[int, ...] | None
    note: str | None = None


class Microcontroller(Record):
    """What TensorFlow Lite for Microcontrollers makes of a file.

    `lacking` are the operators that it does not have. `arena_bytes` is the smallest tensor arena in which it ran the
    file here (see `edgekd.microcontroller.arena_bytes`); None where that was not asked for.
    """

    lacking: tuple[str, ...]
    arena_bytes: int | None = None


class Inspection(Record):
    """What a model file holds.

    `weights_bytes` counts all constants, each once; `metadata` gives the bytes of each named entry that no operator
    reads. `macs` are the multiply-accumulates of one inference with the file's own batch (1 where it is open); None
    with the reason in `macs_note` where some operator's arithmetic is not known. `parameters` is known of Keras files.
    `operators` counts what `nodes` lists one by one (which Keras files do not have). `delegation` and
    `microcontroller` are of TFLite files, where they were asked for.
    `gzip_bytes` is the file's size after gzip; `kernels` are the stored ones, those of plain layers in a Keras file.
    Where an ONNX file keeps constants in files beside it, its sizes and `sha256` are of all of them.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    format: str
    format_version: str
    sha256: str
    size_bytes: int
    gzip_bytes: int
    weights_bytes: int
    metadata_bytes: int
    metadata: dict[str, int] = pydantic.Field(default_factory=dict)
    parameters: int | None = None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    signatures: tuple[Signature, ...] = ()
    subgraphs: tuple[Subgraph, ...] = ()
    variables: tuple[Variable, ...] = ()
    operators: tuple[OperatorCount, ...]
    macs: int | None
    macs_note: str | None = None
    memory: Memory | None = None
    kernels: KernelValues | None = None
    nodes: tuple[Operator, ...] = ()
    tensors: tuple[Tensor, ...]
    provenance: Provenance | None = None
    delegation: Delegation | None = None
    microcontroller: Microcontroller | None = None
