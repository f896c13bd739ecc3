"""The test samples on which teacher, student and file disagree, with what each of them says."""

import base64
import dataclasses
import io

import numpy as np

from edgekd.report import formatting, table
from edgekd.report.runs import ReportedRun


@dataclasses.dataclass(frozen=True)
class Opinion:
    """What one model says of a sample."""

    model: str
    named: str
    right: bool


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample: its position in the test split, its class, what models say, and a PNG in base64 of an image."""

    position: int
    label: str
    opinions: tuple[Opinion, ...]
    png: str | None
    width: int = 0
    height: int = 0


@dataclasses.dataclass(frozen=True)
class Disagreements:
    """What is shown, and how much of what there is: `told` says in words how often which models disagree."""

    samples: tuple[Sample, ...]
    told: str


def disagreements(run: ReportedRun, *, most: int | None = None) -> Disagreements | None:
    """Returns the samples that a run has kept, or None where it kept no predictions or there is nothing to compare.

    Args:
      run: the run.
      most: of the samples to show; all that are kept by default.
    """
    found = run.predictions
    if found is None or len(found.compared) < 2:
        return None
    titles = [table.title_of(name, run.summary) for name in found.compared]
    class_names = run.summary.data.class_names
    samples = []
    for number, position in enumerate(found.shown[:most].tolist()):
        label = int(found.labels[position])
        said = [int(found.classes[name][position]) for name in found.compared]
        opinions = tuple(
            Opinion(title, class_names[each], each == label) for title, each in zip(titles, said, strict=True)
        )
        pixels = None if found.images is None else found.images[number]
        picture = {} if pixels is None else {"width": pixels.shape[1], "height": pixels.shape[0]}
        samples.append(
            Sample(position, class_names[label], opinions, None if pixels is None else _png(pixels), **picture)
        )
    shown = f"; {formatting.counted(len(samples), 'sample is', 'samples are')} shown" if samples else ""
    return Disagreements(tuple(samples), f"{counts(run)}{shown}.")


def counts(run: ReportedRun) -> str:
    """Returns how often which models disagree, without a full stop; empty where there is nothing to compare."""
    found = run.predictions
    if found is None or len(found.compared) < 2:
        return ""
    total = len(found.labels)
    titles = [table.title_of(name, run.summary) for name in found.compared]
    parts: list[str] = []
    for first in range(len(titles)):
        for second in range(first + 1, len(titles)):
            pair = found.compared[first], found.compared[second]
            count = int(np.count_nonzero(found.classes[pair[0]] != found.classes[pair[1]]))
            parts.append(f"{titles[first]} and {titles[second]}{'' if parts else ' disagree'} on {count:,}")
    return f"Of {formatting.counted(total, 'test sample')}, {', '.join(parts)}"


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
