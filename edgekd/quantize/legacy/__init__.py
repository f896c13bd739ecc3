"""tf_keras (Keras 2) networks: through tensorflow-model-optimization, and to and from Keras 3.

legacy = to_tf_keras(network)
pruned = prune_low_magnitude(legacy, sparsity=0.5, end_step=1000)
pruned.compile(...); pruned.fit(..., callbacks=pruning_callbacks())
quantised = quantize_aware(strip(pruned), preserve=["sparsity"])
quantised.compile(...); quantised.fit(...)
function = inference_function(strip(quantised))
"""

from edgekd.quantize.legacy.bridge import from_tf_keras, to_tf_keras
from edgekd.quantize.legacy.clustering import cluster_weights
from edgekd.quantize.legacy.inference import inference_function
from edgekd.quantize.legacy.pruning import prune_low_magnitude, prune_n_of_m, pruning_callbacks
from edgekd.quantize.legacy.quantization import quantize_aware
from edgekd.quantize.legacy.saving import load, save
from edgekd.quantize.legacy.stripping import strip

__all__ = [
    "cluster_weights",
    "from_tf_keras",
    "inference_function",
    "load",
    "prune_low_magnitude",
    "prune_n_of_m",
    "pruning_callbacks",
    "quantize_aware",
    "save",
    "strip",
    "to_tf_keras",
]
