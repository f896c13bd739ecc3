"""Flow of the solution procedure: the student gets from one stage to the next as the teacher does."""

import keras
from keras import ops

from edgekd.errors import ShapeError
from edgekd.losses._pooling import average_pooled, smaller_size
from edgekd.losses._precision import widened
from edgekd.losses._range import LARGEST, narrowed

COMPARES = "flows"
MAY_DIFFER = ("size",)

Flow = tuple[keras.KerasTensor, keras.KerasTensor]


def fsp(student: Flow, teacher: Flow) -> keras.KerasTensor:
    """Returns each sample's squared distance between the student's and the teacher's flow matrices.

    ‖G_t − G_s‖²_F with G[i, j] = 1/(h·w) Σ_{x,y} F_earlier[x, y, i] · F_later[x, y, j]

    Where a network's two maps differ in size, the larger is averaged adaptively to the smaller one's height and width
    (the paper pools by the maximum). Student and teacher may differ in height and width, but not in channels.
    The sum over the matrix's elements is the paper's; implementations that take their mean give a smaller number.

    Args:
      student: two float feature maps, the earlier [batch, height, width, m] and the later [batch, height, width, n].
      teacher: two float feature maps likewise, with the same m and n.

    Returns:
      [batch] float ≥ 0 of the student's dtype, at most its largest number; zero where the matrices are equal.

    Raises:
      ShapeError: a flow is not two feature maps of known size, the batches differ, or the matrices' shapes do.

    References:
      Yim et al., A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning,
      CVPR 2017 (doi:10.1109/CVPR.2017.754).
    """
    _check_flows(student, teacher)
    earlier, later, their_earlier, their_later = widened(*student, *teacher)
    # The value is of fourth order in the features: it is computed from scaled ones, so that no step overflows.
    peaks = [ops.max(ops.abs(each), axis=(1, 2, 3)) for each in (earlier, later, their_earlier, their_later)]
    scale = ops.stop_gradient(ops.maximum(ops.max(ops.stack(peaks), axis=0), 1.0))
    divisor = ops.reshape(scale, (-1, 1, 1, 1))
    difference = _flow_matrix(their_earlier / divisor, their_later / divisor) - _flow_matrix(
        earlier / divisor, later / divisor
    )
    squared = ops.sum(ops.square(difference), axis=(1, 2))
    # An element of the scaled matrices is at most 1 and their difference at most 2, so this product stays finite.
    elements = difference.shape[1] * difference.shape[2]
    largest = LARGEST[keras.backend.standardize_dtype(scale.dtype)] / (4.0 * elements)
    return narrowed(squared * ops.minimum(scale**4, largest), like=student[0])


def _flow_matrix(earlier: keras.KerasTensor, later: keras.KerasTensor) -> keras.KerasTensor:
    size = smaller_size(earlier, later)
    products = ops.einsum("bhwi,bhwj->bij", average_pooled(earlier, size), average_pooled(later, size))
    return products / (size[0] * size[1])


def _check_flows(student: Flow, teacher: Flow) -> None:
    if len(student) != 2 or len(teacher) != 2:
        raise ShapeError(
            f"fsp: the student gives {len(student)} feature maps and the teacher {len(teacher)}; expected two of each, "
            "an earlier and a later one. Give the term at least two pairs of taps."
        )
    ours, theirs = (tuple(tuple(each.shape) for each in flow) for flow in (student, teacher))
    received = f"the student's taps have shapes {ours[0]} and {ours[1]}, the teacher's {theirs[0]} and {theirs[1]}"
    if any(len(shape) != 4 or None in shape[1:] for shape in (*ours, *theirs)):
        raise ShapeError(
            f"fsp: {received}; expected feature maps [batch, height, width, channels] of known size. Choose outputs of "
            "convolutional stages."
        )
    if len({shape[0] for shape in (*ours, *theirs)} - {None}) > 1:
        raise ShapeError(f"fsp: {received}; expected the same batch of samples.")
    matrices = [(earlier[-1], later[-1]) for earlier, later in (ours, theirs)]
    if matrices[0] != matrices[1]:
        raise ShapeError(
            f"fsp: {received}, which makes flow matrices of shape {matrices[0]} and {matrices[1]}; expected the same. "
            "Choose taps with as many channels, or give the term the adapter 'regressor'."
        )
