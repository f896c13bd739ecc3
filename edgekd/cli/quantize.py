"""edgekd quantize: an int8 network, calibrated or trained."""

import json
from pathlib import Path

import click

from edgekd.cli import _options


@click.command("quantize")
@click.argument("recipe_or_model")
@_options.recipe_options
@click.option("--dataset", help="For a model: data whose training images set the ranges, such as embedded.")
@click.option("--calibration", help="For a model: see `edgekd list calibrations`.  [default: min_max]")
@click.option("--samples", type=click.IntRange(min=1), help="For a model: how many images.  [default: 512]")
@click.option("--exclude", multiple=True, metavar="LAYER", help="For a model: a layer that stays in float; repeatable.")
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
    as_json: bool,
) -> None:
    """Make the int8 network of RECIPE_OR_MODEL: a recipe's student, taught if the recipe says so, or a saved model.

    A recipe runs to its exported files. Of a saved .keras or .h5 model, <name>-int8.keras computes in float32 what
    <name>-int8.tflite computes; both go to the folder --out, by default the model's own. Keys of the calibration and of
    quantisation-aware training belong into a recipe's `quantize` section.
    """
    plain = {"--dataset": dataset, "--calibration": calibration, "--samples": samples, "--exclude": exclude}
    if Path(recipe_or_model).suffix not in {".keras", ".h5"}:
        from edgekd.cli import _recipes
        from edgekd.errors import RecipeError
        from edgekd.pipeline.stage import EXPORT, STUDENT_QUANTIZED

        _options.refuse_with_recipe(plain)
        chosen = _recipes.read(recipe_or_model, overrides, seed, smoke=smoke)
        if chosen.quantize is None:
            raise RecipeError(
                f"recipe {chosen.name!r} has no quantize section: add one, such as --set quantize.aware.epochs=2."
            )
        until = (STUDENT_QUANTIZED, EXPORT)
        _recipes.work(chosen, _recipes.folder(chosen, out, seed), until=until, as_json=as_json)
        return
    if overrides or smoke:
        raise click.UsageError("--set and --smoke are for recipes; a saved model takes none of them.")
    if not dataset:
        raise click.UsageError("a saved model needs --dataset: its training images set the ranges.")
    from edgekd import api, architectures
    from edgekd.runtime.native_output import import_quietly

    import_quietly("keras")
    model = Path(recipe_or_model)
    network = api.quantize_model(
        architectures.load_model(model),
        api.load_data(dataset),
        calibration=calibration or "min_max",
        samples=samples or 512,
        exclude=exclude,
        seed=seed or 0,
    )
    folder = out or model.parent
    saved = folder / f"{model.stem}-int8.keras"
    architectures.save_model(network, saved)
    artifact = api.export_model(
        network, folder / f"{model.stem}-int8.tflite", scheme="int8", allow_float_operators=bool(exclude)
    )
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "model": str(saved), "artifact": artifact.model_dump(mode="json")}))
        return
    click.echo(f"{saved}")
    click.echo(f"{artifact.path}  {artifact.size_bytes:,} bytes  sha256 {artifact.sha256[:16]}…")
