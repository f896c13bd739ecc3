"""Opens models of any kind, finds samples for them, and compares them."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgekd import recipe
from edgekd.data.dataset import Dataset, Split
from edgekd.data.files import require_data_file
from edgekd.errors import RecipeError, ShapeError
from edgekd.pipeline.execution import load_data
from edgekd.pipeline.layers import DEFAULT_SAMPLES as DEFAULT_LAYER_SAMPLES
from edgekd.pipeline.layers import with_layers
from edgekd.records import TensorSpec
from edgekd.runtime.native_output import import_quietly
from edgekd.runtime.selection import all_for, split_choice, variants
from edgekd.teachers.runnable import Runnable, check_path, open_runnable
from edgekd.verify import comparing, samples
from edgekd.verify.comparing import Subject
from edgekd.verify.records import NO_CLASSES, Verification
from edgekd.verify.samples import Samples
from edgekd.verify.tolerances import Limits

EVERY_RUNTIME = "all"
_EXPORTED = {".tflite", ".onnx"}


def verify_models(
    reference: Any,
    candidates: Sequence[Any],
    *,
    data: Dataset | Split | Path | str | None = None,
    options: Sequence[str] = (),
    split: str = "test",
    seeded: int | None = None,
    seed: int = 0,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    shapes: Mapping[str, Sequence[int]] = MappingProxyType({}),
    runtimes: Sequence[str] = (),
    matrix: bool = False,
    signature: str | None = None,
    limits: Limits | None = None,
    classes: str | None = None,
    paired: Mapping[str, str] = MappingProxyType({}),
    batch_size: int = 64,
    reset_every: int = 1,
    layers: bool = False,
    layer_samples: int = DEFAULT_LAYER_SAMPLES,
) -> Verification:
    """Returns whether each candidate is its reference; see `edgekd.verify_models`, which has the same arguments."""
    if data is not None and seeded is not None:
        raise RecipeError("data and a number of seeded samples were given: choose one of them.")
    if data is not None and (ranges or shapes):
        raise RecipeError("ranges and shapes are those of seeded samples, and data was given: leave them out.")
    _require_used(runtimes, (reference, *candidates) if matrix else candidates)
    sources = _sources(reference, candidates, runtimes, matrix=matrix)
    if signature is not None and not any(_has_signatures(source) for source, _ in sources):
        raise RecipeError(f"signature {signature!r} was chosen, but no model is a TFLite file or a SavedModel.")
    # What can be told of paths is told before the libraries are imported, which takes long.
    for source, _ in sources:
        if isinstance(source, str | Path):
            check_path(source)
    data = _found(data, options)
    if isinstance(data, Dataset) and data.reconstructs and classes is None:
        classes = NO_CLASSES
    if any(_is_keras(source) for source, _ in sources):
        import_quietly("keras")
    with contextlib.ExitStack() as stack:
        subjects = []
        for source, label in sources:
            opened = open_runnable(source, signature=signature)
            stack.callback(opened.runner.close)
            subjects.append(_subject(opened, label))
        given = (
            read_samples(data, subjects[0].runner.inputs, options=options, split=split)
            if data is not None
            else _seeded(subjects, samples.DEFAULT_SAMPLES if seeded is None else seeded, seed, ranges, shapes)
        )
        found = comparing.verify(
            subjects,
            given,
            matrix=matrix,
            limits=limits,
            classes=classes,
            paired=paired,
            batch_size=batch_size,
            reset_every=reset_every,
        )
        return with_layers(found, subjects, given, samples=layer_samples) if layers else found


def _subject(opened: Runnable, label: str) -> Subject:
    return Subject(label, opened.path, opened.runtime, opened.runner, opened.arithmetic, opened.identity)


def _sources(
    reference: Any, candidates: Sequence[Any], runtimes: Sequence[str], *, matrix: bool
) -> list[tuple[Any, str]]:
    """Returns what to open and what to call it: every candidate in every runtime that was asked for."""
    first = _in_runtimes(reference, runtimes if matrix else ())
    others = [each for candidate in candidates for each in _in_runtimes(candidate, runtimes)]
    if not others and not (matrix and len(first) > 1):
        raise ShapeError(
            "no candidate was given: a reference and at least one candidate are needed, or for a matrix one file and "
            "several runtimes (--runtime all)."
        )
    judged = [*first, *others] if matrix else others
    short = len({_name(each) for each in judged}) == len(judged)
    labels = [_name(each) if short else str(getattr(each, "name", each)) for each in (*first, *others)]
    if matrix and len(set(labels)) != len(labels):
        raise RecipeError("a model was given twice in the same runtime: a matrix compares different ones.")
    return list(zip((*first, *others), labels, strict=True))


def _in_runtimes(source: Any, runtimes: Sequence[str]) -> list[Any]:
    """Returns a path with each of the runtimes that open such a file; a choice in the path itself comes first."""
    if not runtimes or not isinstance(source, str | Path):
        return [source]
    path, chosen = split_choice(str(source))
    if chosen is not None or path.suffix.lower() not in _EXPORTED:
        return [source]
    known = variants()
    if EVERY_RUNTIME in runtimes:
        able = all_for(path.suffix.lower())
    else:
        able = [name for name in runtimes if name not in known or path.suffix.lower() in known[name].suffixes]
    return [f"{path}@{name}" for name in able] or [source]


def _require_used(runtimes: Sequence[str], sources: Sequence[Any]) -> None:
    """Raises where a runtime was chosen that none of the files is run in."""
    suffixes = set()
    for source in sources:
        if isinstance(source, str | Path):
            path, chosen = split_choice(str(source))
            suffixes |= {path.suffix.lower()} & _EXPORTED if chosen is None else set()
    known = variants()
    for name in runtimes:
        if suffixes and (name not in known or suffixes & set(known[name].suffixes)):
            continue  # a name that is not known is told when a file is opened
        opens = ", ".join(known[name].suffixes) if name in known else " and ".join(sorted(_EXPORTED))
        raise RecipeError(
            f"runtime {name!r} was chosen, and nothing would be run in it: it opens {opens} files, and no candidate is "
            "one without an @RUNTIME of its own. Leave it out, or choose another."
        )


def _name(source: Any) -> str:
    return Path(source).name if isinstance(source, str | Path) else str(source.name)


def _has_signatures(source: Any) -> bool:
    if not isinstance(source, str | Path):
        return False
    path, _ = split_choice(str(source))
    return path.suffix.lower() == ".tflite" or path.is_dir()


def _is_keras(source: Any) -> bool:
    return not isinstance(source, str | Path) or split_choice(str(source))[0].suffix.lower() not in _EXPORTED


def read_samples(
    data: Any, inputs: Sequence[TensorSpec], *, options: Sequence[str] = (), split: str = "test"
) -> Samples:
    """Returns samples for a model's inputs from whatever a user names as data, see `edgekd.verify_models`."""
    found = _found(data, options)
    if isinstance(found, Split):
        return samples.split_samples(found, inputs, name="the given samples")
    if isinstance(found, Path):
        return samples.folder_samples(found, inputs) if found.is_dir() else samples.npz_samples(found, inputs)
    return samples.split_samples(found.splits[split], inputs, name=f"{found.name} {split}")


def _found(data: Any, options: Sequence[str]) -> Any:
    """Returns a dataset that was named, loaded, and of anything else that it is there: a split, an .npz file, a folder.

    Args:
      data: as a user names it, or None.
      options: of a dataset by name.
    """
    if data is None or isinstance(data, Split | Dataset):
        return data
    path = Path(data)
    if recipe.is_dataset_name(str(data)):
        return load_data(recipe.data_section(str(data), overrides=tuple(options)))
    if options:
        raise RecipeError(f"options ({', '.join(options)}) are for a dataset by name; {str(path)!r} takes none.")
    if not path.is_dir():
        require_data_file(path, ".npz file")
    return path


def _seeded(
    subjects: Sequence[Subject],
    number: int,
    seed: int,
    ranges: Mapping[str, tuple[float, float]],
    shapes: Mapping[str, Sequence[int]],
) -> Samples:
    asked = {name: (low, high, "as given") for name, (low, high) in ranges.items()}
    return samples.seeded_samples(
        subjects[0].runner.inputs,
        samples=number,
        seed=seed,
        ranges={**comparing.declared_ranges(subjects), **asked},
        shapes=shapes,
    )
