"""What a verification finds, as frozen records: the document of `edgekd verify --json`."""

from typing import Literal

from edgekd.records import Comparison, Gate, Interval, Record, StageRow

SCHEMA_VERSION = 1

# How a model computes: in float32; with float16 weights; with quantised weights and float activations; in integers.
FLOAT32, FLOAT16, WEIGHTS, INTEGER = "float32", "float16", "weights", "integer"

NO_CLASSES = "none"
"""What is asked for in place of an output that gives classes where none does: labels are not read then."""

Status = Literal["passed", "failed", "inconclusive"]


class Tolerance(Record):
    """How far an output may be from the reference's, and in `origin` where that limit comes from.

    A `float` output may be off by `max_abs`. Of an `integer` output at most the fraction `max_mismatch` may be off by
    more than `max_lsb` quantisation steps of size `step`; where it comes out of an `activation` (logistic, tanh or
    softmax), also as far as so many steps of what goes in, of size `activation_step`, take it. Of an `exact` output
    (integers that mean themselves, such as classes) at most that fraction may differ at all. An output that was
    quantised on one side only must have the signal-to-noise ratio `min_sqnr_db`; None there: it is judged by the gates
    alone. A `min_sqnr_db` that was asked for holds for outputs of the other kinds too.
    """

    kind: Literal["float", "integer", "exact", "quantised"]
    max_abs: float | None = None
    step: float | None = None
    activation: str | None = None
    activation_step: float | None = None
    max_lsb: float | None = None
    max_mismatch: float | None = None
    min_sqnr_db: float | None = None
    origin: str


class Verdict(Record):
    """Whether one output of the candidate is the reference's, within the tolerance; it is true where it is.

    `output` and `candidate_output` are the two names that were paired. `mismatch` is the fraction of elements beyond
    `max_lsb` steps, or that differ where they must not, and `mismatch_interval` what it may be among other samples: an
    output with more than `max_mismatch` has failed where the whole interval lies above it, and is inconclusive where
    it does not. `reason` says what is wrong, and is empty where it passed.
    """

    reference: str
    candidate: str
    output: str
    candidate_output: str
    status: Status
    tolerance: Tolerance
    mismatch: float | None = None
    mismatch_interval: Interval | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.status == "passed"


class Pair(Record):
    """One candidate against one reference: what was measured, and what it was judged to be.

    `outputs_by` says by which rule the outputs were paired.
    """

    reference: str
    candidate: str
    status: Status
    outputs_by: str
    comparison: Comparison
    verdicts: tuple[Verdict, ...]
    gates: tuple[Gate, ...]

    def __bool__(self) -> bool:
        return self.status == "passed"


class InputData(Record):
    """What one input of the models got. `low` and `high` are the least and the largest number in it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float
    origin: str


class ModelUse(Record):
    """One model as it took part: `label` is its name in the rest of the document.

    `arithmetic` is float32, float16 (some weights), weights (quantised weights, float activations) or integer.
    `inputs_by` says by which rule its inputs were paired with the first model's.
    """

    label: str
    path: str
    runtime: str
    arithmetic: str
    stateful: bool
    inputs_by: str


class Verification(Record):
    """All that `edgekd verify` found.

    `comparisons`, `verdicts` and `gates` are those of all pairs, in order. With `matrix`, every model was compared with
    every one that was given before it.
    """

    schema_version: int = SCHEMA_VERSION
    status: Status
    samples: int
    dataset: str
    seeded: bool
    labelled: bool
    matrix: bool
    inputs: tuple[InputData, ...]
    models: tuple[ModelUse, ...]
    pairs: tuple[Pair, ...]
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    gates: tuple[Gate, ...]

    def __bool__(self) -> bool:
        return self.status == "passed"


class StageTable(Record):
    """Where a run lost accuracy: the document of `edgekd verify --stages RUN --json`."""

    schema_version: int = SCHEMA_VERSION
    run: str
    dataset: str
    samples: int
    rows: tuple[StageRow, ...]


def worst(statuses: list[Status]) -> Status:
    """Returns failed if any failed, else inconclusive if any is; nothing at all has failed."""
    if not statuses or "failed" in statuses:
        return "failed"
    return "inconclusive" if "inconclusive" in statuses else "passed"
