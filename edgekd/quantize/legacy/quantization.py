"""Quantisation-aware training of tf_keras networks by tensorflow-model-optimization's default 8-bit scheme."""

from collections.abc import Collection
from typing import Any

import numpy as np
import tf_keras

from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.quantize.legacy import _copying, _tfmot

_PRESERVABLE = ("sparsity", "clusters")
# The layers whose weights tfmot can hold to a pattern while it quantises them, by the weight's attribute. It splits
# separable convolutions; of a Conv2DTranspose, which it can prune and cluster too, it would lose the pattern.
_KERNELS = {"Conv2D": "kernel", "Dense": "kernel", "SeparableConv2D": "pointwise_kernel"}
# The kinds that tfmot does not know as such, but takes in some places of a graph.
_CHANGED = ("BatchNormalization", "SeparableConv2D", "SyncBatchNormalization")
# The kinds whose kernels it quantises.
_QUANTISED = ("Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D", "SeparableConv2D")
# tfmot looks for at most this many clusters in a kernel.
_MOST_CLUSTERS = 1024


def quantize_aware(model: Any, *, exclude: Collection[str] = (), preserve: Collection[str] = ()) -> Any:
    """Returns a copy of a network that computes with fake-quantised weights and activations, to be trained.

    Kernels of convolutions are quantised per output channel, those of Dense per tensor, symmetric to [-127, 127];
    activations per tensor by moving averages of their ranges. Batch normalisation after a convolution or Dense layer is
    left to the converter, which folds it. The ranges of activations are unknown until the network has been trained, or
    has been run with training=True, for some steps. Layers are renamed `quant_<name>`.

    Args:
      model: a `tf_keras.Model`, functional or sequential, without nested models; it is not changed.
      exclude: names of layers that stay in float.
      preserve: what training must leave as it is: `sparsity` (zero weights stay zero: PQAT), `clusters` (weights that
        are equal stay equal: CQAT), or both (PCQAT). In convolutions and Dense layers that have it; `strip` the network
        when it has been trained.

    Returns:
      A `tf_keras.Model`, not compiled.

    Raises:
      ModelError: a layer cannot be quantised (the message names all such layers), `exclude` names none, there is
        nothing to preserve, or the network is being pruned, clustered or quantised already.
      RecipeError: `preserve` is unknown, or `exclude` is no list.

    References:
      Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2017
      (arXiv:1712.05877).
    """
    _copying.require_plain(model, exclude)
    for each in preserve:
        if each not in _PRESERVABLE:
            raise RecipeError(unknown_name("pattern to preserve", each, _PRESERVABLE))
    problems = _problems(model, exclude, preserve)
    if problems:
        raise _refusal(model, problems | _unmatched(model, {*exclude, *problems}))
    _require_patterns(model, exclude, preserve)
    quantisation = _tfmot.tfmot().quantization.keras
    paths = {layer.name for layer in model.layers} - set(exclude)
    annotated = _copying.wrapped(model, quantisation.quantize_annotate_layer, paths)
    try:
        with _tfmot.scope():
            return quantisation.quantize_apply(annotated, scheme=_scheme(preserve))
    except RuntimeError as error:
        unmatched = _unmatched(model, exclude)
        if not unmatched:
            raise
        raise _refusal(model, unmatched) from error


def _refusal(model: Any, problems: dict[str, str]) -> ModelError:
    return ModelError(
        f"tensorflow-model-optimization cannot quantise {len(problems)} layer(s) of model {model.name!r}: "
        f"{', '.join(f'{name} ({reason})' for name, reason in problems.items())}. Give their names as exclude, which "
        "leaves them in float, or carry the network over with from_tf_keras and use edgekd.quantize.aware."
    )


def _problems(model: Any, exclude: Collection[str], preserve: Collection[str]) -> dict[str, str]:
    """Returns why tfmot would refuse layers, by their names, as far as a layer's kind and arguments say."""
    registry = _scheme(()).get_quantize_registry()
    found = {}
    for layer in model.layers:
        kind = type(layer).__name__
        if isinstance(layer, tf_keras.Model):
            found[layer.name] = "a nested model, which exclude cannot mend: inline its layers"
        elif layer.name in exclude or isinstance(layer, tf_keras.layers.InputLayer):
            continue
        elif not registry.supports(layer) and kind not in _CHANGED:
            found[layer.name] = kind
        elif kind in _QUANTISED and not layer.trainable:
            found[layer.name] = f"{kind} that is not trainable, which it would train"
        elif not _is_known_activation(layer, registry):
            found[layer.name] = f"{kind} with activation {_name(layer.activation)}"
        elif kind == "Conv2DTranspose" and _patterns_of(layer.kernel) & set(preserve):
            found[layer.name] = f"Conv2DTranspose, whose {' and '.join(preserve)} it cannot preserve"
    return found


