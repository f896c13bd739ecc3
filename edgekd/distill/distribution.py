"""One training step on several devices or workers: what is shared out, what is reduced, and how.

The variables stay what they are, ordinary ones of the process that made the network. In each step every replica
computes the gradient of the mean loss of its share of the global batch; the mean over replicas is taken of the
gradients, of the measurements and of the networks' state (moving averages), in one collective; and then the optimizer
moves the variables once in every process, as it would alone. So whatever the optimizer does, such as clipping,
accumulation or loss scaling, is done with the gradient of the global batch. Several devices of one process read the
variables from the first one: students for edge devices are small.

Batch normalisation takes its statistics over the global batch. A loss that relates the samples of a batch to each other
sees its replica's share only. Dropout draws other masks in every replica. Everything else is what one process computes
for the same global batch, but for the rounding of sums in another order.
"""

import contextlib
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from edgekd import registry
from edgekd.distill.objective import Objective
from edgekd.errors import ModelError, RecipeError
from edgekd.recipe import LOSSES, Training

_LOG = logging.getLogger("edgekd")
# An odd number with bits all over: replicas' seeds are far apart, and the first one's is that of a single process.
_SEED_STRIDE = 0x1E3779B1


def worker_of(strategy: tf.distribute.Strategy | None) -> tuple[int, int]:
    """Returns (i, n): this process is number i of n workers; number 0 is the chief, which alone writes."""
    resolver = strategy.cluster_resolver if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else None
    if resolver is None or not resolver.cluster_spec().as_dict():
        return 0, 1
    cluster = resolver.cluster_spec()
    if set(cluster.jobs) != {"worker"}:
        raise RecipeError(
            f"TF_CONFIG names the jobs {', '.join(cluster.jobs)}: expected `worker` alone, whose first is the chief."
        )
    return resolver.task_id, cluster.num_tasks("worker")


def check(training: Training, *, batch_size: int, replicas: int) -> None:
    """Refuses what cannot be shared out.

    Args:
      training: of the network.
      batch_size: of the whole step.
      replicas: devices, over all workers.

    Raises:
      RecipeError: XLA, or batches that cannot be divided equally.
    """
    if replicas == 1:
        return
    if training.xla:
        raise RecipeError(
            f"xla: true with {replicas} workers or devices: XLA cannot compile their exchange. Set xla: false, or use "
            "one."
        )
    if batch_size % replicas:
        raise RecipeError(
            f"batches of {batch_size} samples cannot be divided equally among {replicas} workers or devices: expected "
            f"a multiple of {replicas}. Choose another batch_size or number of workers."
        )


def known_per_replica(known: Any) -> Any:
    """Returns by what a replica's sum over known samples is divided, so that the mean over replicas is their mean.

    Args:
      known: [batch] float, 1 for samples that count and 0 for others.

    Returns:
      Scalar float: the number of such samples in the global batch over the number of replicas; never 0.
    """
    count = ops.sum(known)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return ops.maximum(count, 1.0)
    mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, count)
    return ops.maximum(mean, 1.0 / context.num_replicas_in_sync)


