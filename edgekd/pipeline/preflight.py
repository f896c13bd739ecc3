"""Pre-flight: all that can go wrong for want of fitting parts is found before any training."""

from edgekd.data.dataset import Dataset
from edgekd.errors import DataError, ShapeError
from edgekd.pipeline.training import build
from edgekd.recipe import Recipe


def check(recipe: Recipe, data: Dataset) -> None:
    """Builds both networks and evaluates the student's whole objective on one tiny batch.

    Raises:
      DataError: augmentation does not fit the data, or a calibration sample is impossible.
      ModelError: a network cannot be built, or a tap does not exist (the message lists the known ones).
      ShapeError: the networks' inputs, classes or feature maps do not fit the data or each other.
    """
    import keras
    import numpy as np

    from edgekd.distill import objective
    from edgekd.distill.step import weighted_terms
    from edgekd.distill.taps import TappedModel

    augment = recipe.data.augment
    if len(data.input_shape) != 3 and any(augment.model_dump().values()):
        raise DataError(
            f"augment is for images, but samples of {data.name!r} have shape {data.input_shape}: remove data.augment."
        )
    networks: dict[str, keras.Model] = {}
    for role, network in (("teacher", recipe.teacher), ("student", recipe.student)):
        model = build(recipe, network, input_shape=data.input_shape, num_classes=data.num_classes)
        _check_ends(role, model, data)
        networks[role] = model
    goal = objective.from_recipe(recipe.distill, label_smoothing=recipe.student.label_smoothing)
    images = np.zeros((2, *data.input_shape), np.float32)
    student = TappedModel(networks["student"], goal.student_taps)(images, training=False)
    teacher = TappedModel(networks["teacher"], goal.teacher_taps)(images, training=False)
    weighted_terms(goal, np.zeros(2, np.int64), student, teacher)


def _check_ends(role: str, model: "keras.Model", data: Dataset) -> None:  # type: ignore[name-defined] # noqa: F821
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ShapeError(
            f"the {role} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: a network with one input "
            "and one output, the logits, is needed."
        )
    received, classes = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    fits = len(received) == len(data.input_shape) and all(
        size in {None, given} for size, given in zip(received, data.input_shape, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"the {role} takes inputs of shape {received}, but samples of {data.name!r} have {data.input_shape}: "
            "choose another model, or data of its size."
        )
    if classes != (data.num_classes,):
        raise ShapeError(
            f"the {role}'s output has shape {classes}, but {data.name!r} has {data.num_classes} classes: teacher, "
            "student and data must have the same classes."
        )
