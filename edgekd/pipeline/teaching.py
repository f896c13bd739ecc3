"""Who teaches: from a recipe's distill section to learners and a teacher source."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.data import randomness
from edgekd.data.dataset import Dataset
from edgekd.errors import ModelError, RecipeError, TapError
from edgekd.pipeline import foreign, networks
from edgekd.pipeline.progress import Progress
from edgekd.pipeline.stage import MODEL_FILE, Work, teacher_names
from edgekd.recipe import Data, Distill, Recipe, Teacher, common_temperature
from edgekd.teachers import RECONSTRUCTION, FrozenTeacher, open_teacher

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras

    from edgekd.distill.cache import TeacherCache
    from edgekd.distill.cached import CachedTeacher
    from edgekd.distill.learners import Learners
    from edgekd.distill.objective import Objective
    from edgekd.distill.teacher import LiveTeacher, TeacherSource


_STUDENT, _TEACHER = 0, 1  # whose taps stand where in a pair


def learners(recipe: Recipe, data: Dataset, goal: "Objective") -> "Learners":
    """Returns who learns in the recipe's way, with initial weights.

    Raises:
      ModelError, ShapeError: networks that cannot be built or do not fit each other, or taps that do not exist.
    """
    from edgekd.distill.learners import Exits, Peers

    student = networks.build(recipe.student, data, seed=recipe.seed)
    if recipe.distill.way == "online":
        # No two networks must begin as the same one.
        peers = [
            networks.build(peer, data, seed=randomness.seed("peer", recipe.seed, number))
            for number, peer in enumerate(recipe.distill.peers, start=1)
        ]
        with _keys_named(goal, _STUDENT, _TEACHER):
            return Peers([student, *peers], goal.student_taps, goal.teacher_taps)
    if recipe.distill.way == "self":
        try:
            return Exits(student, recipe.distill.exits, input_shape=data.input_shape, seed=recipe.seed)
        except TapError as error:
            raise TapError(f"distill.exits: {error}", taps=error.taps) from error
    return of_student(student, goal)


def of_student(student: "keras.Model", goal: "Objective") -> "Learners":
    """Returns a student that learns alone.

    Raises:
      TapError: it lacks a tap; the message names the recipe's key.
    """
    from edgekd.distill.learners import Student

    with _keys_named(goal, _STUDENT):
        return Student(student, goal.student_taps)


def open_trained(work: Work, goal: "Objective") -> dict[str, FrozenTeacher]:
    """Returns the run's teachers by name, opened with the taps that the objective needs of each.

    Raises:
      ModelError: a teacher from outside is not the one that its stage has recorded.
    """
    names = teacher_names(work.recipe)
    found = {}
    for name, section in zip(names, work.recipe.teacher, strict=True):
        found[name] = opened(_trained(work, name, section), goal, work.data, name=name, names=names, section=section)
        if section.model is not None and not networks.is_keras_file(section):
            # As its stage has opened it: of a network with code of its own, taps are a part of the hash.
            foreign.require_unchanged(work, name, foreign.open_section(section, work.data))
    return found


def saved(work: Work, stage: str) -> "keras.Model":
    """Returns the network that a stage of this run has written."""
    from edgekd import architectures

    return architectures.load_model(work.run / stage / MODEL_FILE)


def opened(
    source: Any,
    goal: "Objective",
    data: Dataset,
    *,
    name: str = "teacher",
    names: Sequence[str] = (),
    section: Teacher | None = None,
) -> FrozenTeacher:
    """Returns one teacher, opened with its taps and checked.

    Args:
      source: a network, a path, a function or the name of one.
      goal: whose taps it must have.
      data: whose samples it gets.
      name: its own among the teachers.
      names: of all teachers; with several, taps begin with the teacher's name.
      section: how a teacher from outside is to be read.
    """
    options: dict[str, Any] = {}
    if data.reconstructs:
        options = {"outputs": RECONSTRUCTION}
    if section is not None and section.model is not None:
        options = foreign.options(section, data)
    with _keys_named(goal, _TEACHER, prefix=f"{name}/" if len(names) > 1 else ""):
        return open_teacher(
            source,
            wanted=_taps_of(goal.teacher_taps, name, names),
            input_shape=data.input_shape,
            num_classes=data.num_classes,
            **options,
        )


def source(
    distill: Distill,
    batches: Data,
    data: Dataset,
    goal: "Objective",
    taught: "Learners",
    teachers: Mapping[str, FrozenTeacher],
    *,
    seed: int,
    cache: "TeacherCache | None" = None,
) -> "TeacherSource":
    """Returns what the training asks for the teachers' outputs: live or cached, one or an ensemble.

    Args:
      distill: the losses, the ensemble and the cache.
      batches: how the training's batches are made.
      data: what is trained on.
      goal: what is needed of the teachers.
      taught: who learns; some outputs are summed up to the size of its taps.
      teachers: by name.
      seed: of the training.
      cache: where outputs are kept; None for live teachers.
    """
    from edgekd.distill.teacher import Ensemble, LiveTeacher, of_teacher

    (shapes,) = taught.shapes(data.input_shape)
    wanted = goal.teacher_outputs(shapes)
    sources: dict[str, Any] = {}
    for name, teacher in teachers.items():
        live = LiveTeacher(
            teacher, wanted if len(teachers) == 1 else of_teacher(wanted, name), input_shape=data.input_shape
        )
        sources[name] = live if cache is None else _cached(cache, live, teacher, distill, batches, data, seed=seed)
    if len(sources) == 1:
        return next(iter(sources.values()))
    ensemble = distill.ensemble
    temperature = ensemble.temperature
    if temperature is None:
        temperature = common_temperature(distill.losses) if ensemble.combine == "soft_targets" else 1.0
    return Ensemble(sources, weights=ensemble.weights, combine=ensemble.combine, temperature=temperature)


@contextlib.contextmanager
def prepared(
    distill: Distill,
    batches: Data,
    data: Dataset,
    goal: "Objective",
    taught: "Learners",
    teachers: Mapping[str, FrozenTeacher],
    *,
    seed: int,
    epochs: int,
    progress: Progress,
    worker: tuple[int, int] = (0, 1),
) -> "Iterator[tuple[TeacherSource, int | None]]":
    """Yields a source that can teach for some epochs, its cache filled, and how many views it has (None: one an epoch).

    The first six arguments and `seed` are those of `source`, `progress` and `worker` those of `prepare`.
    """
    with cache_of(distill) as cache:
        found = source(distill, batches, data, goal, taught, teachers, seed=seed, cache=cache)
        views = distill.cache.views if distill.cache else None
        if cache is not None:
            prepare(found, min(views or epochs, epochs), progress=progress, worker=worker)
        yield found, views


@contextlib.contextmanager
def cache_of(distill: Distill) -> "Iterator[TeacherCache | None]":
    """Opens the teacher cache; None where teachers are live."""
    from edgekd.distill.cache import TeacherCache

    section = distill.cache
    if section is None:
        yield None
        return
    with TeacherCache(Path(section.folder) if section.folder else None) as cache:
        yield cache


def check_cache(source: "TeacherSource", views: int, *, complete: bool) -> None:
    """Raises StorageError where the caches of a source cannot be filled.

    Args:
      source: live teachers among it need nothing.
      views: how many views of each image the training shows.
      complete: whether what is not to be filled must be there already: the teachers are what they will be.
    """
    for part in _cached_parts(source):
        part.check_space(views)
        if complete and not part.fills:
            part.prepare(views)


def _cached_parts(source: "TeacherSource") -> "list[CachedTeacher]":
    from edgekd.distill.cached import CachedTeacher
    from edgekd.distill.teacher import Ensemble

    parts = source.sources.values() if isinstance(source, Ensemble) else (source,)
    return [part for part in parts if isinstance(part, CachedTeacher)]


def prepare(source: "TeacherSource", views: int, *, progress: Progress, worker: tuple[int, int] = (0, 1)) -> None:
    """Fills the caches that a source reads, or requires that nothing is missing there.

    Args:
      source: live teachers among it need nothing.
      views: how many views of each image the training shows.
      progress: is told how far the filling is.
      worker: (i, n): this process is number i of n that fill together.
    """
    cached = _cached_parts(source)
    for part in cached:  # for all, before hours go into the first
        part.check_space(views)
    for part in cached:
        part.prepare(views, progress=progress.item, worker=worker)


def _cached(
    cache: "TeacherCache",
    live: "LiveTeacher",
    teacher: FrozenTeacher,
    distill: Distill,
    batches: Data,
    data: Dataset,
    *,
    seed: int,
) -> "CachedTeacher":
    import tensorflow as tf

    from edgekd.data.augment import Augmentation
    from edgekd.distill.cached import CachedTeacher

    if teacher.sha256 is None:
        raise ModelError(f"teacher {teacher.name!r} cannot be cached: {teacher.uncacheable} Or remove distill.cache.")
    section = distill.cache
    assert section is not None  # noqa: S101 - there is no cache without its section
    return CachedTeacher(
        cache,
        live,
        data.train,
        teacher_sha256=teacher.sha256,
        engine=f"{teacher.loader}, TensorFlow {tf.__version__}",
        preprocessing=data.record().preprocessing,
        dataset_fingerprint=data.fingerprint,
        augmentation=Augmentation(**batches.augment.model_dump()),
        mixup=batches.mixup,
        seed=seed,
        batch_size=batches.batch_size,
        dtype=section.dtype,
        fills=section.fill,
    )


@contextlib.contextmanager
def _keys_named(goal: "Objective", *sides: int, prefix: str = "") -> Iterator[None]:
    """Puts before the message of an unknown tap which keys of the recipe ask for it."""
    try:
        yield
    except TapError as error:
        wrong = {f"{prefix}{tap}" for tap in error.taps}
        keys = [
            f"distill.losses.{position}.taps"
            for position, term in enumerate(goal.terms)
            if any(pair[side] in wrong for pair in term.taps for side in sides)
        ]
        whose = f" (the {'student' if sides[0] == _STUDENT else 'teacher'}'s)" if len(sides) == 1 else ""
        raise TapError(f"{', '.join(keys)}{whose}: {error}", taps=error.taps) from error


def _trained(work: Work, name: str, section: Teacher) -> Any:
    if section.model is not None and not networks.is_keras_file(section):
        return section.model
    return work.run / name / MODEL_FILE


def _taps_of(taps: Sequence[str], name: str, names: Sequence[str]) -> tuple[str, ...]:
    if len(names) < 2:
        return tuple(taps)
    for tap in taps:
        if tap.partition("/")[0] not in names:
            raise RecipeError(
                f"the teacher's tap {tap!r} does not say whose it is: with several teachers a tap begins with its "
                f"teacher's name, such as {names[0]}/{tap}. The teachers are {', '.join(names)}."
            )
    return tuple(tap.removeprefix(f"{name}/") for tap in taps if tap.startswith(f"{name}/"))
