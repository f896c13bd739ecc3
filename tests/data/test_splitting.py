import numpy as np
import pytest

from edgekd.data.splitting import stratified_halves, stratified_sample

UNEVEN = np.repeat([0, 1, 2], [700, 200, 100])


def test_each_class_keeps_its_share():
    chosen = stratified_sample(UNEVEN, 100, seed=0, stream="s")
    assert np.bincount(UNEVEN[chosen]).tolist() == [70, 20, 10]


def test_what_is_left_goes_to_the_largest_remainders():
    # Shares of 5 of 7, 2, 1 in 10: 3.5, 1.0, 0.5 -> 3, 1, 0 and one more for the first of the two halves.
    labels = np.repeat([0, 1, 2], [7, 2, 1])
    assert np.bincount(labels[stratified_sample(labels, 5, seed=0, stream="s")], minlength=3).tolist() == [4, 1, 0]


def test_the_choice_is_ascending_without_repetition_and_of_the_asked_size():
    for count in (0, 1, 7, 999, 1000):
        chosen = stratified_sample(UNEVEN, count, seed=5, stream="s")
        assert len(chosen) == count
        assert np.all(np.diff(chosen) > 0)


def test_halves_share_no_sample_and_miss_none():
    rest, held_out = stratified_halves(UNEVEN, 123, seed=1, stream="s")
    assert sorted([*rest.tolist(), *held_out.tolist()]) == list(range(1000))
    assert len(held_out) == 123


def test_seed_and_stream_change_the_choice_and_nothing_else_does():
    base = stratified_sample(UNEVEN, 50, seed=0, stream="s").tolist()
    assert stratified_sample(UNEVEN, 50, seed=0, stream="s").tolist() == base
    assert stratified_sample(UNEVEN, 50, seed=1, stream="s").tolist() != base
    assert stratified_sample(UNEVEN, 50, seed=0, stream="t").tolist() != base


def test_classes_are_sampled_independently_of_each_other():
    # Of 100 samples in each of two classes half are taken: the same places in both would be a shared draw.
    first, second = np.split(
        np.isin(np.arange(200), stratified_sample(np.repeat([0, 1], 100), 100, seed=0, stream="s")), 2
    )
    assert 30 < np.sum(first == second) < 70


def test_a_class_is_sampled_from_its_whole_range():
    chosen = stratified_sample(np.zeros(10_000, np.int64), 1000, seed=0, stream="s")
    assert abs(chosen.mean() - 4999.5) < 300  # three standard errors of the mean of 1,000 of 10,000 are 260


def test_more_than_there_are_is_refused():
    with pytest.raises(ValueError, match="cannot take 4 of 3 samples"):
        stratified_sample(np.zeros(3, np.int64), 4, seed=0, stream="s")