class Replicas:
    """The devices that share a step's work; one by default.

    Attributes:
      count: how many there are, over all workers.
      worker: (i, n): this process is number i of n.
      is_chief: whether this is the process that writes and tells.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        """Takes a MirroredStrategy (devices of this process) or a MultiWorkerMirroredStrategy (worker processes).

        Raises:
          ModelError: another strategy.
        """
        known = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
        if strategy is not None and not isinstance(strategy, known):
            raise ModelError(
                f"training with {type(strategy).__name__}: expected MirroredStrategy or MultiWorkerMirroredStrategy."
            )
        self.count = strategy.num_replicas_in_sync if strategy else 1
        self.worker = worker_of(strategy)
        self.is_chief = self.worker[0] == 0
        self._strategy = strategy
        self._rows = tf.function(self._run_rows, autograph=False, reduce_retracing=True)

    def prepare(self, objective: Objective, training: Training, *, batch_size: int) -> None:
        """Refuses what cannot be shared out, and says which losses see less of a batch than they would alone."""
        check(training, batch_size=batch_size, replicas=self.count)
        relating = [term.name for term in objective.terms if _relates_samples(term.loss)]
        if self.count > 1 and relating and self.is_chief:
            _LOG.warning(
                "%s: these losses relate the samples of a batch to each other, and each of the %d workers or devices "
                "relates its own %d of %d samples only.",
                ", ".join(relating),
                self.count,
                batch_size // self.count,
                batch_size,
            )

    def gradients(
        self,
        loss: Callable[..., tuple[Any, Any]],
        variables: Sequence[keras.Variable],
        parts: Sequence[layers.Layer],
        *inputs: Any,
    ) -> tuple[list[Any], Any]:
        """Returns the gradients and the measurements of the global batch, in a traced step.

        Args:
          loss: gives, for one share of the inputs, what to differentiate, and measurements; both are means over it.
          variables: what to differentiate by.
          parts: the networks and helpers that `loss` runs.
          *inputs: structures of arrays of this worker's samples.
        """
        if self._strategy is None:
            with tf.GradientTape() as tape:
                value, measured = loss(*inputs)
            return tape.gradient(value, variables), measured

        every = [variable for part in parts for variable in part.variables]

        def in_replica() -> tuple[list[Any], Any, dict[int, Any]]:
            context = tf.distribute.get_replica_context()
            number = context.replica_id_in_sync_group
            share = tf.nest.map_structure(lambda array: self._share(array, number), inputs)
            with tf.GradientTape() as tape, contextlib.ExitStack() as stack:
                before = [(variable, tf.convert_to_tensor(variable.value)) for variable in variables]
                # Several devices would each update the one moving average: what they assign is collected instead.
                scope = stack.enter_context(keras.StatelessScope(before))
                stack.enter_context(_own_randomness(parts, number))
                value, measured = loss(*share)
                # In half precision the gradients on the way are then as large as those of one process.
                value = value / self.count
            read = {id(variable): value for variable, value in before}
            found = {place: scope.get_current_value(variable) for place, variable in enumerate(every)}
            state = {
                place: value
                for place, value in found.items()
                if value is not None and value is not read.get(id(every[place]))
            }
            state = {place: value / self.count if value.dtype.is_floating else value for place, value in state.items()}
            return _summed(context, (tape.gradient(value, variables), measured / self.count, state))

        everywhere = self._strategy.run(in_replica)
        here = tf.nest.map_structure(lambda each: self._strategy.experimental_local_results(each)[0], everywhere)
        gradients, measured, state = here
        for place, value in state.items():
            every[place].assign(value)
        return gradients, measured

    def from_chief(self, compute: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
        """Returns what the chief computes, in every worker; the others wait for it."""
        if self.worker[1] == 1:
            return compute()
        own = np.asarray(compute(), np.float64) if self.is_chief else None
        (size,) = self._gathered(np.array([0.0 if own is None else len(own)]))[0]
        return tuple(float(each) for each in self._gathered(np.zeros(int(size)) if own is None else own)[0])

    def require_same_start(self, variables: Sequence[keras.Variable], position: tuple[int, int]) -> None:
        """Refuses workers that do not begin with the same weights at the same step.

        Args:
          variables: of the networks and the optimizer.
          position: epoch and step.

        Raises:
          ModelError: the numbers of those that differ from the chief are in the message.
        """
        if self.worker[1] == 1:
            return
        checksum = 0
        for variable in variables:
            checksum = zlib.crc32(keras.ops.convert_to_numpy(variable).tobytes(), checksum)
        rows = self._gathered(np.array([*position, checksum], np.float64))
        other = [str(number) for number, row in enumerate(rows) if not np.array_equal(row, rows[0])]
        if other:
            raise ModelError(
                f"workers begin with different weights, or at different steps: number {', '.join(other)} of "
                f"0..{self.worker[1] - 1} not as number 0. Build the networks with the same seed in every worker, and "
                "let all read the same checkpoint."
            )

    def _gathered(self, own: np.ndarray) -> np.ndarray:
        """Returns [workers, size] for each worker's [size] float64."""
        rows = self._rows(tf.constant(own, tf.float64)).numpy()
        return np.asarray(rows[:: self.count // self.worker[1]])

    def _run_rows(self, own: Any) -> Any:
        def in_replica() -> Any:
            context = tf.distribute.get_replica_context()
            row = tf.one_hot(context.replica_id_in_sync_group, self.count, dtype=own.dtype)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, row[:, None] * own)

        assert self._strategy is not None  # noqa: S101 - there are several workers
        return self._strategy.experimental_local_results(self._strategy.run(in_replica))[0]

    def _share(self, array: Any, number: Any) -> Any:
        """Returns the part of this worker's array that is for one of its replicas."""
        devices = self.count // self.worker[1]
        if array is None or devices == 1:
            return array
        size = array.shape[0] // devices
        begin = (number - self.worker[0] * devices) * size
        return tf.slice(array, [begin, *[0] * (len(array.shape) - 1)], [size, *array.shape[1:]])


@contextlib.contextmanager
def _own_randomness(parts: Sequence[layers.Layer], number: Any) -> Iterator[None]:
    """Lets layers such as dropout draw other numbers in every replica: equal masks would tie its samples together."""
    generators = {
        id(generator): generator
        for part in parts
        for layer in part._flatten_layers()
        for generator in layer._seed_generators
    }.values()

    def drawing(generator: keras.random.SeedGenerator) -> Callable[..., Any]:
        def draw(ordered: bool = True) -> Any:
            seed = type(generator).next(generator, ordered=ordered)
            return ops.bitwise_xor(seed, ops.cast(ops.stack([number * _SEED_STRIDE, 0]), seed.dtype))

        return draw

    for generator in generators:
        # Past what tracks attributes: the generator is as it was afterwards.
        vars(generator)["next"] = drawing(generator)
    try:
        yield
    finally:
        for generator in generators:
            del vars(generator)["next"]


def _summed(context: tf.distribute.ReplicaContext, structure: Any) -> Any:
    """Returns the sums over replicas, in one collective for each type of number; integers stay each replica's own."""
    leaves = list(tf.nest.flatten(structure))
    places_of: dict[Any, list[int]] = {}
    for place, leaf in enumerate(leaves):
        if leaf is not None and leaf.dtype.is_floating:
            leaves[place] = tf.convert_to_tensor(leaf)  # of an embedding, it may be a part
            places_of.setdefault(leaf.dtype, []).append(place)
    for places in places_of.values():
        own = [leaves[place] for place in places]
        flat = tf.concat([tf.reshape(leaf, [-1]) for leaf in own], 0)
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
        parts = tf.split(total, [leaf.shape.num_elements() for leaf in own])
        for place, leaf, part in zip(places, own, parts, strict=True):
            leaves[place] = tf.reshape(part, leaf.shape)
    return tf.nest.pack_sequence_as(structure, leaves)


def _relates_samples(loss: str) -> bool:
    return bool(loss) and getattr(registry.load(LOSSES, loss), "RELATES_SAMPLES", False)
