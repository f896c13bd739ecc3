"""Requirements that exported files must meet. What was not measured has failed."""

from collections.abc import Sequence

from edgekd.errors import ShapeError
from edgekd.records import Artifact, Comparison, Gate, Interval, KernelValues, Reconstruction

_ROUNDING = 1e-12  # of the difference of two fractions of pairs


def one_at_least(fraction: float, number: int) -> float:
    """Returns the fraction of things that may differ: no finer than one of them, unless none may.

    Of 60 samples, 0.5 % are less than one: such a limit would hold only where nothing differs at all, which is another
    limit than the one that was asked for.

    Args:
      fraction: from 0, where none may differ, to 1.
      number: how many there are. Of one or none the fraction stays as it is: a limit that lets all differ is none.
    """
    return max(fraction, 1 / number) if fraction > 0 and number > 1 else fraction


def all_but_one_at_most(fraction: float, number: int) -> float:
    """Returns the fraction of things that must agree: not all of them, unless all must; see `one_at_least`."""
    return min(fraction, (number - 1) / number) if fraction < 1 and number > 1 else fraction


def same_network_gates(
    comparison: Comparison, *, max_beyond_one_lsb: float | None, min_agreement: float | None
) -> tuple[Gate, ...]:
    """Returns the gates for an integer file against the network that computes what it should: little may differ.

    Args:
      comparison: of the fake-quantised network with its file.
      max_beyond_one_lsb: the fraction of outputs that may be off by more than one step of the file's output. None where
        the outputs are floats, which have no steps: then there is no such gate.
      min_agreement: the fraction of samples with the same predicted class must be at least this. None where nothing is
        classified: then there is no such gate.
    """
    beyond = [error.beyond_one_lsb for error in comparison.outputs if error.beyond_one_lsb is not None]
    worst = max(beyond) if len(beyond) == len(comparison.outputs) > 0 else None
    same = comparison.agreement.value if comparison.agreement else None
    agreement = _at_least("agreement_with_int8_student", comparison.candidate, comparison, same, min_agreement)
    if max_beyond_one_lsb is None:
        return agreement
    steps = Gate(
        name="beyond_one_lsb",
        passed=worst is not None and worst <= max_beyond_one_lsb,
        observed=worst,
        limit=max_beyond_one_lsb,
        relation="<=",
        subject=comparison.candidate,
    )
    return (steps, *agreement)


def reconstruction_gates(
    comparison: Comparison,
    quality: Reconstruction,
    *,
    reference: Reconstruction,
    min_sqnr_db: float | None,
    max_auc_drop: float | None,
    min_auc: float | None,
) -> tuple[Gate, ...]:
    """Returns the gates of a file that gives back its input.

    Args:
      comparison: of the network that the file was made from with the file.
      quality: of the file.
      reference: of the network that the file's AUC is held to.
      min_sqnr_db: what its outputs' signal-to-noise ratio must be at least, of equal ones infinite; None: no such gate.
      max_auc_drop: the reference's AUC minus the file's may be at most this, where there are anomalies; None: no gate.
      min_auc: the file's AUC must be at least this; it has none, and fails, without anomalies. None: no such gate.
    """
    found: list[Gate] = []
    subject = comparison.candidate
    if min_sqnr_db is not None:
        ratios = [error.sqnr_db for error in comparison.outputs if error.sqnr_db is not None]
        found.append(
            Gate(
                name="sqnr_db",
                passed=not ratios or min(ratios) >= min_sqnr_db,
                observed=min(ratios, default=None),
                limit=min_sqnr_db,
                relation=">=",
                subject=subject,
            )
        )
    if max_auc_drop is not None and reference.auc is not None and quality.auc is not None:
        drop = reference.auc.value - quality.auc.value
        limit = one_at_least(max_auc_drop, quality.normal * quality.anomalous)
        found.append(
            Gate(
                name="auc_drop",
                passed=drop <= limit + _ROUNDING,
                observed=drop,
                limit=limit,
                relation="<=",
                subject=subject,
            )
        )
    if min_auc is not None:
        area = quality.auc
        found.append(
            Gate(
                name="auc",
                passed=area is not None and area.value >= min_auc,
                observed=area.value if area else None,
                limit=min_auc,
                relation=">=",
                subject=subject,
            )
        )
    return tuple(found)


def pruned_gate(file: Artifact, network: KernelValues) -> Gate:
    """Returns the gate for a file of a pruned network: its kernels hold all the zeros, whatever became of the rest.

    Kernels are judged one by one, the one with the fewest zeros in the file against the one with the fewest in the
    network, and so on: zeros that rounding adds to one do not stand for those that another lost. What the gate tells
    is of the two that are the worst. A file with another number of kernels is judged by all zeros together.

    Args:
      file: exported, from the network or from one that was trained further.
      network: what the pruned network's kernels hold.
    """
    held = file.kernels
    pairs = held and _pairs(held.zeros_by_kernel, network.zeros_by_kernel, (held.zeros, network.zeros))
    found, expected = min(pairs, key=lambda pair: pair[0] - pair[1]) if pairs else (None, network.zeros)
    return Gate(
        name="zeros",
        passed=found is not None and found >= expected and network.zeros > 0,
        observed=found,
        limit=expected,
        relation=">=",
        subject=file.name,
    )


