"""What a comparison operator by operator found."""

from typing import Literal

from edgekd.records import Record
from edgekd.verify.records import Status, Verification


class LayerError(Record):
    """How far one tensor of the candidate is from the reference's, over all samples.

    `relative_l2` is None where the reference is all zeros, `sqnr_db` there too and where both are equal. `max_lsb` and
    `rms_lsb` are in steps of the candidate tensor's own scale, None for a float. `mismatch` is the fraction of
    elements that are off by more than one such step, or, for a float, by more than the tolerance.
    """

    rms: float
    max_abs: float
    relative_l2: float | None
    sqnr_db: float | None
    rms_lsb: float | None
    max_lsb: float | None
    mismatch: float


class LayerRow(Record):
    """One operator of the reference and the candidate's that does the same work.

    Attributes:
      kind: what it computes.
      reference_operator, candidate_operator: what their formats call them.
      reference_tensor, candidate_tensor: names of what they give.
      reference_shape, candidate_shape: of that, for one run.
      candidate_dtype: of the candidate's tensor.
      matched_by: what told that they belong together: `position` of a model's input, `structure` of the graphs,
        `kernels`, `values` on the data, `neighbours`, or `order`.
      layout: how the candidate's axes stand to the reference's.
      layout_by: `shape` where shapes leave one possibility, `others` where it is that of most other tensors, `values`
        where another one halves the error at least.
      merged: names of further operators, of either model, that have no partner and are part of this comparison.
      note: what else to know.
      cumulative: both run from the model's inputs.
      local: the operators alone run on the reference's values, rounded as the candidate's input tensors hold them. None
        where that cannot be run.
      limit: the largest root mean square error that rounding explains, of the output channel whose error is the largest
        beside its own limit; None as `local`.
      excess: the error of that channel, divided by `limit`.
      channel: which it is, where channels are told apart.
      saturated: the fraction of the reference's values that lie more than a step beyond what the candidate can hold.
      passed: whether excess is at most 1 and saturated, by its 95 % interval, at most 0.02. None where nothing was
        compared locally.
      reason: what was wrong.
    """

    kind: str
    reference_operator: str
    candidate_operator: str
    reference_tensor: str
    candidate_tensor: str
    reference_shape: tuple[int, ...]
    candidate_shape: tuple[int, ...]
    candidate_dtype: str
    matched_by: Literal["position", "structure", "kernels", "values", "neighbours", "order"]
    layout: Literal["same", "channels moved last", "channels moved first", "reshaped", "different"]
    layout_by: Literal["shape", "others", "values"] = "shape"
    merged: tuple[str, ...] = ()
    note: str | None = None
    cumulative: LayerError | None = None
    local: LayerError | None = None
    limit: float | None = None
    excess: float | None = None
    channel: int | None = None
    saturated: float | None = None
    passed: bool | None
    reason: str | None = None


class LayerComparison(Record):
    """A candidate against a reference, operator by operator, in the reference's order.

    Attributes:
      reference, candidate: their names.
      dataset: what they were run on.
      samples: how many of it.
      inputs_by: whether inputs were paired by name or by position.
      rows: the matched operators.
      unmatched_reference, unmatched_candidate: operators and outputs without a partner.
      first: which row is the first whose local error exceeds its tolerance.
      ranking: rows by how far their local errors exceed their tolerances, the worst first.
      unjudged: operators with weights, of either, that no row judges.
      status: failed where a row failed or nothing was compared, inconclusive where `unjudged` names some, else passed.
      passed: whether the status is that.
    """

    reference: str
    candidate: str
    dataset: str
    samples: int
    inputs_by: Literal["name", "position"]
    rows: tuple[LayerRow, ...]
    unmatched_reference: tuple[str, ...]
    unmatched_candidate: tuple[str, ...]
    first: int | None
    ranking: tuple[int, ...]
    unjudged: tuple[str, ...] = ()
    status: Status
    passed: bool


class LayersNotCompared(Record):
    """Two files that could not be compared operator by operator, and why."""

    reference: str
    candidate: str
    reason: str


class LayeredVerification(Verification):
    """What `edgekd verify --layers` found: a verification, and its pairs of files operator by operator in `layers`.

    Those that could not be compared so are in `not_compared`; what was verified of them stands.
    """

    layers: tuple[LayerComparison, ...]
    not_compared: tuple[LayersNotCompared, ...] = ()
