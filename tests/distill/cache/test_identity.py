"""Outputs that differ in anything have different keys; outputs that are alike share one."""

import dataclasses
import itertools

import pydantic
import pytest

from edgekd.data.augment import Augmentation
from edgekd.data.randomness import VIEWS_VERSION
from edgekd.distill.cache import OutputIdentity
from edgekd.distill.cache.layout import layout_of

OTHERS = {
    "format_version": 99,
    "teacher_sha256": "b" * 64,
    "preprocessing": "none",
    "dataset_fingerprint": "e" * 64,
    "samples": 9001,
    "augmentation": {"shift": 1, "flip": True},
    "mixup": 0.2,
    "seed": 6,
    "view": 1,
    "views_version": VIEWS_VERSION + 1,
    "batch_size": 64,
    "output": "stage2",
    "shape": (5, 2),
    "dtype": "float16",
    "engine": "formula 1.1",
}


@pytest.mark.parametrize("name", OutputIdentity.model_fields)
def test_a_change_of_any_part_changes_the_key(make_identity, name):
    assert make_identity(**{name: OTHERS[name]}).key != make_identity().key


def test_the_key_does_not_depend_on_the_order_of_the_augmentation(make_identity):
    assert make_identity(augmentation={"flip": True, "shift": 2}).key == make_identity().key


def test_seeds_and_views_share_an_entry_where_nothing_is_random(make_identity):
    off = dataclasses.asdict(Augmentation())
    plain = make_identity(augmentation={}, seed=1)
    assert make_identity(augmentation=off, seed=2).at_view(7).key == plain.key
    assert (plain.seed, plain.view, plain.augmentation) == (0, 0, {})
    # Nor does the code that makes views matter there.
    assert make_identity(augmentation={}, views_version=VIEWS_VERSION + 1).key == plain.key


def test_mixup_alone_makes_views_differ(make_identity):
    one = make_identity(augmentation={}, mixup=0.2)
    assert one.at_view(1).key != one.key
    assert one.seed == 5


def test_views_and_outputs_of_one_training_are_of_one_family(make_identity):
    family = make_identity().family
    assert make_identity(view=3, output="stage2", shape=(2, 2, 3), dtype="float16").family == family
    assert make_identity(seed=6).family != family


@pytest.mark.parametrize(
    "wrong", [{"teacher_sha256": "abc"}, {"samples": 0}, {"batch_size": 0}, {"shape": (0,)}, {"dtype": "int8"}]
)
def test_what_cannot_be_an_identity_is_refused(make_identity, wrong):
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        make_identity(**wrong)


@pytest.mark.parametrize("samples", [1, 31, 32, 9000, 60_000, 1_000_000])
@pytest.mark.parametrize("batch_size", [1, 32, 127, 4096])
@pytest.mark.parametrize("shape", [(), (10,), (56, 56, 64)])
def test_shards_are_whole_batches_of_bounded_size_and_cover_every_sample_once(
    make_identity, samples, batch_size, shape
):
    layout = layout_of(make_identity(samples=samples, batch_size=batch_size, shape=shape))
    rows = [layout.rows_of(shard) for shard in range(layout.shards)]
    assert rows[0].start == 0
    assert rows[-1].stop == samples
    assert all(before.stop == after.start for before, after in itertools.pairwise(rows))
    assert layout.shard_rows % layout.batch == 0
    assert layout.block_rows % layout.shard_rows == 0
    assert layout.shard_rows * layout.row_bytes <= max(4 << 20, layout.batch * layout.row_bytes)
    blocks = [shard for block in range(layout.blocks) for shard in layout.shards_of(block)]
    assert blocks == list(range(layout.shards))
    assert all(shard in layout.shards_of(layout.block_of(shard)) for shard in (0, layout.shards - 1))


def test_a_million_rows_of_logits_are_about_a_hundred_files(make_identity):
    assert 60 <= layout_of(make_identity(samples=1_000_000, batch_size=128, dtype="float16")).shards <= 130


def test_a_copy_has_the_key_of_what_it_is(make_identity):
    original = make_identity()
    assert original.key != make_identity(view=2).key  # known before it is copied
    assert original.model_copy(update={"view": 2}).key == make_identity(view=2).key
    assert original.at_view(2) == make_identity(view=2)
    assert original.model_copy(update={"augmentation": {}}).seed == 0
