"""Counter-based randomness: every draw is a function of its key and its counter, never of what was drawn before.

Shuffles, splits and augmentation need draws that do not depend on batch composition, on the number of workers or on
where a run was resumed, and that stay the same in every version of NumPy: so they use SplitMix64 as a hash of
(key, counter), not a generator with a state.

References:
  Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014 (SplitMix64).
"""

import functools
import hashlib

import numpy as np

# Of the code that makes a view of a sample: this file, augment.py, mixup.py and batches.view_of. To be raised with
# every change of a view's bytes: what a teacher gave for the old views is then not taken for that of the new ones.
VIEWS_VERSION = 1

_GAMMA = 0x9E3779B97F4A7C15
_FIRST_MULTIPLIER = 0xBF58476D1CE4E5B9
_SECOND_MULTIPLIER = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


@functools.lru_cache(maxsize=1024)
def key(stream: str, *words: int) -> int:
    """Returns the 64-bit key of one stream of draws.

    Args:
      stream: what the draws are for, such as `augment.shift`; different names give independent streams.
      words: what else the draws depend on, such as the seed and the epoch.
    """
    state = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little")
    for word in words:
        state = _mix_integer((state ^ (word & _MASK)) + _GAMMA & _MASK)
    return state


def seed(stream: str, *words: int) -> int:
    """Returns a seed of 31 bits, as networks and adapters take it, for one stream; see `key`."""
    return key(stream, *words) & 0x7FFFFFFF


def bits(counters: np.ndarray, *, key: int) -> np.ndarray:
    """Returns 64 random bits for every counter: SplitMix64's output number `counter` from the state `key`.

    For one key this is a bijection: different counters never give the same bits.

    Args:
      counters: [n] non-negative integers.
      key: from `key()`.

    Returns:
      [n] uint64.
    """
    state = (counters.astype(np.uint64) + np.uint64(1)) * np.uint64(_GAMMA) + np.uint64(key)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST_MULTIPLIER)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND_MULTIPLIER)
    return state ^ (state >> np.uint64(31))


def integers(counters: np.ndarray, *, key: int, bound: int) -> np.ndarray:
    """Returns one integer of 0..bound-1 for every counter; the bias is below bound / 2³².

    Args:
      counters: [n] non-negative integers.
      key: from `key()`.
      bound: 1..2³¹.

    Returns:
      [n] int64.
    """
    high = bits(counters, key=key) >> np.uint64(32)
    return ((high * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def permutation(count: int, *, key: int) -> np.ndarray:
    """Returns the numbers 0..count-1 in an order that the key alone decides, as int64."""
    return np.argsort(bits(np.arange(count), key=key))


def _mix_integer(state: int) -> int:
    state = (state ^ (state >> 30)) * _FIRST_MULTIPLIER & _MASK
    state = (state ^ (state >> 27)) * _SECOND_MULTIPLIER & _MASK
    return state ^ (state >> 31)
