"""Pre-flight: what keeps a run from ending, for want of fitting parts or converters, is found before any training."""

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import portability, schedules
from edgekd.data.dataset import Dataset
from edgekd.errors import DataError, RecipeError
from edgekd.pipeline import exporting, networks, quantizing, retraining, sparsifying, teaching
from edgekd.pipeline.stage import (
    EXPORT,
    STUDENT_DISTILLED,
    STUDENT_LABELS,
    STUDENT_QUANTIZED,
    STUDENT_SPARSE,
    float_student,
    teacher_names,
)
from edgekd.recipe import Distill, Recipe, Teacher, Training
from edgekd.recipe import section as section_of
from edgekd.records import Finding
from edgekd.schedules import Schedule

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import numpy as np

    from edgekd.distill.learners import Learners
    from edgekd.distill.objective import Objective


_SHOWN = 16  # of the training samples, to see whether they are bytes


def check(recipe: Recipe, data: Dataset, *, stages: Collection[str]) -> None:
    """Builds the networks, evaluates the student's whole objective on one tiny batch, and tries every export.

    Networks are exported untrained and calibrated on made-up samples: whether a file can be written depends on neither.

    Args:
      recipe: what is to be done.
      data: of the recipe.
      stages: the names of the stages that are to run; what none of them needs is not built.

    Raises:
      DataError: augmentation does not fit the data.
      RecipeError: options that a file of the student cannot have, such as layers that it lacks; those of all files.
      ModelError: a network cannot be built, a tap does not exist (the message lists the known ones), or a file that
        the recipe asks for cannot be written (the message lists everything that keeps it from being).
      ShapeError: the networks' inputs, classes or feature maps do not fit the data or each other.
    """
    from edgekd.distill import fitting

    augment = recipe.data.augment
    if len(data.input_shape) != 3 and any(augment.model_dump().values()):
        raise DataError(
            f"augment is for images, but samples of {data.name!r} have shape {data.input_shape}: remove data.augment."
        )
    least = recipe.verify.min_auc
    if least is not None and not data.anomalous(data.test).any():
        raise RecipeError(
            f"verify.min_auc is {least:g}, and no test sample of {data.name!r} is an anomaly, of a class that training "
            "and validation do not have: add some, or remove min_auc."
        )
    distils = STUDENT_DISTILLED in stages
    sparsifies = recipe.sparsify is not None and (distils or STUDENT_SPARSE in stages)
    teachers = {}
    for name, section in zip(teacher_names(recipe), recipe.teacher, strict=True):
        if distils or sparsifies or name in stages:
            teachers[name] = _checked_teacher(section, data, batch_size=recipe.data.batch_size)
    if STUDENT_LABELS in stages and not distils:
        fitting.check(networks.build(recipe.student, data, seed=recipe.seed), data, role="student")
    if distils:
        _check_distillation(recipe, data, teachers)
        _check_choices(recipe, data)
    if sparsifies:
        _check_sparse(recipe, data, teachers)
    quantizes = recipe.quantize is not None and (distils or sparsifies or STUDENT_QUANTIZED in stages)
    if quantizes or EXPORT in stages:
        _check_files(recipe, data, quantizes=quantizes, exports=EXPORT in stages)


def _check_sparse(recipe: Recipe, data: Dataset, teachers: Mapping[str, Any]) -> None:
    """Makes the sparse network of the untrained student, and evaluates its whole objective."""
    from edgekd.distill import objective

    assert recipe.sparsify is not None  # noqa: S101 - asked by the caller
    student = networks.build(recipe.student, data, seed=recipe.seed)
    network = sparsifying.transformed(student, recipe.sparsify, steps=1, seed=recipe.seed)
    distill = retraining.objective_section(recipe, flat=False)
    goal = objective.from_recipe(distill, label_smoothing=recipe.sparsify.label_smoothing)
    taught = teaching.of_student(network, goal)
    _check_training(recipe, data, recipe.sparsify, distill, goal, taught, teachers or {STUDENT_DISTILLED: student})


