"""The shortest measurement: for tests of what is done with one, whatever its numbers are."""

SHORTEST = {
    "processes": 1,
    "blocks": 1,
    "min_runs": 5,
    "min_block_ms": 1.0,
    "min_warmup_seconds": 0.01,
    "max_warmup_seconds": 0.1,
}
