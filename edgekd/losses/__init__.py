"""Distillation losses: one pure function per file, unreduced over the batch; the caller weighs and averages.

A file declares what its function compares: `COMPARES = "logits"`, called once with [batch, classes] arrays, or
`COMPARES = "feature_maps"`, called once for each pair of taps with [batch, height, width, channels] arrays.
A file whose loss relates the samples of a batch to each other says so: `RELATES_SAMPLES = True`.
"""
