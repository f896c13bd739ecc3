"""One process of `benchmark_training --cache`: fills and reads a teacher cache of a given number of samples.

The teacher is a function that costs next to nothing, so what is measured is the cache: a row of 10 logits and a 7x7
attention map for each sample, as float16.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgekd.bench.worker import current_rss_bytes
from edgekd.distill.cache import OutputIdentity, TeacherCache

_MIB = 1 << 20
_SHAPES = {"logits": (10,), "maps": (7, 7, 1)}
_BATCH = 128
_INTERVAL_SECONDS = 0.005


class Peak:
    """The largest resident memory of this process while the block runs, beyond that at its start, in MiB."""

    def __init__(self) -> None:
        self.mib = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._start = current_rss_bytes() or 0
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL_SECONDS):
            self.mib = max(self.mib, ((current_rss_bytes() or 0) - self._start) / _MIB)


def compute(sample_ids: np.ndarray, view: int) -> dict[str, np.ndarray]:
    """Returns rows that depend on sample and view."""
    values = (sample_ids % 997 + view).astype(np.float32)
    return {name: np.broadcast_to(values.reshape(-1, *(1,) * len(shape)), (len(values), *shape)).copy()
            for name, shape in _SHAPES.items()}  # fmt: skip


def identities(samples: int) -> list[OutputIdentity]:
    """Returns what is stored: logits and maps of one view."""
    return [
        OutputIdentity(
            teacher_sha256="0" * 64,
            preprocessing="none",
            dataset_fingerprint="0" * 64,
            samples=samples,
            batch_size=_BATCH,
            output=name,
            shape=shape,
            engine="benchmark",
        )
        for name, shape in _SHAPES.items()
    ]


def measure(folder: Path, samples: int) -> dict[str, Any]:
    """Fills a cache in a folder, and reads one epoch of shuffled batches through a freshly opened one."""
    wanted = identities(samples)
    with Peak() as filling, TeacherCache(folder) as cache:
        started = time.perf_counter()
        cache.fill(wanted, compute)
        fill_seconds = time.perf_counter() - started
    order = np.random.default_rng(0).permutation(samples)
    with Peak() as reading, TeacherCache(folder) as cache:
        started = time.perf_counter()
        for start in range(0, samples, _BATCH):
            ids = order[start : start + _BATCH]
            for identity in wanted:
                rows = cache.rows(identity, ids)
                if rows[0].flat[0] != ids[0] % 997:
                    raise ValueError(f"row of sample {ids[0]} holds {rows[0].flat[0]}, not {ids[0] % 997}")
        read_seconds = time.perf_counter() - started
    return {
        "samples": samples,
        "fill_seconds": fill_seconds,
        "fill_us_per_sample": 1e6 * fill_seconds / samples,
        "read_seconds": read_seconds,
        "read_us_per_sample": 1e6 * read_seconds / samples,
        "fill_peak_mib": filling.mib,
        "read_peak_mib": reading.mib,
        "disk_mib": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / _MIB,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201
