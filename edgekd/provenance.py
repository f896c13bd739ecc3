"""Where an exported file comes from, as the file itself tells: a JSON document in its metadata.

It says nothing of times, paths or machines, so that the same network exported twice gives the same bytes. It holds no
accuracy of the file, which is known only once the file is finished and verified: writing it in would give the file
another SHA-256 than the one that was verified. The accuracy of the network that it was made from is known before.
"""

import json
from pathlib import Path

import pydantic

from edgekd import environment
from edgekd.errors import ModelError
from edgekd.records import Preprocessing, Record

KEY = "edgekd.provenance"
"""Name of the metadata buffer (TFLite) and key of `metadata_props` (ONNX)."""

_PACKAGES = ("edgekd", "keras", "tensorflow", "ai-edge-quantizer", "onnx", "tf2onnx")


class Origin(Record):
    """What whoever calls export knows of the network; None where it is not known.

    `recipe_sha256` is over all of a recipe that decides the file (gates and measuring do not), `data_fingerprint` over
    every sample and label of the data that trained the network, `validation_accuracy` its top-1 fraction on the
    validation split, before it was converted.
    """

    recipe_sha256: str | None = None
    data_fingerprint: str | None = None
    seed: int | None = None
    validation_accuracy: float | None = None


class Provenance(Origin):
    """What a file was made from and with.

    `weights_sha256` is over the network's weights in their order (dtype, shape and bytes of each), None for a function
    that keeps none. `calibration_sha256` is over dtype, shape and bytes of the calibration samples, None where the
    scheme needs none. `preprocessing` is what the network begins with and the file does not compute as such.
    `versions` are the packages that determine the file's bytes.
    """

    schema_version: int = 1
    source: str
    scheme: str
    weights_sha256: str | None = None
    calibration_sha256: str | None = None
    calibration_samples: int | None = None
    preprocessing: tuple[Preprocessing, ...] = ()
    versions: dict[str, str] = pydantic.Field(default_factory=dict)

    def to_json(self) -> str:
        """Returns the document for a file: one line, sorted, without what is not known."""
        document = self.model_dump(mode="json", exclude_none=True)
        if not self.preprocessing:
            del document["preprocessing"]
        return json.dumps(document, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes, *, name: str) -> "Provenance":
        """Returns the record of a file's document.

        Args:
          text: the document.
          name: the file's name, for the message.

        Raises:
          ModelError: it is no such document.
        """
        try:
            return cls.model_validate_json(text)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise ModelError(
                f"{Path(name).name!r} has damaged {KEY!r} metadata ({where}: {first['msg'].lower()}): export it again."
            ) from error


def versions() -> dict[str, str]:
    """Returns the installed versions of the packages that determine an exported file's bytes."""
    found = {package: environment.installed_version(package) for package in _PACKAGES}
    return {package: version for package, version in found.items() if version is not None}
