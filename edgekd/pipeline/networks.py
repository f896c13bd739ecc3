"""The networks that a recipe names: built, opened, and what decides them."""

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.data.dataset import Dataset
from edgekd.importing import is_name
from edgekd.recipe import Network, Peer, Recipe, Teacher
from edgekd.storage import require_file, sha256_file

if TYPE_CHECKING:  # these import TensorFlow, which is imported when work begins
    import keras


def check_paths(recipe: Recipe) -> None:
    """Raises what opening the models that a recipe names would raise, as far as their paths tell, without any library.

    Raises:
      StorageError: there is no such file.
      ModelError: it is of another kind.
    """
    from edgekd import architectures
    from edgekd.teachers import kind_of

    for section in recipe.teacher:
        if section.model is not None:
            kind_of(section.model)
    if recipe.student.model is not None:
        architectures.check_model_file(recipe.student.model)


def build(network: Network | Peer, data: Dataset, *, seed: int) -> "keras.Model":
    """Returns a section's network with its initial weights, or the saved Keras model that it names."""
    from edgekd import architectures

    saved = getattr(network, "model", None)
    if saved is not None:
        return architectures.load_model(Path(saved))
    assert network.architecture is not None  # noqa: S101 - the recipe requires one of the two
    return architectures.create(
        network.architecture,
        input_shape=data.input_shape,
        num_classes=data.num_classes,
        seed=seed,
        arguments=network.arguments,
        output_shape=data.output_shape,
    )


def is_keras_file(network: Network) -> bool:
    """Whether the section names a Keras 3 file that can be copied into a run as it is: logits for channels last."""
    if network.model is None or Path(network.model).suffix != ".keras":
        return False
    return not isinstance(network, Teacher) or (network.outputs, network.layout) == ("logits", "channels_last")


def settings(network: Network | Peer, *, role: str) -> dict[str, Any]:
    """Returns all of a section that decides what its network becomes, with the hashes of the files that it names.

    What is in a saved model decides, and not where it lies: moved, or installed elsewhere, it trains nothing anew.
    """
    saved = getattr(network, "model", None)
    document = network.model_dump(mode="json")
    if saved is not None and not _is_function(saved):
        document["model"] = Path(saved).name
    return {
        "saved_model_sha256": _saved_sha256(saved, role),
        "users_code_sha256": _users_code_sha256(network.architecture),
        "network": document,
    }


def common_settings(recipe: Recipe) -> dict[str, Any]:
    """Returns what decides every training of a recipe."""
    return {
        "seed": recipe.seed,
        "batch_size": recipe.data.batch_size,
        "augment": recipe.data.augment.model_dump(mode="json"),
        "mixup": recipe.data.mixup,
        **({} if recipe.task == "classification" else {"task": recipe.task}),
    }


def _saved_sha256(saved: str | None, role: str) -> str | None:
    if saved is None:
        return None
    path = Path(saved)
    if _is_function(saved):
        return _users_code_sha256(saved)
    if not path.is_dir():
        return sha256_file(require_file(path, f"{role} model"))
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def _is_function(saved: str) -> bool:
    return not Path(saved).exists() and is_name(saved)


def _users_code_sha256(name: str | None) -> str | None:
    """Returns the hash of the file that a `package.module:function` lies in: a changed network is another network.

    Other modules that it imports are not looked at. A module that is not found is refused when the network is built.
    """
    if name is None or ":" not in name:
        return None
    module = Path(*name.partition(":")[0].split("."))
    for folder in (Path.cwd(), *map(Path, sys.path)):
        for file in (folder / module / "__init__.py", folder / f"{module}.py"):
            if file.is_file():
                return sha256_file(file)
    return None
