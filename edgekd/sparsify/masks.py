"""Which weights of a kernel stay: those of the largest magnitude."""

from typing import Any

import tensorflow as tf


def largest(kernel: Any, removed: Any) -> Any:
    """Returns the mask of all but the `removed` elements of least magnitude; of equal ones the first stay.

    Args:
      kernel: any shape, float.
      removed: a whole number, which may be a tensor.

    Returns:
      bool of the kernel's shape with exactly `removed` False.
    """
    flat = tf.abs(tf.reshape(kernel, [-1]))
    ranks = tf.math.invert_permutation(tf.argsort(flat, direction="DESCENDING", stable=True))
    return tf.reshape(ranks < flat.shape[0] - removed, kernel.shape)


def largest_of_groups(kernel: Any, *, axis: int, size: int, removed: Any) -> Any:
    """Returns the mask that removes, of each `size` consecutive elements along an axis, the `removed` smallest.

    Args:
      kernel: float; its length along the axis is a multiple of `size`.
      axis: the axis of the groups.
      size: m, the elements of a group.
      removed: how many of each group, which may be a tensor.

    Returns:
      bool of the kernel's shape.
    """
    last = len(kernel.shape) - 1
    order = [position for position in range(last + 1) if position != axis % (last + 1)]
    order.append(axis % (last + 1))
    turned = tf.transpose(tf.abs(kernel), order)
    groups = tf.reshape(turned, [-1, size])
    ranks = tf.argsort(tf.argsort(groups, direction="DESCENDING", stable=True), stable=True)
    kept = tf.reshape(ranks < size - removed, turned.shape)
    return tf.transpose(kept, [order.index(position) for position in range(last + 1)])
