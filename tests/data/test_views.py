"""The bytes of views are pinned: stored outputs of teachers belong to them."""

import hashlib

import numpy as np

from edgekd.data import randomness
from edgekd.data.augment import Augmentation
from edgekd.data.batches import view_of
from edgekd.data.dataset import Split

# Of each version's views. Whoever changes a view raises VIEWS_VERSION and adds a line; the older lines stay.
DIGESTS = {
    1: "8a86416046bcb6e67b9ffaa12f5784cc1089d9f3017fd4f247385e9737d16804",
}


def digest(augmentation: Augmentation | None, mixup: float) -> str:
    pixels = np.arange(40 * 6 * 5 * 3, dtype=np.int64) * 2654435761 % 251
    split = Split(pixels.reshape(40, 6, 5, 3).astype(np.uint8), np.arange(40, dtype=np.int64) % 4)
    found = hashlib.sha256()
    for view in range(3):
        batch = view_of(split, np.arange(40), seed=7, view=view, augmentation=augmentation, mixup=mixup)
        found.update(batch.images.astype("<f4").tobytes())
    return found.hexdigest()


def test_views_are_those_of_their_version() -> None:
    kinds = {"shift": 2, "flip": True, "cutout": 3}
    policies = [Augmentation(**{name: size}) for name, size in kinds.items()] + [Augmentation(**kinds)]
    found = [digest(policy, 0.0) for policy in policies] + [digest(None, 0.3), digest(Augmentation(**kinds), 0.3)]
    assert len(set(found)) == 6
    assert hashlib.sha256("".join(found).encode()).hexdigest() == DIGESTS[randomness.VIEWS_VERSION], (
        "the bytes of random views have changed: raise VIEWS_VERSION (edgekd/data/randomness.py), or undo the change"
    )
