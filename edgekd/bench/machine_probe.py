"""Says what a machine has for measuring: sent to a remote Python's standard input, so it must run on any Python 3.

It imports nothing of edgekd, and none of the packages that it looks for.
"""

import json
import sys

PACKAGES = ("numpy", "ai-edge-litert", "onnxruntime")


def found():
    # type: () -> dict[str, object]
    """Returns this Python's version and those of the packages that it has, None where it is too old to tell."""
    try:
        from importlib import metadata
    except ImportError:
        return {"python": list(sys.version_info[:2]), "packages": None}
    versions = {}  # type: dict[str, str | None]
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {"python": list(sys.version_info[:2]), "packages": versions}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(found()) + "\n")
