"""Probabilistic knowledge transfer: each sample's neighbours are as probable as in the teacher's feature space."""

import keras
from keras import ops

from edgekd.losses._checks import check_features
from edgekd.losses._precision import widened
from edgekd.losses._range import narrowed
from edgekd.losses._relations import cosines

COMPARES = "features"
MAY_DIFFER = ("size", "channels")
RELATES_SAMPLES = True

# The released code adds it to both probabilities within the logarithm; here it is the least that enters there.
_LEAST_PROBABILITY = 1e-7


def pkt(student: keras.KerasTensor, teacher: keras.KerasTensor) -> keras.KerasTensor:
    """Returns each sample's divergence of its neighbours' probabilities, divided by the number of neighbours.

    Σ_j p_t[b, j] (log p_t[b, j] − log p_s[b, j]) / batch with p[b, j] = k[b, j] / Σ_i k[b, i], k = (cosine + 1) / 2

    The cosine is that of two samples' flattened features. This is the authors' released code: a sample counts among its
    own neighbours, and the batch mean of the result is the mean over all batch² pairs. The paper leaves a sample out
    of its neighbours and sums. A sample whose features are all zero has the cosine 0 with all.

    Args:
      student: [batch, ...] float features.
      teacher: [batch, ...] float features; their size may differ from the student's.

    Returns:
      [batch] float of the student's dtype, in nats; zero where the cosines agree, whatever each sample's scale, and for
      a batch of one.

    Raises:
      ShapeError: the batches differ, or the features are not [batch, ...] of known size.

    References:
      Passalis and Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer, 2018 (arXiv:1803.10837),
      with the cosine kernel; usual weight 30000.
    """
    check_features("pkt", student, teacher)
    ours, theirs = widened(student, teacher)
    q, p = _neighbours(ours), _neighbours(theirs)
    logarithms = ops.log(ops.maximum(p, _LEAST_PROBABILITY)) - ops.log(ops.maximum(q, _LEAST_PROBABILITY))
    return narrowed(ops.mean(p * logarithms, axis=-1), student)


def _neighbours(features: keras.KerasTensor) -> keras.KerasTensor:
    kernel = 0.5 * (cosines(features) + 1.0)
    return kernel / ops.sum(kernel, axis=-1, keepdims=True)
