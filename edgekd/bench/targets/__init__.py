"""What models are measured on, one file each: `measure(paths, plan, *, ...)` yields rounds of raw samples.

The entry function takes the model files and an `edgekd.bench.plan.Plan`, and as keywords `on_progress` and settings
of the target's own, with literal defaults; the plan's settings are the target's too (`ALSO_TAKES`). It yields one
tuple of `edgekd.bench.samples.Process` a round, in the order of the files, and raises ModelError for a file that cannot
be measured. Whoever calls it may stop after any round. Workers with pipes are driven by `edgekd.bench.rounds.run`: a
target says only how one is started. A target without edgekd's worker (`adb`) yields what its own program says.

`MODULES` and `PROGRAMS` map what a target needs here to what provides it (`edgekd.bench.availability`). One that takes
`address` is written `NAME://ADDRESS`.
"""