def clustered_gate(file: Artifact, network: KernelValues) -> Gate:
    """Returns the gate for a file of a clustered network: no channel of its kernels has more values than there.

    Kernels are judged one by one as in `pruned_gate`, so that a kernel that stays as it is, with many values, does not
    speak for the clustered ones.

    Args:
      file: exported, from the network or from one that was trained further.
      network: what the clustered network's kernels hold.
    """
    held = file.kernels
    pairs = held and _pairs(
        held.distinct_by_kernel, network.distinct_by_kernel, (held.distinct_per_channel, network.distinct_per_channel)
    )
    found, expected = max(pairs, key=lambda pair: pair[0] - pair[1]) if pairs else (None, network.distinct_per_channel)
    return Gate(
        name="distinct_values_per_channel",
        passed=found is not None and found <= expected,
        observed=found,
        limit=expected,
        relation="<=",
        subject=file.name,
    )


def _pairs(found: Sequence[int], expected: Sequence[int], together: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """Returns the numbers of kernels side by side, or those of all together where there are more or fewer kernels."""
    return tuple(zip(found, expected, strict=True)) if len(found) == len(expected) else (together,)


def accuracy_gates(
    subjects: Sequence[str],
    comparisons: Sequence[Comparison],
    *,
    max_accuracy_drop: float | None,
    min_agreement: float | None,
    min_accuracy: float | None = None,
    agreeing: Sequence[Comparison] | None = None,
) -> tuple[Gate, ...]:
    """Returns the gates of every subject: its accuracy drop, its agreement with the reference, and its own accuracy.

    A subject without a comparison, or whose comparison lacks the number, gets failed gates that observed None. No
    subjects at all give failed gates too: exporting nothing is not a pass. The gates judge the measured values,
    not the ends of their intervals.

    Args:
      subjects: the names of all files that must pass.
      comparisons: what was compared; `candidate` names the file.
      max_accuracy_drop: the reference's accuracy minus the file's may be at most this. None: there is no such gate.
      min_agreement: the fraction of samples with the same predicted class must be at least this. None for files of a
        network that was trained further than the reference: then there is no such gate.
      min_accuracy: the file's accuracy must be at least this; None: no such gate.
      agreeing: the comparisons whose agreement is judged, where that is with another reference; `comparisons` by
        default.

    Raises:
      ShapeError: two comparisons of one subject: which one counts?
    """
    drops = _by_candidate(comparisons)
    agreements = drops if agreeing is None else _by_candidate(agreeing)
    gates = []
    for subject in subjects or ("no exported file",):
        dropped, agreed = drops.get(subject), agreements.get(subject)
        gates += [
            *_drop(subject, dropped, max_accuracy_drop),
            *_agreement(subject, agreed, min_agreement),
            *_accuracy(subject, dropped, min_accuracy),
        ]
    return tuple(gates)


def _by_candidate(comparisons: Sequence[Comparison]) -> dict[str, Comparison]:
    found: dict[str, Comparison] = {}
    for comparison in comparisons:
        if comparison.candidate in found:
            raise ShapeError(f"{comparison.candidate!r} was compared twice: give each file one comparison.")
        found[comparison.candidate] = comparison
    return found


def agreement_gate(comparison: Comparison, *, min_agreement: float) -> Gate:
    """Returns the gate on the fraction of samples with the same predicted class, of a comparison without labels.

    Args:
      comparison: of the reference with the file.
      min_agreement: it must be at least this.
    """
    (gate,) = _agreement(comparison.candidate, comparison, min_agreement)
    return gate


def by_interval(gates: Sequence[Gate], comparison: Comparison) -> tuple[Gate, ...]:
    """Returns the gates of a comparison, judged by the whole 95 % interval of what they observed.

    A gate holds where the whole interval does, fails where none of it does, and is inconclusive where the limit lies
    inside. A gate on what has no interval stays as it is.
    """
    intervals = {"accuracy_drop": comparison.accuracy_drop, "agreement": comparison.agreement}
    return tuple(_by_interval(gate, intervals.get(gate.name)) for gate in gates)


def _by_interval(gate: Gate, interval: Interval | None) -> Gate:
    if interval is None:
        return gate
    best, worst = (interval.low, interval.high) if gate.relation == "<=" else (interval.high, interval.low)

    def holds(value: float) -> bool:
        return value <= gate.limit if gate.relation == "<=" else value >= gate.limit

    return gate.model_copy(update={"passed": holds(worst), "inconclusive": holds(best) and not holds(worst)})


def _drop(subject: str, comparison: Comparison | None, limit: float | None) -> tuple[Gate, ...]:
    if limit is None:
        return ()
    drop = comparison.accuracy_drop if comparison else None
    return (
        Gate(
            name="accuracy_drop",
            passed=drop is not None and drop.value <= limit,
            observed=drop.value if drop else None,
            limit=limit,
            relation="<=",
            subject=subject,
            samples=comparison.samples if comparison and drop else None,
        ),
    )


def _agreement(subject: str, comparison: Comparison | None, limit: float | None) -> tuple[Gate, ...]:
    observed = comparison.agreement.value if comparison and comparison.agreement else None
    return _at_least("agreement", subject, comparison, observed, limit)


def _accuracy(subject: str, comparison: Comparison | None, limit: float | None) -> tuple[Gate, ...]:
    observed = comparison.candidate_accuracy if comparison else None
    return _at_least("accuracy", subject, comparison, observed, limit)


def _at_least(
    name: str, subject: str, comparison: Comparison | None, observed: float | None, limit: float | None
) -> tuple[Gate, ...]:
    if limit is None:
        return ()
    return (
        Gate(
            name=name,
            passed=observed is not None and observed >= limit,
            observed=observed,
            limit=limit,
            relation=">=",
            subject=subject,
            samples=comparison.samples if comparison and observed is not None else None,
        ),
    )
