"""edgekd export: TFLite and ONNX files of a Keras model."""

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd import storage
from edgekd.cli import _options

if TYPE_CHECKING:  # --help must not wait for it
    from edgekd.data.dataset import Dataset

_FLOAT_BITS = 16  # weights of as many bits or more are floats


@click.command("export")
@click.argument("recipe_or_model")
@_options.recipe_options
@click.option("--format", "formats", multiple=True, help="For a model: tflite or onnx; repeatable.  [default: tflite]")
@click.option("--scheme", "schemes", multiple=True, help="For a model: see `edgekd list schemes`; repeatable.")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="PATTERN=SCHEME",
    help="For a model: another scheme for the layers of that name, such as logits=float32; repeatable.",
)
@click.option(
    "--dataset", help="For a model: data whose training images set int8 ranges; its keys by --set data.KEY=VALUE."
)
@click.option("--samples", type=click.IntRange(min=1), help="For a model: how many of them.  [default: 512]")
@click.option("--batch", help="For a model: a fixed batch size, or dynamic.  [default: 1]")
@click.option("--input-dtype", help="For a model: float32, int8 or uint8.  [default: float32]")
@click.option("--output-dtype", help="For a model: float32, int8 or uint8.  [default: float32]")
@click.option(
    "--preprocessing",
    type=_options.Choice(["inside", "outside", "fold"]),
    help="For a model: whether the Rescaling and Normalization that it begins with stay inside the graph, are left to "
    "the caller, or are folded into the first layer or the scale of an integer input.  [default: inside]",
)
@click.option("--c-source", is_flag=True, help="For a model: write every TFLite file as C for microcontrollers, too.")
@click.option("--c-name", metavar="NAME", help="With --c-source: of the array and the C files.  [default: the file's]")
@click.option("--check", is_flag=True, help="For a model: write nothing, and say what targets cannot carry.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME[,NAME]...",
    help="With --check: qat, tflite, onnx, tflite-micro, ethos-u55-128, ...; repeatable.  [default: the first four]",
)
@click.option("--opset", type=int, help="For a model: the version of ONNX's operators.  [default: 17]")
@click.option(
    "--exclude",
    multiple=True,
    metavar="LAYER",
    help="For a model: stays in float, as --layer LAYER=float32; with --check for target qat; repeatable.",
)
@click.option("--shape", metavar="96x96x3", help="For a model: one sample's shape, where it leaves sizes open.")
@_options.json_option
@_options.debug_option
def command(
    recipe_or_model: str,
    overrides: tuple[str, ...],
    seed: int | None,
    smoke: bool,
    out: Path | None,
    formats: tuple[str, ...],
    schemes: tuple[str, ...],
    layers: tuple[str, ...],
    dataset: str | None,
    samples: int | None,
    batch: str | None,
    input_dtype: str | None,
    output_dtype: str | None,
    preprocessing: str | None,
    c_source: bool,
    c_name: str | None,
    check: bool,
    targets: tuple[str, ...],
    opset: int | None,
    exclude: tuple[str, ...],
    shape: str | None,
    as_json: bool,
) -> None:
    """Write TFLite and ONNX files of RECIPE_OR_MODEL: a recipe's student, or a saved model.

    That is a .keras or .h5 file or a SavedModel folder.

    A model's files go to the folder --out, by default the model's own. A file of the same name there is replaced once
    the new one is whole. Every file is opened again in its runtime.

    With --check no file is left behind: the model, trained or not, is converted for each target to see which layers it
    cannot carry, and what to write instead. A .tflite file can be checked too. Exit status 1 says that there are some.
    """
    if check:
        writing = {"--set": overrides, "--smoke": smoke, "--out": out, "--format": formats, "--dataset": dataset}
        _refuse_beside(
            {
                **writing,
                "--samples": samples,
                "--c-source": c_source,
                "--c-name": c_name,
                "--seed": seed is not None,
                "--layer": layers,
            },
            "--check",
        )
        options = {
            "input_dtype": input_dtype,
            "output_dtype": output_dtype,
            "batch": batch,
            "opset": opset,
            "preprocessing": preprocessing,
            "shape": None if shape is None else _sizes(shape),
        }
        _check(recipe_or_model, targets, schemes, exclude, options, as_json=as_json)
        return
    if targets:
        raise click.UsageError("--target goes with --check.")
    plain = {
        "--format": formats,
        "--scheme": schemes,
        "--layer": layers,
        "--dataset": dataset,
        "--samples": samples,
        "--batch": batch,
        "--input-dtype": input_dtype,
        "--output-dtype": output_dtype,
        "--preprocessing": preprocessing,
        "--c-source": c_source,
        "--c-name": c_name,
        "--opset": opset is not None,
        "--exclude": exclude,
        "--shape": shape,
    }
    if not _is_model(Path(recipe_or_model)):
        from edgekd.cli import _recipes
        from edgekd.pipeline.stage import EXPORT

        _options.refuse_with_recipe(plain)
        chosen = _recipes.read(recipe_or_model, overrides, seed, smoke=smoke)
        _recipes.work(chosen, _recipes.folder(chosen, out, seed), until=(EXPORT,), as_json=as_json, smoke=smoke)
        return
    chosen_data = _options.data_of_model(dataset, overrides, smoke=smoke)
    from edgekd import api, architectures, microcontroller, quantize, recipe
    from edgekd.export import check_layer_names
    from edgekd.report import formatting
    from edgekd.runtime.native_output import import_quietly
    from edgekd.teachers import exportable

    model = Path(recipe_or_model)
    if c_source:
        microcontroller.require_installed()
    sizes = None if shape is None else _sizes(shape)
    specs = [
        recipe.section(
            recipe.Export,
            {
                "format": file_format,
                "scheme": scheme,
                "batch": _batch(batch),
                "input_dtype": input_dtype or "float32",
                "output_dtype": output_dtype or "float32",
                "preprocessing": preprocessing or "inside",
                **own,
            },
        )
        for file_format, scheme, own in _own_options(
            formats or ("tflite",), schemes or ("float32",), layers, exclude, opset
        )
    ]
    _check_c_name(c_name, [spec.format for spec in specs], c_source=c_source)
    exportable.check_path(model)
    calibrated = sorted(
        {
            quantize.label(spec.scheme, spec.layers)
            for spec in specs
            if quantize.needs_calibration(spec.scheme, spec.layers)
        }
    )
    if calibrated and not dataset and not architectures.brings_ranges(model):
        raise click.UsageError(f"scheme {', '.join(calibrated)} needs --dataset: its training images set the ranges.")
    data = _data(chosen_data, samples)
    import_quietly("keras")  # which takes long: what could be told before it was told
    network = exportable.open_model(model)
    for spec in specs:
        check_layer_names(network, spec.layers)  # before any file is calibrated and written
    paths = [(out or model.parent) / spec.file_name.replace("student", model.stem, 1) for spec in specs]
    replaced = {str(path) for path in paths if path.exists()}
    artifacts = [
        api.export_model(
            network,
            path,
            scheme=spec.scheme,
            data=data,
            samples=samples or 512,
            seed=seed or 0,
            batch=None if spec.batch == "dynamic" else spec.batch,
            input_dtype=spec.input_dtype,
            output_dtype=spec.output_dtype,
            shape=sizes,
            preprocessing=spec.preprocessing,
            **spec.arguments,
        )
        for spec, path in zip(specs, paths, strict=True)
    ]
    written = [
        api.write_c_source(artifact.path, Path(artifact.path).parent, name=c_name)
        for artifact in artifacts
        if c_source and artifact.format == "tflite"
    ]
    if as_json:
        document = {
            "schema_version": 1,
            "artifacts": [artifact.model_dump(mode="json") for artifact in artifacts],
            "c_sources": [each.model_dump(mode="json") for each in written],
        }
        click.echo(json.dumps(document, indent=2))
        return
    for artifact in artifacts:
        before = "  replaces a file" if artifact.path in replaced else ""
        click.echo(f"{artifact.path}  {artifact.size_bytes:,} bytes  sha256 {artifact.sha256[:16]}…{before}")
        for record in artifact.preprocessing:
            click.echo(f"  {formatting.preprocessing(record)}")
    for each in written:
        names = ", ".join((each.header, each.source, each.resolver))
        click.echo(f"{names}  arena of {each.arena_bytes:,} bytes  {', '.join(each.operators)}")


