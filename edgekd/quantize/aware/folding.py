"""Batch normalisation after a layer that has one scale for its whole kernel."""

import dataclasses

import numpy as np
from keras import layers

from edgekd.quantize.aware.kernels import ONE_SCALE
from edgekd.quantize.aware.lowering import Kind, Step
from edgekd.quantize.aware.plan import Plan


def fold_where_needed(plan: Plan) -> Plan:
    """Returns the plan with each batch normalisation that follows such a layer folded into the layer's weights.

    The converter would fold it after the kernel was rounded. With one scale for each channel that changes nothing; with
    one scale for all it would make other values than the rounded ones.
    """
    makers = {value: step for step in plan.steps for value in step.outputs}
    kernels = {id(step): makers[step.inputs[0]] for step in plan.folded}
    kernels = {key: step for key, step in kernels.items() if isinstance(step.layer, ONE_SCALE)}
    shared = {id(step.layer) for step in plan.steps if sum(other.layer is step.layer for other in plan.steps) > 1}
    replaced: dict[int, Step] = {}
    apart: set[Step] = set()
    unfolded: set[Step] = set()
    for norm in plan.folded:
        kernel = kernels.get(id(norm))
        if kernel is None:
            continue
        if id(kernel.layer) in shared or id(norm.layer) in shared:
            unfolded.add(norm)
            continue
        apart.add(norm)
        replaced[id(kernel)] = _with_norm(kernel, norm)
        passing = layers.Activation("linear", name=norm.name)
        replaced[id(norm)] = dataclasses.replace(norm, kind=Kind.PASSED, layer=passing, weights=())
    steps = tuple(replaced.get(id(step), step) for step in plan.steps)
    rounded = plan.rounded | {norm.inputs[0] for norm in unfolded}
    return dataclasses.replace(plan, steps=steps, rounded=rounded, folded=plan.folded - unfolded - apart)


def _with_norm(kernel: Step, norm: Step) -> Step:
    layer = norm.layer
    values = list(norm.weights)
    width = len(values[-1])
    gamma = values.pop(0) if layer.scale else np.ones(width, np.float32)
    beta = values.pop(0) if layer.center else np.zeros(width, np.float32)
    mean, variance = values
    factor = gamma / np.sqrt(variance + layer.epsilon)
    bias = kernel.weights[1] if kernel.layer.use_bias else np.zeros(width, np.float32)
    config = {**kernel.layer.get_config(), "use_bias": True}
    # A transposed convolution's kernel is [height, width, output, input].
    spread = factor[:, None] if isinstance(kernel.layer, layers.Conv2DTranspose) else factor
    folded = (kernel.weights[0] * spread, (bias - mean) * factor + beta)
    return dataclasses.replace(kernel, layer=type(kernel.layer).from_config(config), weights=folded)
