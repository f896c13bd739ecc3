"""What an inspection finds, as frozen records."""

from typing import Literal

import pydantic

from edgekd.provenance import Provenance
from edgekd.records import Record, TensorSpec

SCHEMA_VERSION = 1


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
    """One tensor of the graph; None in `shape` is an open size, and `shape` is None where not even the rank is known.

    `size_bytes` is what is stored for a constant, and what the tensor takes while the graph runs for any other one,
    an open batch counted as 1; None where another size is open.
    """

    name: str
    role: Literal["input", "output", "constant", "activation"]
    shape: tuple[int | None, ...] | None
    dtype: str
    size_bytes: int | None
    quantisation: Quantisation | None = None


class OperatorCount(Record):
    """How often an operator occurs. `macs` is None where its arithmetic is not known or was not counted by operator."""

    operator: str
    count: int
    macs: int | None = None


class Memory(Record):
    """An estimate, from the graph alone, of what activations take; `method` says how it was made.

    `activations_bytes` is the sum over all of them, `peak_bytes` the most that is needed at once.
    """

    activations_bytes: int
    peak_bytes: int
    method: str


class Inspection(Record):
    """What a model file holds.

    `weights_bytes` counts all constants, each once; `metadata` gives the bytes of each named entry that no operator
    reads. `macs` are the multiply-accumulates of one inference with the file's own batch (1 where it is open); None
    with the reason in `macs_note` where some operator's arithmetic is not known. `parameters` is known of Keras files.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    format: str
    format_version: str
    sha256: str
    size_bytes: int
    weights_bytes: int
    metadata_bytes: int
    metadata: dict[str, int] = pydantic.Field(default_factory=dict)
    parameters: int | None = None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    signatures: tuple[str, ...] = ()
    operators: tuple[OperatorCount, ...]
    macs: int | None
    macs_note: str | None = None
    memory: Memory | None = None
    tensors: tuple[Tensor, ...]
    provenance: Provenance | None = None
