"""Golden records: what an exported file was when it was found good, and whether it still is.

`checking.check_conversion` is all that other parts call. A golden record is JSON that lies beside a test and is
committed with it. This package imports nothing of itself, so that its child process starts quickly.
"""
