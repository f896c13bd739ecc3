"""Files that somebody wants of a network: each is tried, and what is missing is said operator by operator."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import quantize, registry
from edgekd.errors import MissingOperator, ModelError, NonFiniteError, OperatorError
from edgekd.portability.advice import instead
from edgekd.portability.owners import Owners
from edgekd.records import Finding

_FORMATS = "edgekd.export"
_HIGHEST_OPSET = 18  # that tf2onnx writes
_PROBLEMS = {
    "flex": "TFLite has no built-in operator for it: it needs TensorFlow's own (Flex, SELECT_TF_OPS)",
    "tflite": "TFLite has no operator for it, and TensorFlow's own cannot stand in",
    "integer": "has no integer kernel",
    "onnx": "ONNX has no operator for it",
}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One file.

    Attributes:
      target: whom it is for, for the records.
      format: of the file.
      scheme: a name or alias.
      options: what `edgekd.export.convert_model` takes besides.
      name: what the file will be called, for messages.
    """

    target: str
    format: str
    scheme: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    name: str = ""


def problems(
    model: Any, wanted: Wanted, path: Path, *, samples: np.ndarray[Any, Any] | None, owners: Owners
) -> list[Finding]:
    """Tries to write a file, and returns what keeps it from being written; nothing where it lies at `path`.

    Args:
      model: as for `edgekd.export.export_model`.
      wanted: the file.
      path: where it goes.
      samples: [samples, ...] float32 for schemes that are calibrated; made up where a network is not trained yet.
      owners: finds the model's layers.

    Raises:
      RecipeError: options that no file can have.
      DataError: samples that show no range.
    """
    try:
        _convert(model, wanted, path, samples)
    except OperatorError as error:
        return merged(
            _finding(wanted, each, owners, opset)
            for each, opset in _all_missing(model, wanted, path, samples, error.operators)
        )
    except (ModelError, NonFiniteError) as error:
        return [
            Finding(
                targets=(wanted.target,),
                schemes=(quantize.scheme(wanted.scheme).name,),
                problem=str(error),
                advice=instead("converter", "", None),
            )
        ]
    return []


def merged(found: Iterable[Finding]) -> list[Finding]:
    """Returns the findings, those that differ in targets, schemes or the exact output only made one, in their order."""
    groups: dict[Any, list[Finding]] = {}
    for each in found:
        where = each.output if each.layer is None else None
        groups.setdefault((each.layer, each.operator, where, each.problem, each.advice), []).append(each)
    return [
        same[0].model_copy(
            update={
                key: tuple(dict.fromkeys(itertools.chain.from_iterable(getattr(each, key) for each in same)))
                for key in ("targets", "schemes")
            }
        )
        for same in groups.values()
    ]


def refuse(found: Sequence[Finding], *, what: str) -> None:
    """Raises ModelError with all findings at once, if there are any.

    Args:
      found: what is wrong.
      what: what it keeps from being done.
    """
    if found:
        listed = " ".join(f"({number}) {_in_words(each)}" for number, each in enumerate(found, start=1))
        raise ModelError(f"{what}: {listed}")


def _in_words(finding: Finding) -> str:
    about = f"{finding.subject}: " if finding.subject else ""
    return f"{', '.join(finding.targets)}: {about}{finding.problem.rstrip('.')}. Instead: {finding.advice}."


def _convert(model: Any, wanted: Wanted, path: Path, samples: Any, **changes: Any) -> tuple[str, ...]:
    from edgekd.export import convert_model

    return convert_model(
        model, path, format=wanted.format, scheme=wanted.scheme, calibration=samples, **{**wanted.options, **changes}
    )


def _all_missing(
    model: Any, wanted: Wanted, path: Path, samples: Any, first: Sequence[MissingOperator]
) -> list[tuple[MissingOperator, int | None]]:
    """Returns every missing operator; for one that a higher ONNX opset has, that too."""
    if all(each.lack == "integer" for each in first):
        # The converter may name one only. With float operators allowed it tells all that stayed in float.
        try:
            left = _convert(model, wanted, path, samples, allow_float_operators=True)
        except OperatorError as further:
            first = [*first, *(each for each in further.operators if each not in first)]
        except ModelError:
            pass  # the first error says why
        else:
            return [(MissingOperator(*each.partition(" ")[::2], lack="integer"), None) for each in left]
        finally:
            path.unlink(missing_ok=True)
    if any(each.lack == "onnx" for each in first):
        return [(each, _opset_of(model, wanted, path, samples, each)) for each in first]
    return [(each, None) for each in first]


def _opset_of(model: Any, wanted: Wanted, path: Path, samples: Any, missing: MissingOperator) -> int | None:
    """Returns the lowest opset above the file's in which an operator is not missing any more, if there is one."""
    for opset in range(_opset(wanted) + 1, _HIGHEST_OPSET + 1):
        try:
            _convert(model, wanted, path, samples, opset=opset)
        except OperatorError as error:
            if missing.operator in {each.operator for each in error.operators}:
                continue
        except ModelError:
            continue
        return opset
    return None


def _opset(wanted: Wanted) -> int:
    default = registry.describe(_FORMATS, "onnx", entry="export").parameters["opset"]
    return int(wanted.options.get("opset", default))


def _finding(wanted: Wanted, missing: MissingOperator, owners: Owners, opset: int | None) -> Finding:
    problem, advice = _PROBLEMS[missing.lack], None
    if opset is not None:
        problem, advice = f"ONNX opset {_opset(wanted)} has no operator for it", f"set opset: {opset}"
    schemes = (quantize.scheme(wanted.scheme).name,)
    return owners.finding(
        missing.lack,
        missing.operator,
        missing.output,
        problem=problem,
        targets=(wanted.target,),
        schemes=schemes,
        advice=advice,
    )
