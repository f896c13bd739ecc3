"""The sources of data: each file defines LOCATION (what follows its name and a colon, or None) and load()."""
