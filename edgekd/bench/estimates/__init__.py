"""What models would take on chips that are not at hand, one file each: `estimate(path, *, ...) -> Figures`.

Nothing here is measured on a clock, and nothing calls it a measurement. The entry function takes a file and settings of
its own, as keywords with literal defaults, and raises ModelError for a file that its chip cannot run. `SUFFIXES` says
which files it takes, `MODULES` which optional packages it needs and what installs each.
"""
