"""Pruning of tf_keras networks while they are trained, by tensorflow-model-optimization."""

from collections.abc import Collection, Iterator
from typing import Any

from edgekd.errors import ModelError, RecipeError
from edgekd.quantize.legacy import _copying, _tfmot

# The classes whose kernels tfmot prunes, by the attribute that holds them. Depthwise kernels stay dense: they are small
# and lose the most accuracy.
_KERNELS = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense"), "kernel"),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), "pointwise_kernel"),
}
# Those whose kernels have, as TFLite stores them, the input's channels last.
_KERNELS_BY_BLOCK = ("Conv2D", "Dense", "SeparableConv2D")


def prune_low_magnitude(
    model: Any,
    *,
    sparsity: float,
    end_step: int,
    begin_step: int = 0,
    initial_sparsity: float = 0.0,
    power: float = 3.0,
    frequency: int = 100,
    exclude: Collection[str] = (),
) -> Any:
    """Returns a copy of a network whose weights of least magnitude become zero, more and more, as it is trained.

    s(t) = s_f + (s_i − s_f) · (1 − (t − t_0) / (t_n − t_0))^power, of each kernel on its own

    Depthwise kernels, recurrent layers and embeddings stay dense. Train it with `pruning_callbacks()`, then `strip` it.

    Args:
      model: a `tf_keras.Model`, functional or sequential; it is not changed.
      sparsity: s_f, the fraction of zeros at the end, from 0 to below 1.
      end_step: t_n, the training step from which the sparsity is s_f.
      begin_step: t_0, the step at which pruning begins.
      initial_sparsity: s_i, the fraction of zeros at t_0.
      power: the exponent.
      frequency: steps from one update of the masks to the next. The masks are those of the last update up to
        `end_step`, so that s_f is reached where `frequency` divides end_step − begin_step.
      exclude: names of layers that stay dense; for those of nested models, paths such as `outer/inner`.

    Returns:
      A `tf_keras.Model`, not compiled.

    Raises:
      RecipeError: an argument is out of its range.
      ModelError: a layer's kernel cannot be pruned (the message names all such layers), `exclude` names none, or
        nothing is left to prune.

    References:
      Zhu and Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017
      (arXiv:1710.01878).
    """
    _require_sparsity("sparsity", sparsity)
    _require_sparsity("initial_sparsity", initial_sparsity)
    if not 0 <= begin_step < end_step:
        raise RecipeError(f"expected 0 <= begin_step < end_step, received {begin_step} and {end_step}.")
    if not 0 < frequency <= end_step - begin_step or (end_step - begin_step) % frequency:
        raise RecipeError(
            f"frequency must divide end_step - begin_step = {end_step - begin_step}, received {frequency}: else the "
            f"masks are last updated before the sparsity is {sparsity}."
        )
    schedule = _tfmot.tfmot().sparsity.keras.PolynomialDecay(
        initial_sparsity, sparsity, begin_step, end_step, power, frequency
    )
    return _pruned(model, exclude, tuple(_KERNELS), pruning_schedule=schedule)


def prune_n_of_m(model: Any, *, zeros: int = 2, block: int = 4, exclude: Collection[str] = ()) -> Any:
    """Returns a copy of a network of whose weights some in every block become zero in the second training step.

    A block is `block` consecutive weights along the input's channels, as TFLite stores them, so that `zeros=2, block=4`
    is 2:4 sparsity. Of channels that no longer fill a block, those of least magnitude above block − zeros become zero.
    Kernels whose input has no more than block − zeros channels stay dense. Train it with `pruning_callbacks()`, then
    `strip` it.

    Args:
      model: a `tf_keras.Model`, functional or sequential; it is not changed.
      zeros: weights of each block that become zero.
      block: weights in a block.
      exclude: names of layers that stay dense; for those of nested models, paths such as `outer/inner`.

    Returns:
      A `tf_keras.Model`, not compiled.

    Raises:
      RecipeError: an argument is out of its range.
      ModelError: a layer's kernel cannot be pruned so (the message names all such layers), `exclude` names none, or
        nothing is left to prune.

    References:
      Mishra et al., Accelerating Sparse Deep Neural Networks, 2021 (arXiv:2104.08378).
    """
    if not 0 < zeros < block:
        raise RecipeError(f"expected 0 < zeros < block, received {zeros} and {block}.")
    return _pruned(model, exclude, _KERNELS_BY_BLOCK, smallest=block - zeros + 1, sparsity_m_by_n=(zeros, block))


def pruning_callbacks() -> list[Any]:
    """Returns the callbacks that `fit` of a network being pruned needs; without them its first step fails."""
    return [_tfmot.tfmot().sparsity.keras.UpdatePruningStep()]


def _require_sparsity(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise RecipeError(f"{name} must be from 0 to below 1, received {value!r}.")


def _pruned(
    model: Any, exclude: Collection[str], kinds: Collection[str], *, smallest: int = 1, **arguments: Any
) -> Any:
    _copying.require_plain(model, exclude)
    holding = [(path, layer) for path, layer in _with_kernel(model) if path not in exclude]
    wrong = [f"{path} ({type(layer).__name__})" for path, layer in holding if type(layer).__name__ not in kinds]
    if wrong:
        raise ModelError(
            f"tensorflow-model-optimization cannot prune {len(wrong)} layer(s) of model {model.name!r} so: "
            f"{', '.join(wrong)}. Give their names as exclude, which leaves them dense."
        )
    paths = [path for path, layer in holding if getattr(layer, _KERNELS[type(layer).__name__]).shape[-2] >= smallest]
    if not paths:
        raise ModelError(f"model {model.name!r} has no layer to prune (excluded: {', '.join(exclude) or 'none'}).")
    prune = _tfmot.tfmot().sparsity.keras.prune_low_magnitude
    return _copying.wrapped(model, lambda layer: prune(layer, **arguments), paths)


def _with_kernel(model: Any) -> Iterator[tuple[str, Any]]:
    for path, layer in _copying.leaves(model):
        if type(layer).__name__ in _KERNELS or (
            getattr(layer, "kernel", None) is not None and not type(layer).__name__.startswith("Depthwise")
        ):
            yield path, layer
