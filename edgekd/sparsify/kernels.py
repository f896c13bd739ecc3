"""Which layers hold a kernel, and which of them a transform means."""

import dataclasses
from collections.abc import Collection, Iterator

import keras
from keras import layers

from edgekd.errors import ModelError, RecipeError, unknown_name


@dataclasses.dataclass(frozen=True)
class Kernel:
    """How a class of layers holds its kernel.

    Attributes:
      attribute: the layer's attribute that is the variable.
      constraint: the constructor's argument for that variable's constraint.
      input_axis: the axis over whose elements the layer sums, its input channels; None for depthwise kernels.
    """

    attribute: str
    constraint: str
    input_axis: int | None


_PLAIN = Kernel("kernel", "kernel_constraint", -2)
_TRANSPOSED = Kernel("kernel", "kernel_constraint", -1)  # [..., outputs, inputs]
_DEPTHWISE = Kernel("kernel", "depthwise_constraint", None)
_POINTWISE = Kernel("pointwise_kernel", "pointwise_constraint", -2)

_KERNELS: tuple[tuple[type[layers.Layer], Kernel], ...] = (
    (layers.Dense, _PLAIN),
    (layers.Conv1D, _PLAIN),
    (layers.Conv2D, _PLAIN),
    (layers.Conv3D, _PLAIN),
    (layers.Conv1DTranspose, _TRANSPOSED),
    (layers.Conv2DTranspose, _TRANSPOSED),
    (layers.Conv3DTranspose, _TRANSPOSED),
    (layers.DepthwiseConv1D, _DEPTHWISE),
    (layers.DepthwiseConv2D, _DEPTHWISE),
    (layers.SeparableConv1D, _POINTWISE),
    (layers.SeparableConv2D, _POINTWISE),
)


def kernel_of(layer: layers.Layer) -> Kernel | None:
    """Returns how a layer holds its kernel; None where it has none that can be made sparse.

    Of a separable convolution the pointwise kernel counts: it holds nearly all of the weights and of the arithmetic.
    """
    for kind, kernel in _KERNELS:
        if isinstance(layer, kind):
            return kernel
    return None


def variable_of(layer: layers.Layer) -> keras.Variable:
    """Returns the kernel of a built layer that has one."""
    kernel = kernel_of(layer)
    if kernel is None:
        raise ModelError(f"layer {layer.name!r} ({type(layer).__name__}) has no kernel that can be made sparse.")
    return getattr(layer, kernel.attribute)


def layers_by_path(model: keras.Model) -> dict[str, layers.Layer]:
    """Returns the layers of a network by name, those of nested models as `outer/inner`, in the network's order."""
    return dict(_walk(model, ""))


def _walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, layers.Layer]]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _walk(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


def require_known(names: Collection[str], known: Collection[str], *, model: str) -> None:
    """Raises ModelError for names that are no layer of the network; the message names the nearest."""
    if isinstance(names, str):
        raise RecipeError(f"layers are given as {names!r}: expected a list of their names, such as [{names!r}].")
    for name in names:
        if name not in known:
            raise ModelError(unknown_name(f"layer of model {model!r}:", name, known))
