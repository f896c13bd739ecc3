"""What a run's networks and files give on the test split."""

from pathlib import Path

import numpy as np

from edgekd.pipeline.results import TrainingResult
from edgekd.pipeline.stage import RECORD_FILE, Work, roles, teacher_names
from edgekd.records import ModelRecord, TensorSpec


def of_networks(work: Work) -> tuple[list[ModelRecord], dict[str, np.ndarray], dict[str, float]]:
    """Returns every network of the run, test outputs by role, and the steps between those of integer networks."""
    from edgekd import architectures
    from edgekd.distill.evaluate import Predictor
    from edgekd.pipeline import foreign
    from edgekd.quantize import aware

    models: list[ModelRecord] = []
    found, steps = {}, {}
    for role in roles(work.recipe):
        result = TrainingResult.read(work.run / role / RECORD_FILE)
        for record in (result.model, *result.companions):
            models.append(record)
            if record.foreign:
                section = work.recipe.teacher[teacher_names(work.recipe).index(role)]
                teacher = foreign.open_section(section, work.data)
                foreign.require_unchanged(work, role, teacher)
                found[record.role] = foreign.logits(teacher, work.data.test)
            else:
                model = architectures.load_model(work.run / record.path)
                found[record.role] = Predictor(model).logits(work.data.test)
                step = aware.output_scale(model)
                if step is not None:
                    steps[record.role] = step
    return models, found, steps


def of_file(path: Path, images: np.ndarray) -> tuple[np.ndarray, TensorSpec]:
    """Returns what a file gives for [samples, ...] float32 images, dequantised, and what its output is."""
    from edgekd import runtime

    with runtime.open_runner(path, check=False) as runner:
        outputs = runtime.predict(runner, images)
        (specification,) = runner.outputs
    return outputs, specification
