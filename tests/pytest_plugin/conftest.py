"""The example is run by a pytest of its own, see test_plugin.py."""

collect_ignore = ["example"]
