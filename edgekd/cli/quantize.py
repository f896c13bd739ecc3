"""edgekd quantize: an int8 network, calibrated or trained."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd.cli import _options

if TYPE_CHECKING:  # --help must not wait for them
    from edgekd.data.dataset import Dataset
    from edgekd.recipe import Recipe
    from edgekd.records import Sensitivity


@click.command("quantize")
@click.argument("recipe_or_model")
@_options.recipe_options
@click.option(
    "--dataset", help="For a model: data whose training images set the ranges; its keys by --set data.KEY=VALUE."
)
@click.option("--calibration", help="For a model: see `edgekd list calibrations`.  [default: min_max]")
@click.option("--samples", type=click.IntRange(min=1), help="For a model: how many images.  [default: 512]")
@click.option("--exclude", multiple=True, metavar="LAYER", help="For a model: a layer that stays in float; repeatable.")
@click.option("--sensitivity", is_flag=True, help="Find the layers that suffer from int8, and leave those in float.")
@click.option(
    "--max-accuracy-drop",
    type=click.FloatRange(0, 1),
    help="With --sensitivity: the accuracy that a file may lose against the float network.  [default: 0.005]",
)
@click.option(
    "--validation-images",
    type=click.IntRange(min=1),
    help="With --sensitivity: how many judge the layers.  [default: 1000]",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="With --sensitivity: fresh processes that measure each file's latency.  [default: 5]",
)
@_options.json_option
@_options.debug_option
def command(
    recipe_or_model: str,
    overrides: tuple[str, ...],
    seed: int | None,
    smoke: bool,
    out: Path | None,
    dataset: str | None,
    calibration: str | None,
    samples: int | None,
    exclude: tuple[str, ...],
    sensitivity: bool,
    max_accuracy_drop: float | None,
    validation_images: int | None,
    processes: int | None,
    as_json: bool,
) -> None:
    """Make the int8 network of RECIPE_OR_MODEL: a recipe's student, taught if the recipe says so, or a saved model.

    A recipe runs to its exported files. Of a saved .keras or .h5 model, <name>-int8.keras computes in float32 what
    <name>-int8.tflite computes; both go to the folder --out, by default the model's own. Keys of the calibration and of
    quantisation-aware training belong into a recipe's `quantize` section.

    With --sensitivity each layer is quantised alone, and all but it, and judged on validation images. The layers that
    must stay in float for the accuracy go into <name>-mixed.tflite and <name>-mixed.yaml, a recipe with
    `quantize.exclude`; the table is kept as <name>-sensitivity.json. The chosen file is measured once on the test
    split, since the images that chose it flatter it. A recipe's float student is analysed in the folder `sensitivity`
    of its run. Ends with exit status 1 where no file fits.
    """
    limits = {
        "--max-accuracy-drop": ("max_accuracy_drop", max_accuracy_drop),
        "--validation-images": ("images", validation_images),
        "--processes": ("processes", processes),
    }
    given = {key: value for key, value in limits.values() if value is not None}
    if given and not sensitivity:
        named = ", ".join(option for option, (_, value) in limits.items() if value is not None)
        raise click.UsageError(f"{named} goes with --sensitivity: add it, or remove {named}.")
    plain = {"--dataset": dataset, "--calibration": calibration, "--samples": samples, "--exclude": exclude}
    if Path(recipe_or_model).suffix in {".tflite", ".onnx"}:
        raise click.UsageError(
            f"{recipe_or_model!r} is an exported file, whose numbers stay as they are: give the Keras network that it "
            "was made from."
        )
    if Path(recipe_or_model).suffix not in {".keras", ".h5"}:
        from edgekd.cli import _recipes
        from edgekd.errors import RecipeError
        from edgekd.pipeline.stage import EXPORT, STUDENT_QUANTIZED

        _options.refuse_with_recipe(plain)
        chosen = _recipes.read(recipe_or_model, overrides, seed, smoke=smoke)
        if sensitivity:
            _analyse_student(chosen, _recipes.folder(chosen, out, seed), given, as_json=as_json)
            return
        if chosen.quantize is None:
            raise RecipeError(
                f"recipe {chosen.name!r} has no quantize section: add one, such as --set quantize.aware.epochs=2."
            )
        until = (STUDENT_QUANTIZED, EXPORT)
        _recipes.work(chosen, _recipes.folder(chosen, out, seed), until=until, as_json=as_json, smoke=smoke)
        return
    chosen_data = _options.data_of_model(dataset, overrides, smoke=smoke)
    if not dataset:
        raise click.UsageError("a saved model needs --dataset: its training images set the ranges.")
    from edgekd import api, architectures
    from edgekd.data.calibration import require_as_many
    from edgekd.runtime.native_output import import_quietly

    model = architectures.check_model_file(recipe_or_model)
    folder = out or model.parent
    chosen_settings: dict[str, Any] = {
        "calibration": calibration or "min_max",
        "samples": samples or 512,
        "exclude": exclude,
        "seed": seed or 0,
    }
    data = api.load_data(**chosen_data)
    if samples is not None:
        require_as_many(data.train, samples)
    if sensitivity:
        _analyse_saved(model, chosen_data, data, folder, {**chosen_settings, **given}, as_json=as_json)
        return
    import_quietly("keras")  # which takes long: what could be told before it was told
    network = api.quantize_model(architectures.load_model(model), data, **chosen_settings)
    path = folder / f"{model.stem}-int8.tflite"
    before = "  replaces a file" if path.exists() else ""
    artifact = api.export_model(  # first, since it may be refused: then nothing is written
        network,
        path,
        scheme="int8",
        shape=data.input_shape,
        allow_float_operators=bool(exclude),
    )
    saved = folder / f"{model.stem}-int8.keras"
    architectures.save_model(network, saved)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "model": str(saved), "artifact": artifact.model_dump(mode="json")}))
        return
    click.echo(f"{saved}")
    click.echo(f"{artifact.path}  {artifact.size_bytes:,} bytes  sha256 {artifact.sha256[:16]}…{before}")


def _analyse_student(recipe: "Recipe", out: Path, limits: dict[str, Any], *, as_json: bool) -> None:
    from edgekd.cli._progress import TerminalProgress
    from edgekd.distill.stopping import StopRequest
    from edgekd.pipeline import excluding

    stop = StopRequest()
    with stop.handling_signals(), TerminalProgress(quiet=as_json) as progress:
        record, written = excluding.analyse_student(recipe, out, progress=progress, stop=stop, **limits)
    _show(record, written, as_json=as_json)


def _analyse_saved(
    model: Path, section: dict[str, Any], data: "Dataset", folder: Path, settings: dict[str, Any], *, as_json: bool
) -> None:
    from edgekd.cli._progress import TerminalProgress
    from edgekd.pipeline import excluding

    with TerminalProgress(quiet=as_json) as progress:
        record, written = excluding.analyse_saved(model, section, data, folder, progress=progress, **settings)
    _show(record, written, as_json=as_json)


def _show(record: "Sensitivity", written: Path | None, *, as_json: bool) -> None:
    """Prints an analysis, and leaves with exit status 1 where no file fits."""
    from edgekd.cli import _tables

    if as_json:
        _options.print_json(record)
    else:
        _tables.print_sensitivity(record)
        if written is not None:
            click.echo(f"recipe: {written}")
        elif record.kept is not None:
            click.echo("no recipe is written: int8 fits, so that no further layer must be excluded")
    if record.kept is None:
        raise SystemExit(1)