def _unmatched(model: Any, exclude: Collection[str]) -> dict[str, str]:
    """Returns the batch normalisations that do not follow a layer with which tfmot quantises them.

    That is tfmot's own judgement, after its changes of the graph.
    """
    flat = [layer for layer in model.layers if not isinstance(layer, tf_keras.Model)]
    candidates = {layer.name: {"quantize_config": None} for layer in flat if layer.name not in exclude}
    with _tfmot.scope():
        changed, configs = _scheme(()).get_layout_transformer().apply(_copying.copied(model), candidates)
    return {
        layer.name: f"{type(layer).__name__} that does not directly follow a Conv2D, DepthwiseConv2D or Dense layer"
        for layer in changed.layers
        if type(layer).__name__.endswith("BatchNormalization")
        and layer.name in candidates
        and not configs.get(layer.name, {}).get("quantize_config")
    }


def _is_known_activation(layer: Any, registry: Any) -> bool:
    """Returns whether tfmot takes the activation of a layer of a kind that it takes."""
    if isinstance(layer, tf_keras.layers.Activation):
        try:
            registry.get_quantize_config(layer).get_output_quantizers(layer)
        except ValueError:
            return False
        return True
    if not hasattr(layer, "activation"):
        return True
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_aware_activation import (
        QuantizeAwareActivation,
    )

    known = QuantizeAwareActivation._PRE_QUANT_ACTIVATIONS | QuantizeAwareActivation._POST_QUANT_ACTIVATIONS
    return _name(layer.activation) in known


def _name(activation: Any) -> str:
    return getattr(activation, "__name__", type(activation).__name__)


def _require_patterns(model: Any, exclude: Collection[str], preserve: Collection[str]) -> None:
    found = {layer.name: _patterns(layer) for layer in model.layers if layer.name not in exclude}
    for pattern, what, how in (
        ("sparsity", "zero weights", "prune_low_magnitude"),
        ("clusters", "few distinct weights", "cluster_weights"),
    ):
        if pattern in preserve and not any(pattern in each for each in found.values()):
            raise ModelError(
                f"no Conv2D or Dense layer of model {model.name!r} has {what}, so that there is nothing to preserve: "
                f"use {how} and strip first, or leave {pattern!r} out of preserve."
            )


def _patterns(layer: Any) -> frozenset[str]:
    """Returns what training could destroy of a layer's kernel, and tfmot can preserve."""
    attribute = _KERNELS.get(type(layer).__name__)
    return frozenset() if attribute is None else _patterns_of(getattr(layer, attribute))


def _patterns_of(kernel: Any) -> frozenset[str]:
    values = np.asarray(kernel)
    found = {
        "sparsity": not values.all(),
        "clusters": np.unique(values).size <= min(_MOST_CLUSTERS, values.size // 2),
    }
    return frozenset(name for name, has in found.items() if has)


def _scheme(preserve: Collection[str]) -> Any:
    plain = _tfmot.tfmot().quantization.keras.default_8bit.Default8BitQuantizeScheme()
    return _PreservingScheme(plain, frozenset(preserve)) if preserve else plain


class _PreservingScheme:
    """The default scheme, but for the quantisers of weights."""

    def __init__(self, plain: Any, preserve: frozenset[str]) -> None:
        self._plain = plain
        self._preserve = preserve

    def get_layout_transformer(self) -> Any:
        return self._plain.get_layout_transformer()

    def get_quantize_registry(self) -> Any:
        return _PreservingRegistry(self._preserve)


class _PreservingRegistry:
    """Chooses for each layer on its own what its quantiser preserves.

    tfmot's registries share one quantiser among all layers of a kind, so that one layer without zero weights stops the
    others from keeping theirs.
    """

    def __init__(self, preserve: frozenset[str]) -> None:
        self._preserve = preserve

    def supports(self, layer: Any) -> bool:
        return self._registry(frozenset()).supports(layer)

    def get_quantize_config(self, layer: Any) -> Any:
        return self._registry(_patterns(layer) & self._preserve).get_quantize_config(layer)

    @staticmethod
    def _registry(preserve: frozenset[str]) -> Any:
        combine = _tfmot.tfmot().experimental.combine
        if "clusters" in preserve:
            scheme = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity="sparsity" in preserve)
        elif preserve:
            scheme = combine.Default8BitPrunePreserveQuantizeScheme()
        else:
            scheme = _scheme(())
        return scheme.get_quantize_registry()
