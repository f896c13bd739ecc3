"""Distillation losses: one pure function per file, unreduced over the batch; the caller weighs and averages.

A file `name.py` defines `name(student, teacher, *, ...) -> [batch]`. Where a loss belongs to the whole batch, the
values are such that their mean is the published loss. The file declares, as literals that are read without importing:

- `COMPARES`: what student and teacher are. `"logits"`: [batch, classes]. `"feature_maps"`: [batch, height, width,
  channels], one call for each pair of taps. `"features"`: [batch, ...], likewise; the loss flattens each sample itself.
  `"flows"`: (earlier feature map, later feature map), one call for each two consecutive pairs of taps.
- `NEEDS` (default none): keyword arguments without default that the training step supplies: `"labels"` ([batch] class
  indices), and what the term's adapter learns for each channel, `"variance"` (positive) and `"margin"` (at most 0).
- `ADAPTER` (default none): the adapter that a term of this loss gets unless the recipe names another.
- `MAY_DIFFER` (default none): in what the student's and the teacher's features need not agree, `"channels"` (the last
  dimension) and `"size"` (those between the batch and the channels). All else raises ShapeError.
- `RELATES_SAMPLES = True`: a sample's value depends on the other samples of the batch.
- `LEAST_AT_TEACHER = False`: a student that equals the teacher is not where the loss is least.
- `SUMMARISES_TEACHER = True`: the file also defines `summarise_teacher(teacher, *, student_shape)`, which makes a
  smaller stand-in for the teacher's features, good for the same loss: what the cache stores.

All hold to this: shapes that do not fit are refused, never broadcast; hyper-parameters of type float may be scalar
tensors, and only numbers are checked; the computation is done in at least float32 and the result has the student's
dtype, in which a value that is too large becomes the largest number, and NaN stays NaN; value and gradient are finite
wherever the inputs are finite and the dtype of the computation can hold their squares (of logits: their differences).
Stopping the teacher's gradient is the step's work. Files that start with an underscore are shared by the others.
"""
