"""What models are measured on, one file each: `measure(paths, *, ...)` returns raw samples per model.

The entry function takes a sequence of model files and keyword-only settings with literal defaults, among them
`num_threads`, `processes`, `seed` and `on_progress`, and returns one tuple of `ProcessSamples` per file, in the order
of the files. It raises ModelError for a file that cannot be measured.
"""
