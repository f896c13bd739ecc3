"""One file per format. A file is written whole or not at all, and only after its own runtime has run it.

A format is a plug-in that states SUFFIX and defines `export(model, path, calibration, *, ...)`, whose keyword
arguments are the format's options, `embed(path, key, text)`, which puts a text into the file's metadata, and
`reopen(path, sample)`, which returns the file's specs after its runtime has run the sample.
Importing this package imports no TensorFlow.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekd import kernel_values, quantize, registry, storage
from edgekd import provenance as _provenance
from edgekd.errors import ModelError, RecipeError, unknown_name
from edgekd.export._c_source import CSource, check_c_name, write_c_source
from edgekd.provenance import Origin, Provenance
from edgekd.quantize import Scheme, byte_range
from edgekd.quantize import calibration as usable
from edgekd.recipe import check_layers
from edgekd.records import Artifact, Preprocessing

if TYPE_CHECKING:
    from edgekd.export._source import Source

__all__ = [
    "CSource",
    "Origin",
    "check_c_name",
    "check_layer_names",
    "check_preprocessing",
    "convert_model",
    "export_model",
    "source_of",
    "write_c_source",
]

_BYTES = ("int8", "uint8")


def source_of(model: Any) -> "Source":
    """Returns a model as `export_model` sees it; that takes this too.

    It holds the model's variables, which a function of a SavedModel refers to only weakly.

    Args:
      model: as for `export_model`.

    Raises:
      ModelError: nothing that can be exported, or a model that does not tell what it takes.
    """
    from edgekd.export import _source

    return _source.source_of(model)


def export_model(
    model: Any,
    path: Path | str,
    *,
    format: str,  # noqa: A002 - the recipe's own word
    scheme: str,
    name: str,
    source: str,
    calibration: np.ndarray[Any, Any] | None = None,
    batch: int | None = 1,
    shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    input_names: Sequence[str] | Mapping[str, str] | None = None,
    output_names: Sequence[str] | Mapping[str, str] | None = None,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
    preprocessing: str = "inside",
    origin: Origin | None = None,
    **options: Any,
) -> Artifact:
    """Returns the record of the file it has exported, re-opened and run on one sample.

    The file says in its metadata where it comes from (see `edgekd.provenance`). Whatever was at `path` is replaced
    atomically, and stays when anything fails.

    Args:
      model: with float32 inputs and outputs: a Keras 3 model (functional, sequential, or subclassed and built by a
        call on one tensor), a functional or sequential tf_keras model, or a ConcreteFunction of TensorFlow, such as
        `tf.saved_model.load(folder).signatures["serving_default"]`. Schemes that need calibration take one input.
      path: the file to write, with the format's suffix.
      format: a plug-in of this package, such as `tflite`.
      scheme: a scheme's name or alias, which the format can carry.
      name: what the artifact is called in records.
      source: which model it is made from, for the record.
      calibration: [samples, *input shape] float32 inputs, preprocessed as for training. Schemes that need no
        calibration ignore it.
      batch: the batch size of the file, or None for one that may vary.
      shape: one sample's shape, such as [96, 96, 3], for a model that leaves sizes open; {input's name: shape} where
        there are several inputs.
      input_names: names of the inputs, in the model's order; or {the model's name: the file's name} for every input,
        in the order that the file shall have. By default the model's own names and order.
      output_names: likewise; as a mapping it may also leave outputs out. By default a single output is called as the
        format's option `output_name` says, several as the model calls them.
      input_dtype: float32, or int8 or uint8 with the scheme int8. Where the calibration samples are bytes (whole
        numbers from 0 to 255, or those over 255), the integers are the bytes: as they are for uint8, less 128 for int8.
      output_dtype: likewise.
      preprocessing: what becomes of the Rescaling and Normalization layers (one factor and shift for each channel)
        that a functional or sequential Keras 3 model begins with. `inside`: they stay in the graph. `outside`: the file
        takes preprocessed values, and its metadata says how the caller computes them. `fold`: they become part of the
        first layer's weights, or of the scale and zero point of an integer input; where the first layer pads zeros,
        only the factor can, and the shift stays in the graph.
      origin: what is known of the network's training, for the file's metadata.
      **options: the format's own options, such as `opset` (onnx), `allow_select_tf_ops` (tflite) or `layers` (tflite):
        other schemes for some layers.

    Raises:
      RecipeError: an unknown format, scheme, option, name or dtype, or ones that do not go together.
      DataError: calibration is missing, empty, constant, not finite or not of the model's shape and dtype.
      ModelError: the model cannot be converted, or the file does not run.
      NonFiniteError: a weight, or an output of the file, is NaN or infinite.
      StorageError: the file cannot be written.
    """
    path = Path(path)
    job = _job(
        model,
        path,
        format,
        scheme,
        calibration,
        batch=batch,
        shape=shape,
        input_names=input_names,
        output_names=output_names,
        input_dtype=input_dtype,
        output_dtype=output_dtype,
        preprocessing=preprocessing,
        options=options,
    )
    from edgekd.export import _source

    network, shown, exporter = job.network, job.shown, job.exporter
    generator = np.random.default_rng(0)
    sample = [generator.random((1, *_source.sample_shape(spec)), np.float32) for spec in network.inputs]
    with storage.atomic_path(path) as partial:
        left_in_float = job.write(partial)
        described = _described(network, origin, source, job.label, shown, job.placed)
        exporter.embed(partial, _provenance.KEY, described.to_json())
        inputs, outputs = exporter.reopen(partial, sample if shown is None else [shown[:1]])
        size_bytes, sha256 = partial.stat().st_size, storage.sha256_file(partial)
        gzip_bytes, kernels = storage.gzip_size(partial), kernel_values.of_file(partial)
    return Artifact(
        name=name,
        source=source,
        format=format,
        scheme=job.label,
        path=str(path),
        size_bytes=size_bytes,
        gzip_bytes=gzip_bytes,
        sha256=sha256,
        inputs=inputs,
        outputs=outputs,
        float_operators=left_in_float,
        kernels=kernels,
        preprocessing=job.placed,
    )


def convert_model(
    model: Any,
    path: Path,
    *,
    format: str,  # noqa: A002 - as for export_model
    scheme: str,
    calibration: np.ndarray[Any, Any] | None = None,
    batch: int | None = 1,
    shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    input_dtype: str = "float32",
    output_dtype: str = "float32",
    preprocessing: str = "inside",
    **options: Any,
) -> tuple[str, ...]:
    """Writes the file that `export_model` would write, and neither describes nor runs it: a trial of the converter.

    Returns:
      The operators that the scheme left in float.

    Raises:
      EdgekdError: as `export_model`, until the file is written.
    """
    job = _job(
        model,
        path,
        format,
        scheme,
        calibration,
        batch=batch,
        shape=shape,
        input_dtype=input_dtype,
        output_dtype=output_dtype,
        preprocessing=preprocessing,
        options=options,
    )
    return job.write(path)


@dataclasses.dataclass(frozen=True)
class _Job:
    """A model and the file that is to be made of it, which go together as far as can be told before.

    `shown` are the calibration samples as they were given, `samples` as the file takes them.
    """

    model: Any
    network: "Source"
    scheme: Scheme
    label: str
    shown: np.ndarray[Any, Any] | None
    samples: np.ndarray[Any, Any] | None
    placed: tuple[Preprocessing, ...]
    exporter: Any
    aware: bool
    arguments: Mapping[str, Any]

    def write(self, path: Path) -> tuple[str, ...]:
        """Writes the file, and returns what it leaves in float."""
        with _traceable(self.model if self.aware else None):
            left: tuple[str, ...] = self.exporter.export(
                self.network, path, self.samples, scheme=self.scheme.name, **self.arguments
            )
        return left


def _job(
    model: Any,
    path: Path,
    format_: str,
    scheme: str,
    calibration: np.ndarray[Any, Any] | None,
    *,
    batch: int | None,
    shape: Sequence[int] | Mapping[str, Sequence[int]] | None,
    input_names: Sequence[str] | Mapping[str, str] | None = None,
    output_names: Sequence[str] | Mapping[str, str] | None = None,
    input_dtype: str,
    output_dtype: str,
    preprocessing: str,
    options: Mapping[str, Any],
) -> _Job:
    registry.require(__name__, format_)
    plugin = registry.describe(__name__, format_, entry="export")
    chosen = quantize.scheme(scheme)
    _check_choice(plugin, chosen, path, batch=batch, dtypes={"input_dtype": input_dtype, "output_dtype": output_dtype})
    kind = f"option of format {format_!r}"
    registry.check_arguments(plugin, options, kind=kind)
    registry.check_types(plugin, options, kind=kind)
    layers = options.get("layers")
    check_layers(layers, scheme, dtypes=(input_dtype, output_dtype))
    if output_names is not None and "output_name" in options:
        raise RecipeError("output_names and output_name both name the outputs: give one of them.")

    from edgekd.export import _preprocessing, _source

    original = _source.source_of(model)
    if layers:
        check_layer_names(model, layers)
    aware = _require_fitting(model, chosen, mixed=bool(layers))
    calibrated = quantize.needs_calibration(scheme, layers) and not aware
    shown = _calibration(_source.chosen(original, shape=shape), calibration, chosen) if calibrated else None
    takes_bytes = input_dtype in _BYTES
    step = byte_range.byte_step(shown) if shown is not None and takes_bytes else None
    placed: tuple[Preprocessing, ...] = ()
    if preprocessing != "inside":
        original, placed = _preprocessing.placed(model, preprocessing, quantised=aware, bytes_in=takes_bytes, step=step)
    network = _source.chosen(original, input_names=input_names, output_names=output_names, shape=shape)
    renamed = _source.input_names_in_file(original, input_names)
    placed = tuple(each.model_copy(update={"input": renamed[each.input]}) for each in placed)
    _source.check_weights(network)
    samples = None if shown is None else _as_the_file_takes(shown, placed, step)
    arguments = {"batch": batch, "input_dtype": input_dtype, "output_dtype": output_dtype, **options}
    label, exporter = quantize.label(scheme, layers), registry.load(__name__, format_)
    return _Job(model, network, chosen, label, shown, samples, placed, exporter, aware, arguments)


def check_layer_names(model: Any, layers: Mapping[str, str]) -> None:
    """Raises what `export_model` raises for names of `layers` that a model does not have, as far as its layers tell.

    Args:
      model: as for `export_model`.
      layers: schemes by patterns of layer names.

    Raises:
      RecipeError: patterns that name no layer; the message has them all.
    """
    from edgekd.export import _layers

    _layers.check_names(model, layers)


def check_preprocessing(model: Any, choice: str) -> None:
    """Raises what `export_model` raises where a choice of preprocessing does not go with a model's first layers.

    Args:
      model: as for `export_model`.
      choice: `inside`, `outside` or `fold`.

    Raises:
      RecipeError: an unknown choice.
      ModelError: the model begins with no such layer, or its layers cannot be seen.
    """
    from edgekd.export import _preprocessing

    _preprocessing.check(model, choice)


def _as_the_file_takes(
    samples: np.ndarray[Any, Any], placed: tuple[Preprocessing, ...], step: float | None
) -> np.ndarray[Any, Any]:
    """Returns calibration samples as the file takes them; bytes show the whole range that bytes can have.

    What is missing at an end of the range is shown by a copy of the sample that comes nearest to it, in which that one
    value is at the end; of several such values it is the one whose place varies most. So what later layers give is what
    real samples give, but for one value that is only a little beyond its own: an end put anywhere else, such as into a
    corner that is always dark, may meet weights that nothing has ever trained.
    """
    from edgekd.export import _preprocessing
    from edgekd.runtime.preprocessing import preprocessed

    record = placed[0] if placed else None
    taken = samples if record is None else preprocessed(samples, record)
    limits = None if step is None else _preprocessing.byte_limits(step, record)
    if limits is None:
        return taken
    further = []
    for limit, nearest in zip(limits, (taken.min(), taken.max()), strict=True):
        if nearest != np.float32(limit):
            spreads = np.where(taken == nearest, np.ptp(taken, axis=0), -1)
            sample, *place = np.unravel_index(spreads.argmax(), taken.shape)
            widened = taken[sample].copy()
            widened[tuple(place)] = limit
            further.append(widened)
    return np.concatenate([taken, further]) if further else taken


def _require_fitting(model: Any, scheme: Scheme, *, mixed: bool) -> bool:
    """Returns whether the model brings its ranges along; raises RecipeError where they are not for this scheme."""
    import keras

    from edgekd.quantize import aware

    if not (isinstance(model, keras.Model) and aware.is_quantize_aware(model)):
        return False
    if not scheme.aware:
        raise RecipeError(
            f"model {model.name!r} is fake-quantised to int8 and cannot become {scheme.name}: export it as int8, or "
            "export the float network that it was made from."
        )
    if mixed:
        raise RecipeError(
            f"model {model.name!r} is fake-quantised to int8 throughout, so its layers cannot have other schemes: "
            "export the float network that it was made from, or exclude layers there."
        )
    return True


def _traceable(model: Any) -> "contextlib.AbstractContextManager[None]":
    """Returns a block within which a quantisation-aware model, if there is one, is traced for the converter."""
    if model is None:
        return contextlib.nullcontext()
    from edgekd.quantize import aware

    return aware.exporting(model)


def _calibration(network: "Source", calibration: np.ndarray[Any, Any] | None, scheme: Scheme) -> np.ndarray[Any, Any]:
    from edgekd.export._source import sample_shape

    if len(network.inputs) != 1:
        names = ", ".join(spec.name for spec in network.inputs)
        raise ModelError(
            f"model {network.name!r} has {len(network.inputs)} inputs ({names}), and scheme {scheme.name!r} is "
            "calibrated on samples of one: export it with a scheme that needs no calibration, or quantise the part "
            "behind one input."
        )
    return usable.require_usable(calibration, sample_shape(network.inputs[0]))


def _described(
    network: "Source",
    origin: Origin | None,
    source: str,
    scheme: str,
    samples: np.ndarray[Any, Any] | None,
    placed: tuple[Preprocessing, ...],
) -> Provenance:
    from edgekd.architectures import weights_sha256

    digest = None
    if samples is not None:
        content = hashlib.sha256(f"{samples.dtype.str}{samples.shape}".encode())
        content.update(np.ascontiguousarray(samples).data)
        digest = content.hexdigest()
    return Provenance(
        **({} if origin is None else {key: getattr(origin, key) for key in Origin.model_fields}),
        source=source,
        scheme=scheme,
        weights_sha256=weights_sha256(network) if network.weights else None,
        calibration_sha256=digest,
        calibration_samples=None if samples is None else len(samples),
        preprocessing=placed,
        versions=_provenance.versions(),
    )


def _check_choice(
    plugin: registry.Plugin, scheme: Scheme, path: Path, *, batch: int | None, dtypes: dict[str, str]
) -> None:
    if plugin.name not in scheme.formats:
        carried = ", ".join(each.name for each in quantize.all_schemes() if plugin.name in each.formats)
        raise RecipeError(
            f"format {plugin.name!r} cannot carry scheme {scheme.name!r}: choose one of {carried}, or export it as "
            f"{' or '.join(scheme.formats)}."
        )
    suffix = plugin.constants["SUFFIX"]
    if path.suffix != suffix:
        raise RecipeError(f"a {plugin.name} file must be named *{suffix}, not {path.name!r}.")
    if batch is not None and (type(batch) is not int or batch < 1):
        raise RecipeError(f"batch must be a positive whole number, or None for one that may vary, not {batch!r}.")
    for key, dtype in dtypes.items():
        known = sorted({each for other in quantize.all_schemes() for each in other.dtypes})
        if dtype not in known:
            raise RecipeError(unknown_name(key, dtype, known))
        if dtype not in scheme.dtypes:
            raise RecipeError(
                f"{key} {dtype!r} does not go with scheme {scheme.name!r}, whose files can have "
                f"{' or '.join(scheme.dtypes)}."
            )
