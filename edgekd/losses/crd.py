"""Contrastive representation distillation: the student tells the teacher's embeddings of samples apart."""

import keras
from keras import ops

from edgekd.losses._checks import check_features, check_labels, check_positive, check_same_shape
from edgekd.losses._directions import flattened, unit_vectors
from edgekd.losses._precision import scalar, widened
from edgekd.losses._range import narrowed

COMPARES = "features"
NEEDS = ("labels",)
RELATES_SAMPLES = True
LEAST_AT_TEACHER = False
ADAPTER = "embedding"


def crd(
    student: keras.KerasTensor,
    teacher: keras.KerasTensor,
    *,
    labels: keras.KerasTensor,
    temperature: float = 0.07,
    normalizer: float = 1.0,
) -> keras.KerasTensor:
    """Returns each sample's noise-contrastive loss with the batch's samples of other classes as negatives.

    A(s_i; t) + A(t_i; s) with A(a; b) = −log h(a·b_i) − Σ_{j: y_j ≠ y_i} log(1 − h(a·b_j))
    and h(u) = e^{u/τ} / (e^{u/τ} + N_i·z)

    Embeddings s and t have unit length; the first term has the student as anchor and the teacher's embeddings to tell
    apart, the second the reverse. N_i is the number of negatives, the batch's samples with another label: a sample
    without one has loss and gradient zero.

    The paper draws N = 16384 negatives from a memory of all M training samples and has N/M in the place of N·z; its
    released code first divides e^{u/τ} by M times its mean over the first batch, so that z is that mean. Here
    there is no memory and no state: the batch is the memory, and the default z says that unrelated embeddings (u = 0)
    score 1. A normalizer of 1/M is the paper's h. The loss grows with the batch as the paper's does with N.

    Args:
      student: [batch, ...] float embeddings, from the adapter; their length does not count.
      teacher: [batch, ...] float embeddings of the same shape, from the adapter.
      labels: [batch] class indices; -1 where the class is not known: such a sample is no other's negative and has none.
      temperature: τ > 0.
      normalizer: z > 0, what e^{u/τ} is expected to be for a pair that does not belong together.

    Returns:
      [batch] float ≥ 0 of the student's dtype, at most its largest number. It is not least where student and teacher
      are equal: it also drives the student away from the teacher's embeddings of other classes.

    Raises:
      ShapeError: the shapes differ, are not [batch, ...] of known size, or the labels are not [batch].
      RecipeError: the temperature or the normalizer is not a positive finite number.

    References:
      Tian, Krishnan and Isola, Contrastive Representation Distillation, 2020 (arXiv:1910.10699), L_critic and its h in
      section 3, in both directions as in the released code.
    """
    check_positive("crd", temperature=temperature, normalizer=normalizer)
    check_features("crd", student, teacher)
    check_same_shape("crd", student, teacher, remedy="Give the term the adapter 'embedding'.")
    check_labels("crd", labels, student)
    (ours, _), (theirs, _) = (unit_vectors(flattened(each)) for each in widened(student, teacher))
    known = labels >= 0
    comparable = ops.logical_and(known[:, None], known[None, :])
    differs = ops.not_equal(labels[:, None], labels[None, :])
    negative = ops.cast(ops.logical_and(comparable, differs), ours.dtype)
    count = ops.sum(negative, axis=-1)
    # The log-odds of h; a count of 1 stands in where there is no negative, and such a sample is left out below.
    noise = ops.log(ops.maximum(count, 1.0)) + ops.log(scalar(normalizer, ours))
    scores = ops.matmul(ours, ops.transpose(theirs)) / scalar(temperature, ours)
    belonging = 2.0 * ops.softplus(noise - ops.sum(ours * theirs, axis=-1) / scalar(temperature, ours))
    student_anchored = ops.sum(negative * ops.softplus(scores - noise[:, None]), axis=-1)
    teacher_anchored = ops.sum(negative * ops.softplus(ops.transpose(scores) - noise[:, None]), axis=-1)
    total = belonging + student_anchored + teacher_anchored
    return narrowed(ops.where(count > 0, total, ops.zeros_like(total)), like=student)
