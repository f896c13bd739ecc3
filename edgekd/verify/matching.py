"""Which output (or input) of one model is which of another."""

from collections.abc import Mapping, Sequence

from edgekd.errors import ModelError, ShapeError, unknown_name


def pair(
    reference: Sequence[str], candidate: Sequence[str], *, what: str, models: tuple[str, str], given: Mapping[str, str]
) -> tuple[tuple[int, ...], str]:
    """Returns, for each name of the reference, the position of the candidate's that it is paired with, and the rule.

    By name where both have the same names; as `given` says where it names some; else by position.

    Args:
      reference: the reference's names, in order.
      candidate: the candidate's names, in order.
      what: output or input, for messages.
      models: what to call the two models in messages.
      given: {name of the reference: name of the candidate}, for all of the reference's names or for none. Names that
        are of neither model are an error of the caller's, who knows all models.

    Raises:
      ShapeError: different numbers of them.
      ModelError: names that are given but not there, given for some only, or occur twice.
    """
    if len(reference) != len(candidate):
        raise ShapeError(
            f"{models[0]!r} has {len(reference)} {what}(s) ({', '.join(reference)}) and {models[1]!r} has "
            f"{len(candidate)} ({', '.join(candidate)}): only models with the same {what}s can be compared."
        )
    named = [name for name in reference if name in given]
    if named:
        return _given(reference, candidate, what=what, models=models, given=given), "as given"
    if len(set(reference)) == len(reference) and set(reference) == set(candidate):
        return tuple(list(candidate).index(name) for name in reference), "by name"
    return tuple(range(len(reference))), "by the only one" if len(reference) == 1 else "by position"


def _given(
    reference: Sequence[str], candidate: Sequence[str], *, what: str, models: tuple[str, str], given: Mapping[str, str]
) -> tuple[int, ...]:
    missing = [name for name in reference if name not in given]
    if missing:
        raise ModelError(f"pair all {what}s of {models[0]!r} or none: {', '.join(missing)} is not paired.")
    positions = []
    for name in reference:
        if given[name] not in candidate:
            raise ModelError(unknown_name(f"{what} of {models[1]!r}:", given[name], candidate))
        positions.append(list(candidate).index(given[name]))
    if len(set(positions)) != len(positions):
        raise ModelError(f"an {what} of {models[1]!r} is paired twice: {', '.join(given[name] for name in reference)}.")
    return tuple(positions)