def _own_options(
    formats: tuple[str, ...],
    schemes: tuple[str, ...],
    layers: tuple[str, ...],
    exclude: tuple[str, ...],
    opset: int | None,
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yields each file's format and scheme with those options that not every file can have.

    Raises:
      UsageError: an option that none of the files can have.
    """
    from edgekd import quantize

    if opset is not None and "onnx" not in formats:
        raise click.UsageError("--opset is for ONNX files: add --format onnx, or leave it out.")
    quantised = {name for name in schemes if quantize.scheme(name).weight_bits < _FLOAT_BITS}
    if exclude and not quantised:
        raise click.UsageError(
            f"--exclude leaves layers in float, and scheme {', '.join(schemes)} leaves all of them: choose another "
            "scheme, or leave it out."
        )
    if exclude and "tflite" not in formats:
        raise click.UsageError(
            "--exclude is for TFLite files: all layers of an ONNX file have one scheme. Add --format tflite, or leave "
            "it out."
        )
    by_pattern = _by_pattern(layers)
    repeated = sorted(by_pattern.keys() & set(exclude))
    if repeated:
        raise click.UsageError(f"--exclude and --layer both name {', '.join(repeated)}: give each once.")
    for file_format, scheme in itertools.product(formats, schemes):
        own: dict[str, Any] = {}
        in_float = dict.fromkeys(exclude, "float32") if file_format == "tflite" and scheme in quantised else {}
        if by_pattern or in_float:
            own["layers"] = {**by_pattern, **in_float}
        if opset is not None and file_format == "onnx":
            own["opset"] = opset
        yield file_format, scheme, own


def _data(section: dict[str, Any], samples: int | None) -> "Dataset | None":
    """Returns the data that calibrate, if any were named; so many samples as were asked for must be there."""
    if section["dataset"] is None:
        return None
    from edgekd import api
    from edgekd.data.calibration import require_as_many

    data = api.load_data(**section)
    if samples is not None:
        require_as_many(data.train, samples)
    return data


def _sizes(text: str) -> tuple[int, ...]:
    sizes = text.lower().split("x")
    if not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise click.BadParameter(f"{text!r} is not of the form 96x96x3: one sample's sizes.", param_hint="--shape")
    return tuple(int(size) for size in sizes)


def _check(
    model: str,
    targets: tuple[str, ...],
    schemes: tuple[str, ...],
    exclude: tuple[str, ...],
    options: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """Prints what of a model its targets cannot carry, and leaves with exit status 1 where there is something."""
    if not _is_model(Path(model)):
        raise click.UsageError(f"--check takes a saved model, not {model!r}: a recipe is checked when it is run.")
    from edgekd import api, portability
    from edgekd.cli import _tables
    from edgekd.runtime.native_output import import_quietly
    from edgekd.teachers import exportable

    if Path(model).suffix.lower() == ".tflite":
        storage.require_file(Path(model), "TFLite file")
    else:
        exportable.check_path(Path(model))
    chosen = portability.parse(targets) if targets else None
    import_quietly("keras")
    given = {key: value for key, value in options.items() if value is not None}
    if "batch" in given:
        size = _batch(given["batch"])
        given["batch"] = None if size == "dynamic" else size
    found = api.check_export(model, targets=chosen, schemes=schemes or None, exclude=exclude, **given)
    if as_json:
        _options.print_json(found)
    else:
        _tables.print_check(found)
    if found.findings:
        sys.exit(1)


def _check_c_name(name: str | None, formats: Sequence[str], *, c_source: bool) -> None:
    """Raises before any work where `--c-name` has no meaning, or C cannot take it."""
    if name is None:
        return
    from edgekd.export import check_c_name

    if not c_source:
        raise click.UsageError("--c-name goes with --c-source.")
    check_c_name(name)
    count = formats.count("tflite")
    if count != 1:
        raise click.UsageError(f"--c-name is for one TFLite file, and {count} are asked for: export one at a time.")


def _refuse_beside(options: dict[str, Any], other: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise click.UsageError(f"{', '.join(given)} cannot be combined with {other}.")


def _batch(text: str | None) -> int | str:
    return int(text) if text and text.isdigit() else text or 1


def _is_model(path: Path) -> bool:
    return path.suffix in {".keras", ".h5", ".tflite", ".onnx"} or (path / "saved_model.pb").is_file()


def _by_pattern(layers: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in layers:
        pattern, equals, scheme = text.partition("=")
        if not (pattern and equals and scheme) or pattern in found:
            raise click.BadParameter(
                f"{text!r} is not of the form PATTERN=SCHEME, each pattern once, such as logits=float32.",
                param_hint="--layer",
            )
        found[pattern] = scheme
    return found
