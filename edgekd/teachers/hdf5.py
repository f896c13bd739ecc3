"""`.h5` files of Keras: read by Keras 3, or by tf_keras where Keras 3 cannot; code in them is never run."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from edgekd import storage
from edgekd.architectures import load_model
from edgekd.errors import ModelError
from edgekd.teachers import child, keras_network
from edgekd.teachers.frozen import Opened

_KERAS_MODULES = re.compile(r"(keras|tf_keras|builtins)(\.|$)")
# TensorFlow functions that only compute; tf_keras would look up any, also those that read and write files.
_COMPUTING = re.compile(
    r"(math|nn|linalg|signal|image|keras\.activations|compat\.v1\.(math|nn)|__operators__)\.\w+|compat\.v1\.transpose|"
    r"abs|add|add_n|argmax|argmin|broadcast_to|cast|clip_by_value|concat|constant|convert_to_tensor|cos|cumsum|divide|"
    r"einsum|equal|exp|expand_dims|fill|floor|gather|greater|identity|less|matmul|maximum|minimum|multiply|negative|"
    r"norm|one_hot|ones|ones_like|pad|pow|range|rank|reduce_\w+|repeat|reshape|reverse|roll|round|shape|sigmoid|sign|"
    r"sin|size|slice|sort|split|sqrt|square|squeeze|stack|stop_gradient|strided_slice|subtract|tanh|tensordot|tile|"
    r"transpose|unstack|where|zeros|zeros_like"
)


def open_file(path: Path, *, taps: Sequence[str], input_shape: Sequence[int], num_classes: int | None) -> Opened:
    """Returns the network of an `.h5` file as a teacher; its `loader` says which library reads it.

    Raises:
      StorageError: there is no such file.
      ModelError: it is no HDF5 file, damaged, holds weights only or code, or neither library can load it.
      ShapeError: other inputs or another number of classes.
    """
    model, is_legacy = load(path)
    if not is_legacy:
        return keras_network.open_network(
            model, name=path.name, taps=taps, input_shape=input_shape, num_classes=num_classes
        )
    from edgekd.teachers import tf_keras_network

    return tf_keras_network.open_network(
        model, name=path.name, taps=taps, input_shape=input_shape, num_classes=num_classes
    )


def load(path: Path) -> tuple[Any, bool]:
    """Returns the network of an `.h5` file, and whether it is one of tf_keras.

    Raises:
      ModelError: it is no HDF5 file, damaged, holds weights only or code, or neither library can load it.
    """
    if not h5py.is_hdf5(path):
        raise ModelError(f"{str(path)!r} is not an HDF5 file: copy or save it again.")
    child.require_openable(path, sha256=storage.sha256_file(path))
    config, version = _read(path)
    refuse_code(path, config)
    try:
        return load_model(path), False
    except ModelError as error:
        if version.partition(".")[0] not in {"", "1", "2"}:
            raise
        from edgekd.teachers import tf_keras_network

        try:
            return tf_keras_network.load_h5(path), True
        except ModelError as second:
            raise ModelError(f"{error} {second}") from second


def _read(path: Path) -> tuple[Any, str]:
    """Returns the network's configuration and the version of the Keras that wrote it ("" where it is not said)."""
    try:
        with h5py.File(path) as file:
            text, version = file.attrs.get("model_config"), str(file.attrs.get("keras_version", ""))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{str(path)!r} is damaged or cut short: copy or save it again.") from error
    if text is None:
        raise ModelError(
            f"{str(path)!r} holds no network (its attribute 'model_config' is missing; weights alone are not enough): "
            "save the whole model."
        )
    try:
        return json.loads(text), version
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{str(path)!r} has a damaged network configuration: copy or save it again.") from error


def refuse_code(path: Path, config: Any) -> None:
    """Raises ModelError for a network that asks for more than the layers of Keras: before any library loads it.

    Args:
      path: of its file, for the message.
      config: the network's configuration.
    """
    _refuse_lambdas(path, config)
    _refuse_foreign_code(path, config)


def _refuse_lambdas(path: Path, config: Any) -> None:
    """Raises ModelError for marshalled Python code, which tf_keras would run while it loads an `.h5` file."""
    for part in _dicts(config):
        kinds = [value for key, value in part.items() if key.endswith("function_type")]
        if part.get("class_name") in {"Lambda", "__lambda__"} or "lambda" in kinds:
            raise ModelError(
                f"{str(path)!r} holds Python code (a Lambda layer), which edgekd does not run. Replace it by ordinary "
                "layers and save the model again, or build the network in a function of your own and give "
                "package.module:function as the teacher."
            )


def _refuse_foreign_code(path: Path, config: Any) -> None:
    """Raises ModelError for what tf_keras would import or call by name, unless it only computes."""
    for part in _dicts(config):
        module = part.get("module")
        if isinstance(module, str) and not _KERAS_MODULES.match(module):
            raise ModelError(
                f"{str(path)!r} asks for code of the Python module {module!r}, which is not part of Keras: build the "
                "network in a function of your own and give package.module:function as the teacher."
            )
        settings = part.get("config")
        if not isinstance(settings, Mapping):
            continue
        called = {
            "TFOpLambda": settings.get("function"),
            "SlicingOpLambda": settings.get("function"),
            "ClassMethod": settings.get("cls_symbol"),
            "InstanceMethod": settings.get("attr_name"),
        }.get(str(part.get("class_name")))
        if called is not None and not _COMPUTING.fullmatch(str(called)):
            raise ModelError(
                f"{str(path)!r} calls TensorFlow's {called!r}, which is not among the functions that only compute: "
                "build the network in a function of your own and give package.module:function as the teacher."
            )


def _dicts(config: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
