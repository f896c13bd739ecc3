"""Multi-level logits: predictions agree per sample, between samples and between classes, at several temperatures."""

from collections.abc import Sequence

import keras
from keras import ops

from edgekd.errors import RecipeError
from edgekd.losses._checks import check_logits, check_positive, check_weights
from edgekd.losses._precision import scalar, widened
from edgekd.losses._range import narrowed
from edgekd.losses._relations import inner_products

COMPARES = "logits"
RELATES_SAMPLES = True


def multi_level_logits(
    student: keras.KerasTensor,
    teacher: keras.KerasTensor,
    *,
    temperatures: Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
    instance_weight: float = 1.0,
    batch_weight: float = 1.0,
    class_weight: float = 1.0,
) -> keras.KerasTensor:
    """Returns each sample's share of three losses on softened probabilities, summed over temperatures.

    With P = softmax(logits / T), [batch, classes], the batch mean of the result is the sum over T of

    - instance: T² · mean_b KL(P_t[b] ‖ P_s[b]),
    - batch: ‖P_t P_tᵀ − P_s P_sᵀ‖²_F / batch: which samples are predicted alike,
    - class: ‖P_tᵀ P_t − P_sᵀ P_s‖²_F / classes: which classes are predicted together. P_tᵀ P_t sums over the samples,
      so this part grows with the square of the batch size.

    A sample's value holds its own divergence, its own row of the batch part, and the class part, which belongs to the
    batch and is the same for all. These are the sums of the authors' released code; its masks of the less confident
    half of samples and classes, and its second, strongly augmented view, are not part of the loss here.

    Args:
      student: [batch, classes] float logits.
      teacher: [batch, classes] float logits.
      temperatures: the temperatures T > 0 that are summed over (the paper's prediction augmentation).
      instance_weight: weight ≥ 0 of the instance part.
      batch_weight: weight ≥ 0 of the batch part.
      class_weight: weight ≥ 0 of the class part.

    Returns:
      [batch] float of the student's dtype; zero where the two agree.

    Raises:
      ShapeError: the shapes differ or are not [batch, classes].
      RecipeError: there is no temperature or one is not a positive finite number, or a weight is negative, or all
        are 0.

    References:
      Jin, Wang and Lin, Multi-Level Logit Distillation, CVPR 2023 (doi:10.1109/CVPR52729.2023.02325).
    """
    if not len(temperatures):
        raise RecipeError("multi_level_logits: temperatures is empty; give at least one, such as [4.0].")
    for each in temperatures:
        check_positive("multi_level_logits", temperatures=each)
    check_weights(
        "multi_level_logits", instance_weight=instance_weight, batch_weight=batch_weight, class_weight=class_weight
    )
    check_logits("multi_level_logits", student, teacher)
    ours, theirs = widened(student, teacher)
    instance_weight, batch_weight, class_weight = (
        scalar(value, ours) for value in (instance_weight, batch_weight, class_weight)
    )
    total = ops.zeros_like(ours[:, 0])
    for temperature in (scalar(each, ours) for each in temperatures):
        log_q, log_p = (ops.log_softmax(logits / temperature, axis=-1) for logits in (ours, theirs))
        q, p = ops.exp(log_q), ops.exp(log_p)
        instance = temperature**2 * ops.sum(p * (log_p - log_q), axis=-1)
        batch = ops.sum(ops.square(inner_products(p) - inner_products(q)), axis=-1)
        classes = ops.mean(
            ops.sum(ops.square(inner_products(ops.transpose(p)) - inner_products(ops.transpose(q))), axis=-1)
        )
        total = total + instance_weight * instance + batch_weight * batch + class_weight * classes
    return narrowed(total, student)
