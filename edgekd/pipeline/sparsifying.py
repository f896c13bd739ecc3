"""The sparsity stage: the distilled student pruned, clustered or shrunk, and taught on."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.pipeline import networks, retraining, teaching, training
from edgekd.pipeline.results import TrainingResult
from edgekd.pipeline.stage import RECORD_FILE, STUDENT_DISTILLED, STUDENT_SPARSE, Stage, Work, teacher_names
from edgekd.recipe import Ramp, Recipe, Sparsify
from edgekd.records import Artifact, Gate

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras

    from edgekd.sparsify.schedule import PolynomialSchedule


def stages(recipe: Recipe) -> tuple[Stage, ...]:
    """Returns the stage, or none for a recipe that does not ask for it."""
    if recipe.sparsify is None:
        return ()
    return (Stage(STUDENT_SPARSE, (*teacher_names(recipe), STUDENT_DISTILLED), _settings, _sparsify),)


def _settings(recipe: Recipe) -> Any:
    assert recipe.sparsify is not None  # noqa: S101 - there is no stage without its section
    return {
        **networks.common_settings(recipe),
        "sparsify": recipe.sparsify.model_dump(mode="json"),
        **retraining.settings(recipe, recipe.sparsify, flat=False),
    }


def _sparsify(work: Work) -> list[Path]:
    from edgekd.sparsify import sizes

    section = work.recipe.sparsify
    assert section is not None  # noqa: S101 - there is no stage without its section
    student = teaching.saved(work, STUDENT_DISTILLED)
    network = transformed(student, section, steps=retraining.steps(work, section), seed=work.recipe.seed)
    state = retraining.train(work, section, network, flat=False)
    sparse = result(network, section)
    label = f"{work.recipe.student.label}, {section.in_words()}"
    return training.write(work, [(sparse, STUDENT_SPARSE, label)], {"": state}, kernels=sizes.values_of_kernels(sparse))


def transformed(student: "keras.Model", sparsify: Sparsify, *, steps: int, seed: int) -> "keras.Model":
    """Returns the network to train: with the student's layers and taps.

    Args:
      student: trained.
      sparsify: the section.
      steps: of the training that follows.
      seed: of the run.
    """
    from edgekd.sparsify import channel_pruning, clustering, pruning, shrinking

    exclude = sparsify.exclude
    if sparsify.prune is not None:
        prune = sparsify.prune
        schedule = _schedule(prune.ramp, steps)
        return pruning.prune(
            student, schedule=schedule, sparsity=prune.sparsity, pattern=prune.pattern, exclude=exclude
        )
    if sparsify.cluster is not None:
        return clustering.cluster(student, **sparsify.cluster.model_dump(), exclude=exclude, seed=seed)
    shrink = sparsify.shrink
    assert shrink is not None  # noqa: S101 - the recipe requires one of the three
    budget = shrink.model_dump(exclude={"ramp"})
    if shrink.ramp is None:
        return shrinking.shrink(student, **budget, exclude=exclude)
    return channel_pruning.prune_channels(student, schedule=_schedule(shrink.ramp, steps), **budget, exclude=exclude)


def result(network: "keras.Model", sparsify: Sparsify) -> "keras.Model":
    """Returns the plain network of one that `transformed` made and a training has trained."""
    from edgekd.sparsify import shrinking, stripping

    if sparsify.shrink is None:
        return stripping.strip(network)
    if sparsify.shrink.ramp is None:
        return network
    return shrinking.shrink(stripping.strip(network), exclude=sparsify.exclude)


def held(student: "keras.Model", sparsify: Sparsify) -> "keras.Model":
    """Returns the sparse student in a form that keeps what makes it sparse in all training to come."""
    from edgekd.sparsify import shared_values, zeros

    if sparsify.prune is not None:
        return zeros.keep_zeros(student)
    if sparsify.cluster is not None:
        return shared_values.keep_clusters(student, clusters=sparsify.cluster.clusters)
    return student


def _schedule(ramp: Ramp, steps: int) -> "PolynomialSchedule":
    from edgekd.sparsify.schedule import PolynomialSchedule

    last = max(0, round(ramp.end * steps) - 1)  # steps count from 0
    first = min(round(ramp.begin * steps), last)
    return PolynomialSchedule(
        begin_step=first,
        end_step=last,
        frequency=max(1, round((last - first) / ramp.updates)),
        initial=ramp.initial,
    )


def gates(work: Work, artifacts: Sequence[Artifact]) -> tuple[Gate, ...]:
    """Returns the gates of every file on what makes the student sparse: files may have been trained further."""
    from edgekd.verify.gates import clustered_gate, pruned_gate

    sparsify = work.recipe.sparsify
    if sparsify is None or sparsify.shrink is not None:
        return ()
    kernels = TrainingResult.read(work.run / STUDENT_SPARSE / RECORD_FILE).model.kernels
    assert kernels is not None  # noqa: S101 - its stage has counted them
    gate = pruned_gate if sparsify.prune is not None else clustered_gate
    return tuple(gate(artifact, kernels) for artifact in artifacts)
