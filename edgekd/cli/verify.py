"""edgekd verify: is the exported file still the model that was trained?"""

import json
from pathlib import Path

import click

from edgekd.cli import _options


@click.command("verify")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("candidates", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--data", "dataset", required=True, help="Real samples to compare on, such as embedded or tfds:NAME.")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the data; repeatable.")
@click.option(
    "--split", type=click.Choice(["validation", "test"]), default="test", show_default=True, help="Which of its splits."
)
@click.option(
    "--max-accuracy-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="The reference's accuracy minus the candidate's may be at most this.",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    default=0.98,
    show_default=True,
    help="At least this fraction of samples must get the same class from both.",
)
@_options.json_option
@_options.debug_option
def command(
    reference: Path,
    candidates: tuple[Path, ...],
    dataset: str,
    options: tuple[str, ...],
    split: str,
    max_accuracy_drop: float,
    min_agreement: float,
    as_json: bool,
) -> None:
    """Compare each of CANDIDATES with REFERENCE (Keras, TFLite or ONNX files) on real samples.

    Ends with exit status 1 where a gate fails: the accuracy drops by more, or fewer samples agree on the class.
    """
    from edgekd import api, recipe, runtime
    from edgekd.cli import _tables
    from edgekd.pipeline import load_data
    from edgekd.runtime.native_output import import_quietly
    from edgekd.verify import gates

    if any(runtime.engine_of(path) == "keras" for path in (reference, *candidates)):
        import_quietly("keras")
    data = load_data(recipe.data_section(dataset, overrides=options))
    # Two files may have one name, in two folders.
    short = len({path.name for path in candidates}) == len(candidates)
    names = tuple(path.name if short else str(path) for path in candidates)
    comparisons = tuple(
        api.verify_model(reference, path, getattr(data, split), dataset=f"{data.name} {split}").model_copy(
            update={"candidate": name}
        )
        for path, name in zip(candidates, names, strict=True)
    )
    results = gates.accuracy_gates(
        names,
        comparisons,
        max_accuracy_drop=max_accuracy_drop,
        min_agreement=min_agreement,
    )
    if as_json:
        document = {
            "schema_version": 1,
            "comparisons": [comparison.model_dump(mode="json") for comparison in comparisons],
            "gates": [gate.model_dump(mode="json") for gate in results],
        }
        click.echo(json.dumps(document, indent=2))
    else:
        _tables.print_comparisons(comparisons, results)
    if not all(gate.passed for gate in results):
        raise SystemExit(1)
