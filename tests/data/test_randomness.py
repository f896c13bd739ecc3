import numpy as np
import pytest
import scipy.stats

from edgekd.data import randomness

COUNTERS = np.arange(40_000)


def test_bits_are_those_of_splitmix64():
    # Published outputs of the reference implementation for the state 1234567.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert randomness.bits(np.arange(5), key=1234567).tolist() == published


def test_a_counter_gives_the_same_bits_alone_and_among_others():
    key = randomness.key("a", 7)
    together = randomness.bits(COUNTERS, key=key)
    assert randomness.bits(COUNTERS[[17, 3]], key=key).tolist() == together[[17, 3]].tolist()


def test_keys_depend_on_stream_words_and_their_order():
    keys = {
        randomness.key("a"),
        randomness.key("b"),
        randomness.key("a", 0),
        randomness.key("a", 1),
        randomness.key("a", 0, 1),
        randomness.key("a", 1, 0),
        randomness.key("a", -1),
    }
    assert len(keys) == 7


def test_keys_of_a_stream_never_change():
    # A golden value: were it to change, every shuffle, split and augmentation of earlier runs would change with it.
    assert randomness.key("batches.shuffle", 0, 3) == 14038457980333355383


@pytest.mark.parametrize("bound", [2, 5, 10, 28])
def test_integers_are_uniform(bound):
    draws = randomness.integers(COUNTERS, key=randomness.key("uniform", bound), bound=bound)
    counts = np.bincount(draws, minlength=bound)
    assert len(counts) == bound
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("bit", [0, 1, 31, 32, 62, 63])
def test_every_bit_is_fair(bit):
    ones = int((randomness.bits(COUNTERS, key=randomness.key("bit")) >> np.uint64(bit) & np.uint64(1)).sum())
    assert scipy.stats.binomtest(ones, len(COUNTERS)).pvalue > 1e-4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("s", 0, 0), ("s", 0, 1)),
        (("s", 0, 0), ("s", 1, 0)),
        (("s", 0, 0), ("t", 0, 0)),
        (("s", 1, 2), ("s", 2, 1)),
    ],
)
def test_streams_seeds_and_epochs_are_independent(one, other):
    first, second = (randomness.integers(COUNTERS, key=randomness.key(*key), bound=5) for key in (one, other))
    table = np.histogram2d(first, second, bins=5)[0]
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


def test_neighbouring_counters_are_independent():
    draws = randomness.integers(COUNTERS, key=randomness.key("neighbours"), bound=5)
    table = np.histogram2d(draws[:-1], draws[1:], bins=5)[0]
    assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


def test_a_permutation_holds_every_number_once():
    order = randomness.permutation(1000, key=randomness.key("order", 3))
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() != list(range(1000))
    assert randomness.permutation(0, key=1).tolist() == []