def _check_choices(recipe: Recipe, data: Dataset) -> None:
    """Raises where a file shall have layers or preprocessing that a student of this kind has not, tried later or not.

    Raises:
      RecipeError: names of layers; the message has those of all files.
      ModelError: a choice of preprocessing.
    """
    from edgekd.export import check_layer_names, check_preprocessing

    choices = {export.preprocessing for export in recipe.export} - {"inside"}
    layered = {number: export.layers for number, export in enumerate(recipe.export) if export.layers}
    if not choices and not layered:
        return
    student = networks.build(recipe.student, data, seed=recipe.seed)
    problems = []
    for number, layers in layered.items():
        try:
            check_layer_names(student, layers)
        except RecipeError as error:
            problems.append(f"export.{number}.layers: {error}")
    if problems:
        raise RecipeError(" ".join(problems))
    for choice in sorted(choices):
        check_preprocessing(student, choice)


def _check_files(recipe: Recipe, data: Dataset, *, quantizes: bool, exports: bool) -> None:
    """Makes the int8 network and the files, and raises ModelError with all that keeps them from being made."""
    student = networks.build(recipe.student, data, seed=recipe.seed)
    if recipe.sparsify is not None:
        student = sparsifying.result(
            sparsifying.transformed(student, recipe.sparsify, steps=1, seed=recipe.seed), recipe.sparsify
        )
    found: list[Finding] = []
    made = {float_student(recipe): student}
    if recipe.quantize is not None:
        found += portability.layers_left_out(student, exclude=recipe.quantize.exclude)
        if not found:
            made[STUDENT_QUANTIZED] = _int8(recipe, data, student, tries_training=quantizes)
    if exports:
        found += _tried_exports(recipe, data, made)
    portability.refuse(found, what="this recipe asks for what its student cannot become")


def _tried_exports(recipe: Recipe, data: Dataset, made: Mapping[str, Any]) -> list[Finding]:
    """Returns what keeps the files from being written, of the networks that there are."""
    samples, are_bytes = _made_up(data)
    owners = {name: portability.Owners(network) for name, network in made.items()}
    found: list[Finding] = []
    refused: list[str] = []
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for number, export in enumerate(recipe.export):
            source = exporting.source_of(recipe, export)
            if source not in made:
                continue  # its layers are among the findings
            options = {**exporting.options(recipe, export, source), "shape": data.input_shape}
            if not are_bytes:  # whether preprocessing fits an integer input depends on real samples then
                options = {**options, "preprocessing": "inside"}
            wanted = portability.Wanted(export.file_name, export.format, export.scheme, options)
            path = Path(folder) / export.file_name
            try:
                found += portability.problems(made[source], wanted, path, samples=samples, owners=owners[source])
            except RecipeError as error:
                refused.append(f"export.{number} ({export.file_name}): {error}")
    if refused:
        raise RecipeError(" ".join(refused))
    return portability.merged(found)


def _made_up(data: Dataset) -> "tuple[np.ndarray[Any, Any], bool]":
    """Returns two samples that show a range, and whether they are bytes: they are where the data's are."""
    import numpy as np

    from edgekd.quantize.byte_range import byte_step

    generator, shape = np.random.default_rng(0), (2, *data.input_shape)
    shown, _ = data.train.read(np.arange(min(_SHOWN, len(data.train))))
    step = byte_step(shown)
    if step is None:
        return generator.random(shape, np.float32), False
    return (generator.integers(0, 256, shape) * step).astype(np.float32), True


def _int8(recipe: Recipe, data: Dataset, student: Any, *, tries_training: bool) -> Any:
    """Returns the int8 network of the untrained student; the taps and the optimizer of its training are tried too."""
    from edgekd.data.batches import steps_per_epoch
    from edgekd.distill import objective, optimizers

    assert recipe.quantize is not None  # noqa: S101 - asked by the caller
    images, _ = _made_up(data)
    network = quantizing.transformed(
        quantizing.prepared(student, recipe), images, recipe.quantize, steps=1, seed=recipe.seed
    )
    if recipe.quantize.aware is not None and tries_training:
        goal = objective.from_recipe(retraining.objective_section(recipe, flat=True), label_smoothing=0.0)
        teaching.of_student(network, goal).shapes(data.input_shape)
        steps = steps_per_epoch(data.train, batch_size=recipe.data.batch_size)
        optimizers.build(recipe.quantize.aware, network.trainable_variables, steps_per_epoch=steps)
    return network


