"""Adapters: trainable helpers between a pair of taps and a loss, one per file; dropped when the student is exported.

A file defines `build(student_shapes, teacher_shapes, *, seed, <options with literal defaults>) -> keras.layers.Layer`.
The shapes are one per pair of taps, without the batch. The layer has all its variables when it is returned, and is
called as `adapter(students, teachers, training=...)` with one [batch, ...] array per pair of taps each; it returns one
`Adapted` per pair. `SUPPLIES` names the keyword arguments that it gives the loss. The training step gives the seed.
"""
