"""The verify stage of networks that give back their inputs: errors, and how well these tell anomalies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.pipeline.results import ExportResult, VerifyResult
from edgekd.pipeline.stage import (
    EXPORT,
    LATER_STUDENTS,
    RECORD_FILE,
    STUDENT_DISTILLED,
    STUDENT_LABELS,
    STUDENT_QUANTIZED,
    Work,
    float_student,
)
from edgekd.records import Comparison, Gate, Interval, StageRow


def verify(work: Work) -> list[Path]:
    """Writes what the test split says of every network and every file."""
    from edgekd import runtime
    from edgekd.pipeline import network_rows, operator_errors, outputs, sparsifying
    from edgekd.verify import comparison, gates, stages
    from edgekd.verify.gates import one_at_least

    test = work.data.test
    samples, _ = test.read(np.arange(len(test)))
    models, found, steps = outputs.of_networks(work)
    errors = network_rows.errors_of(found, work.data, samples)
    rows: list[StageRow] = [network_rows.reconstruction_row(model, found, errors) for model in models]
    artifacts = ExportResult.read(work.run / EXPORT / RECORD_FILE).artifacts
    limits = work.recipe.verify
    beyond = one_at_least(limits.max_beyond_one_lsb, found[STUDENT_DISTILLED].size)
    comparisons: list[Comparison] = []
    found_gates: list[Gate] = []
    for position, artifact in enumerate(artifacts):
        work.progress.item(position, len(artifacts), artifact.name)
        path = work.run / artifact.path
        given, specification = outputs.of_file(path, samples)
        (errors[artifact.name],) = network_rows.errors_of({artifact.name: given}, work.data, samples).values()
        compared = {
            reference: comparison.compare_outputs(
                found[reference],
                given,
                output=specification,
                names=(reference, artifact.name),
                dataset=f"{work.data.name} test",
                step=steps.get(reference),
                by_class=False,
            ).model_copy(update={"auc_drop": _drop(errors[reference], errors[artifact.name])})
            for reference in dict.fromkeys((STUDENT_DISTILLED, float_student(work.recipe), artifact.source))
        }
        comparisons += compared.values()
        before = (artifact.source, found[artifact.source], errors[artifact.source])
        rows.append(
            stages.reconstruction_row(
                artifact.name,
                given,
                errors[artifact.name],
                kind="file",
                runtime=runtime.engine_of(path),
                before=before,
            )
        )
        found_gates += gates.reconstruction_gates(
            compared[artifact.source],
            errors[artifact.name].quality(),
            reference=errors[STUDENT_DISTILLED].quality(),
            min_sqnr_db=limits.min_sqnr_db,
            max_auc_drop=limits.max_auc_drop,
            min_auc=limits.min_auc,
        )
        if artifact.source == STUDENT_QUANTIZED and STUDENT_QUANTIZED in steps:
            found_gates += gates.same_network_gates(
                compared[STUDENT_QUANTIZED], max_beyond_one_lsb=beyond, min_agreement=None
            )
    result = VerifyResult(
        accuracies={},
        reconstructions={name: each.quality() for name, each in errors.items()},
        comparisons=tuple(comparisons),
        gates=(*found_gates, *sparsifying.gates(work, artifacts)),
        gains=_gains(errors),
        stages=tuple(rows),
        layers=operator_errors.of_files(work, artifacts, samples),
    )
    result.write(work.folder / RECORD_FILE)
    return [work.folder / RECORD_FILE]


def _drop(reference: Any, candidate: Any) -> Interval | None:
    from edgekd.verify import anomalies

    return anomalies.area_drop(reference, candidate)


def _gains(errors: Mapping[str, Any]) -> dict[str, Interval]:
    """Returns the area of each later student minus that of the student that learned alone."""
    # What the student alone loses, seen from the later one, is what that one has gained.
    drops = {role: _drop(errors[role], errors[STUDENT_LABELS]) for role in LATER_STUDENTS if role in errors}
    return {role: drop for role, drop in drops.items() if drop is not None}