def _checked_teacher(section: Teacher, data: Dataset, *, batch_size: int) -> Any:
    """Returns a teacher as it is before training; one from outside is only opened later."""
    from edgekd.data.batches import steps_per_epoch
    from edgekd.distill import fitting, optimizers

    if section.model is not None and not networks.is_keras_file(section):
        return section.model
    model = networks.build(section, data, seed=0)
    fitting.check(model, data, role="teacher")
    if section.model is None:
        steps = steps_per_epoch(data.train, batch_size=batch_size)
        optimizers.build(section, model.trainable_variables, steps_per_epoch=steps)
    return model


def _check_distillation(recipe: Recipe, data: Dataset, teachers: Mapping[str, Any]) -> None:
    """Evaluates the distilled student's whole objective."""
    from edgekd.distill import fitting, objective

    goal = objective.from_recipe(recipe.distill, label_smoothing=recipe.student.label_smoothing)
    goal.check_labels(data.train.labels, mixup=recipe.data.mixup)
    taught = teaching.learners(recipe, data, goal)
    for model in taught.models:
        fitting.check(model, data, role="student" if model is taught.models[0] else "peer")
    if recipe.distill.way == "born_again":
        teachers = {STUDENT_LABELS: taught.models[0]}
    _check_training(recipe, data, recipe.student, recipe.distill, goal, taught, teachers)


def _check_training(
    recipe: Recipe,
    data: Dataset,
    training: Training,
    distill: Distill,
    goal: "Objective",
    taught: "Learners",
    teachers: Mapping[str, Any],
) -> None:
    """Evaluates a whole objective on a batch of two: every tap, adapter and shape is tried."""
    import numpy as np

    from edgekd.data.batches import steps_per_epoch
    from edgekd.distill import objective, optimizers, precision
    from edgekd.distill.lesson import Lesson, Targets

    goal = goal.on(data)
    source = None
    if teachers:
        names = tuple(teachers)
        sections = dict(zip(teacher_names(recipe), recipe.teacher, strict=True))
        opened = {
            name: teaching.opened(each, goal, data, name=name, names=names, section=sections.get(name))
            for name, each in teachers.items()
        }
        with teaching.cache_of(distill) as cache:
            source = teaching.source(distill, recipe.data, data, goal, taught, opened, seed=recipe.seed, cache=cache)
            if distill.cache is not None:
                views = min(distill.cache.views or training.epochs, training.epochs)
                exist = bool(recipe.teacher) and all(section.model is not None for section in recipe.teacher)
                teaching.check_cache(source, views, complete=exist)
    shapes = source.shapes if source else None
    lesson = Lesson(taught, goal, input_shape=data.input_shape, teacher_shapes=shapes, seed=recipe.seed)
    images = np.zeros((2, *data.input_shape), np.float32)
    given = {key: np.zeros((2, *shape), np.float32) for key, shape in shapes.items()} if shapes else None
    targets = Targets(np.zeros(2, np.int64))
    values = dict(zip(goal.schedules(), goal.scheduled_values(0, steps_per_epoch=1), strict=True))
    with precision.applied(training.precision, (*taught.models, *lesson.helpers)):
        lesson.terms(images, targets, given, values, training=False)
    for extreme in _extremes(distill):
        # Losses check numbers, and a schedule is one at its ends.
        constant = objective.from_recipe(extreme, label_smoothing=training.label_smoothing).on(data)
        Lesson(taught, constant, input_shape=data.input_shape, teacher_shapes=shapes).terms(
            images, targets, given, training=False
        )
    steps = steps_per_epoch(data.train, batch_size=recipe.data.batch_size)
    optimizers.build(training, lesson.trainable_variables, steps_per_epoch=steps)


def _extremes(distill: Distill) -> tuple[Distill, ...]:
    """Returns the section with every scheduled hyper-parameter at its lowest, and at its highest; without schedules."""
    found = []
    for pick in (Schedule.min_value, Schedule.max_value):
        document = distill.model_dump(mode="json")
        document["labels_weight"] = schedules.parse(distill.labels_weight).max_value()
        moved = False
        for loss, section in zip(document["losses"], distill.losses, strict=True):
            loss["weight"] = schedules.parse(section.weight).max_value()
            for key, value in section.arguments.items():
                if isinstance(value, Mapping):
                    loss[key], moved = pick(schedules.parse(value)), True
        if moved:
            found.append(section_of(Distill, document))
    return tuple(found)
