"""Sparsity: networks whose weights become zero, few or fewer while they train, and the plain networks that result.

A transform gives a network with the same layer names that any training loop can train (`pruning.prune`,
`channel_pruning.prune_channels`, `clustering.cluster`, `zeros.keep_zeros`, `shared_values.keep_clusters`);
`stripping.strip` gives back the plain one and `shrinking.shrink` removes whole channels from it. Nothing here trains,
and importing this imports no TensorFlow.
"""
