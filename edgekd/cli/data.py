"""edgekd data: look at datasets, and prepare TFDS ones from files at hand."""

import json
from pathlib import Path

import click

from edgekd.cli import _options


@click.group("data")
def command() -> None:
    """Look at datasets, and prepare TFDS ones without a network."""


@command.command("import")
@click.argument("name")
@click.option(
    "--from", "source", required=True, type=click.Path(path_type=Path), help="Folder with the downloaded files."
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="TFDS folder.  [default: TFDS's own]")
@_options.json_option
@_options.debug_option
def import_(name: str, source: Path, data_dir: Path | None, as_json: bool) -> None:
    """Let TFDS prepare its dataset NAME offline from files that you have; their checksums are verified."""
    from edgekd.data.tfds_import import import_dataset

    folder = import_dataset(name, source=source, data_dir=data_dir)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "dataset": f"tfds:{name}", "folder": str(folder)}, indent=2))
        return
    where = f" --set data.data_dir={data_dir}" if data_dir else ""
    click.echo(f"{name} is prepared in {folder}. Use it with --set data.dataset=tfds:{name}{where}")


@command.command("show")
@click.argument("dataset")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the source; repeatable.")
@_options.json_option
@_options.debug_option
def show(dataset: str, options: tuple[str, ...], as_json: bool) -> None:
    """Show DATASET's splits, sample shape, classes and fingerprint: embedded, tfds:NAME, image_folder:DIR, ..."""
    from edgekd import recipe
    from edgekd.pipeline import load_data

    section = recipe.data_section(dataset, overrides=options)
    record = load_data(section).record()
    if as_json:
        _options.print_json(record)
        return
    click.echo(f"{record.name}: {record.train} training, {record.validation} validation, {record.test} test samples")
    click.echo(f"samples: {' x '.join(map(str, record.input_shape))}, preprocessing: {record.preprocessing}")
    click.echo(f"{len(record.class_names)} classes: {', '.join(record.class_names)}")
    click.echo(f"fingerprint: {record.fingerprint}")
