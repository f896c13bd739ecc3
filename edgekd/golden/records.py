"""A golden record and what a check of a file against it finds, as frozen records."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic

from edgekd import storage
from edgekd.inspect import Signature
from edgekd.records import Record, TensorSpec
from edgekd.verify.records import Status

SCHEMA_VERSION: Literal[1] = 1


class Activation(Record):
    """A computed tensor that holds integers: real = scale * (integer - zero_point)."""

    name: str
    dtype: str
    scale: float
    zero_point: int


class Constant(Record):
    """What is stored for a constant, as a fingerprint.

    `sha256` begins the hash of its elements, `scales_sha256` that of its scales and zero points (None without any).
    `norm` is the L2 norm of the stored numbers, None of texts and of numbers that are not finite.
    """

    name: str
    operator: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    norm: float | None = None
    scales_sha256: str | None = None
    largest_scale: float | None = None


class Inputs(Record):
    """What the file was run on: `samples` of `name`, whose bytes have the hash `sha256`, and their labels likewise.

    They are all samples, also those whose outputs are not kept; accuracy and agreement are of all of them.
    `seed` and `ranges` (least and largest number of each input) are those of seeded samples.
    """

    name: str
    samples: int
    sha256: str
    labels_sha256: str | None = None
    seed: int | None = None
    ranges: dict[str, tuple[float, float]] = pydantic.Field(default_factory=dict)


class Values(Record):
    """One output for every sample, one row each.

    Of an output with a scale the integers are kept, of a float one the shortest decimals that give the same float32. A
    row has every `every`-th element of the flattened sample, whose shape is `shape`. `step` is the distance of
    neighbouring real numbers where they come from integers. `activation` is the steep function of integers that the
    output comes out of (logistic, tanh or softmax), if it does, and `activation_step` the step of these.
    """

    name: str
    shape: tuple[int, ...]
    every: int
    step: float | None
    activation: str | None = None
    activation_step: float | None = None
    scale: float | None = None
    zero_point: int | None = None
    dtype: str
    rows: tuple[tuple[int | float, ...], ...]


class Golden(Record):
    """What an exported file was when someone found it good.

    `sha256` and `environment` do not have to stay the same; they tell causes. `arithmetic` is how the file computes,
    see `edgekd.verify.arithmetic`. `metrics` are fractions, of labelled data or of a comparison with a reference.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    file: str
    format: str
    sha256: str
    size_bytes: int
    environment: dict[str, str]
    arithmetic: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    signatures: tuple[Signature, ...] = ()
    operators: dict[str, int]
    activations: tuple[Activation, ...] = ()
    constants: tuple[Constant, ...]
    metrics: dict[str, float] = pydantic.Field(default_factory=dict)
    run_on: Inputs
    values: tuple[Values, ...]

    def write(self, path: Path) -> None:
        """Writes the record as JSON that a diff shows well, one line for each row of numbers, atomically."""
        storage.write_text(path, self.text())

    def text(self) -> str:
        """Returns the document that `write` writes."""
        return "".join(_lines(self.model_dump(mode="json"), "")) + "\n"


class Finding(Record):
    """One thing that was looked at, and what came out."""

    kind: Literal[
        "golden",
        "interface",
        "dtype",
        "operators",
        "constants",
        "size",
        "data",
        "outputs",
        "metrics",
        "reference",
        "latency",
    ]
    status: Status
    message: str


Was = Literal["compared", "written", "regenerated"]


class ConversionCheck(Record):
    """What a check of a file found; it is true where everything passed.

    `golden_was` says what became of the golden record. `causes` are what may explain the failures, the likeliest first.
    """

    file: str
    golden: str
    golden_was: Was
    status: Status
    findings: tuple[Finding, ...]
    causes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.status == "passed"

    def __str__(self) -> str:
        """Returns what a person reads: all that did not pass, then the causes."""
        bad = [each for each in self.findings if each.status != "passed"]
        lines = [f"{self.file}: {self.status}" + (f", golden record {self.golden}" if bad else "")]
        lines += [f"  {each.kind} {each.status}: {each.message}" for each in bad]
        if bad and self.causes:
            lines += ["  likely cause:", *(f"    {cause}" for cause in self.causes)]
        return "\n".join(lines)


def _lines(value: Any, indent: str) -> Iterator[str]:
    nested = isinstance(value, dict | list) and any(isinstance(each, dict | list) for each in _members(value))
    if not nested or not value:
        yield json.dumps(value, ensure_ascii=False, allow_nan=False)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    inner = indent + " "
    yield opening
    for number, each in enumerate(value):
        yield ("," if number else "") + "\n" + inner
        if isinstance(value, dict):
            yield json.dumps(each, ensure_ascii=False) + ": "
            yield from _lines(value[each], inner)
        else:
            yield from _lines(each, inner)
    yield "\n" + indent + closing


def _members(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value
