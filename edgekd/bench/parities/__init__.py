"""What other processors' kernels compute of a file, one file each: `compare(path, *, ...) -> ParityFindings`.

Nothing here reads a clock, and no record of it holds a time. The entry function takes a file and settings of its own,
as keywords with literal defaults, and raises ModelError for a file that cannot be run there. `SUFFIXES` says which
files it takes; `PROGRAMS`, `MODULES` and `FOLDERS` what it needs (`edgekd.bench.availability`).
"""
