"""How an output's rows are cut into shards, and shards into blocks of work. It follows from the identity alone."""

import dataclasses
import math

from edgekd.distill.cache.identity import OutputIdentity

_SHARD_BYTES = 4 << 20
_BLOCK_ROWS = 4096
_BLOCKS = 64
_HEADER_BYTES = 128  # of a .npy file, for the estimate of space


@dataclasses.dataclass(frozen=True)
class Layout:
    """Row i belongs to sample i; a shard holds `shard_rows` rows, the last one what is left.

    A block is what one process does at a time: whole shards, and the same samples for every output of a training.
    Every shard is whole batches of the teacher, so that each row comes from the same batch however often the filling
    was interrupted.

    Attributes:
      samples: how many rows there are.
      batch: how many of them the teacher computes at once.
      block_rows: rows per block.
      shard_rows: rows per shard; a block holds a power of two of them.
      row_bytes: bytes of one row.
    """

    samples: int
    batch: int
    block_rows: int
    shard_rows: int
    row_bytes: int

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.samples // self.shard_rows)

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-self.samples // self.block_rows)

    def rows_of(self, shard: int) -> range:
        """Returns the rows of a shard."""
        first = shard * self.shard_rows
        return range(first, min(first + self.shard_rows, self.samples))

    def shards_of(self, block: int) -> range:
        """Returns the shards of a block."""
        each = self.block_rows // self.shard_rows
        return range(block * each, min((block + 1) * each, self.shards))

    def block_of(self, shard: int) -> int:
        """Returns the block that a shard belongs to."""
        return shard * self.shard_rows // self.block_rows

    def bytes_of(self, shard: int) -> int:
        """Returns about how many bytes a shard's file has."""
        return len(self.rows_of(shard)) * self.row_bytes + _HEADER_BYTES


def layout_of(identity: OutputIdentity) -> Layout:
    """Returns the layout of an output.

    Shards have at most 4 MiB (at least one batch), blocks 4096 rows or a 64th of the samples, whichever is more: what a
    kill can cost stays small, and the number of files does not grow with the samples alone.
    """
    batch = min(identity.batch_size, identity.samples)
    row_bytes = math.prod(identity.shape) * identity.stored_dtype.itemsize
    block_rows = batch
    while 2 * block_rows <= max(_BLOCK_ROWS, identity.samples // _BLOCKS):
        block_rows *= 2
    shard_rows = block_rows
    while shard_rows > batch and shard_rows * row_bytes > _SHARD_BYTES:
        shard_rows //= 2
    return Layout(identity.samples, batch, block_rows, shard_rows, row_bytes)
