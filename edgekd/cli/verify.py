"""edgekd verify: is the exported file still the model that was trained?"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd.cli import _options

if TYPE_CHECKING:  # --help must not wait for it
    from edgekd.verify.records import Verification


_OF_STAGES = frozenset({"stages", "runtimes", "as_json", "debug"})


@click.command("verify")
@click.argument("reference", required=False)
@click.argument("candidates", nargs=-1)
@click.option(
    "--data",
    help="Real samples: a dataset such as embedded or tfds:NAME, an .npz file with arrays named like the inputs, or a "
    "folder of images. Seeded samples by default.",
)
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the dataset; repeatable.")
@click.option(
    "--split",
    type=_options.Choice(["validation", "test"]),
    default="test",
    show_default=True,
    help="Which of its splits.",
)
@click.option("--seeded", type=click.IntRange(1), help="How many made-up samples, without --data.  [default: 64]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="What decides the made-up samples.")
@click.option(
    "--range", "ranges", multiple=True, metavar="INPUT=LOW:HIGH", help="Range of made-up samples; repeatable."
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="INPUT=1x28x28x1", help="Sizes that an input leaves open; repeatable."
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    help="Run each candidate in this runtime, such as litert_builtin, onnxruntime_unoptimised, tflite_micro, or in "
    "all; repeatable. For one file: FILE@RUNTIME.",
)
@click.option(
    "--matrix",
    is_flag=True,
    help="Compare every pair of models, not only with the first one; of one file, with --runtime all, its runtimes.",
)
@click.option("--signature", metavar="NAME", help="Which signature of TFLite files and SavedModels to run.")
@click.option(
    "--classes",
    metavar="OUTPUT",
    help="The output whose largest value is the class, if there are several; none: of an autoencoder.",
)
@click.option(
    "--pair",
    "paired",
    multiple=True,
    metavar="NAME=NAME",
    help="Pair an input or output of the reference with one of the candidates; repeatable.",
)
@click.option(
    "--reset-every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Reset models with a state before every so many samples.",
)
@click.option(
    "--expect",
    type=_options.Choice(["auto", "same", "close"]),
    default="auto",
    show_default=True,
    help="Judge as two computations of one network (same), or as quantised on one side (close).",
)
@click.option("--epsilons", type=click.FloatRange(0), help="Allowed error of floats, in epsilons.  [default: 64]")
@click.option("--max-abs", type=click.FloatRange(0), help="Allowed absolute error of floats, instead.")
@click.option("--max-lsb", type=click.FloatRange(0), help="Allowed error of integers, in steps.  [default: 1]")
@click.option(
    "--max-mismatch",
    type=click.FloatRange(0, 1),
    help="Fraction of integers that may be off by more.  [default: 0.001]",
)
@click.option("--min-sqnr-db", type=float, help="Least signal-to-noise ratio.  [default: 10 where nothing else judges]")
@click.option(
    "--max-accuracy-drop",
    type=click.FloatRange(0, 1),
    help="The reference's accuracy minus the candidate's may be at most this, with labels.  [default: 0.01]",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1),
    help="At least this fraction of samples must get the same class from both.  [default: 0.98 with labels]",
)
@click.option(
    "--by-interval",
    is_flag=True,
    help="Judge accuracy drop and agreement by their 95 % intervals: exit status 3 where the limit lies inside one.",
)
@click.option(
    "--layers",
    is_flag=True,
    help="Compare .keras, .tflite and .onnx files operator by operator too: which one is the first at fault.",
)
@click.option(
    "--layer-samples",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="On how many samples, with --layers.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the errors of all operators as one .html page, with --layers.",
)
@click.option(
    "--stages",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Instead: one row for each network and file of a run's folder, to see where accuracy was lost.",
)
@_options.json_option
@_options.debug_option
def command(
    reference: str | None,
    candidates: tuple[str, ...],
    data: str | None,
    options: tuple[str, ...],
    split: str,
    seeded: int | None,
    seed: int,
    ranges: tuple[str, ...],
    shapes: tuple[str, ...],
    runtimes: tuple[str, ...],
    matrix: bool,
    signature: str | None,
    classes: str | None,
    paired: tuple[str, ...],
    reset_every: int,
    layers: bool,
    layer_samples: int,
    plot: Path | None,
    stages: Path | None,
    as_json: bool,
    **limits: Any,
) -> None:
    """Compare each of CANDIDATES with REFERENCE on the same samples.

    They are Keras, tf_keras, TFLite or ONNX files or SavedModel folders. Floats must be equal within rounding, integers
    within steps of their own scale; what was quantised on one side only is judged by accuracy and agreement, or by its
    signal-to-noise ratio.

    Exit status: 0 every candidate passed, 1 one failed, 2 bad input, 3 inconclusive.
    """
    if plot is not None and not layers:
        raise click.UsageError("--plot draws what --layers finds: give both.")
    if plot is not None:
        _options.require_page(plot)
    given = _options.given(click.get_current_context())
    if stages is not None:
        if reference is not None or layers:
            raise click.UsageError("--stages RUN takes the models of the run: give no others.")
        for name, option in given.items():
            if name not in _OF_STAGES:
                raise click.UsageError(f"--stages RUN takes the data and limits of the run: leave out {option}.")
        _stages(stages, runtimes, as_json)
        return
    if reference is None or not (candidates or matrix):
        raise click.UsageError(
            "give a REFERENCE and at least one of CANDIDATES, one file with --matrix --runtime all, or --stages RUN."
        )
    _require_used(given, data)
    from edgekd.cli import _verification
    from edgekd.pipeline.verification import verify_models
    from edgekd.verify.tolerances import Limits

    found = verify_models(
        reference,
        candidates,
        data=data,
        options=options,
        split=split,
        seeded=seeded,
        seed=seed,
        ranges=dict(map(_range, ranges)),
        shapes=dict(map(_shape, shapes)),
        runtimes=runtimes,
        matrix=matrix,
        signature=signature,
        limits=Limits(**limits),
        classes=classes,
        paired=dict(_named(text, "--pair") for text in paired),
        reset_every=reset_every,
        layers=layers,
        layer_samples=layer_samples,
    )
    if plot is not None:
        _plot(found, plot)
    if as_json:
        _options.print_json(found)
    else:
        _verification.print_verification(found)
        _print_layers(found)
        _verification.print_outcome(found)
    if found.status != "passed":
        raise SystemExit(_options.STATUS[found.status])


def _require_used(given: Mapping[str, str], data: str | None) -> None:
    """Raises where an option was given that nothing here would look at."""
    for name in ("ranges", "shapes", "seed"):
        if data is not None and name in given:
            raise click.UsageError(f"{given[name]} is for made-up samples, and --data gives real ones: leave it out.")
    from edgekd.recipe import is_dataset_name

    named = data is not None and is_dataset_name(data)
    for name in ("options", "split"):
        if not named and name in given:
            raise click.UsageError(f"{given[name]} is for a dataset by name, such as --data embedded: leave it out.")
    if "layer_samples" in given and "layers" not in given:
        raise click.UsageError("--layer-samples is for --layers: give both.")


def _stages(run: Path, runtimes: tuple[str, ...], as_json: bool) -> None:
    from edgekd.cli import _verification
    from edgekd.pipeline.stage_table import stage_table

    found = stage_table(run, runtimes=runtimes)
    if as_json:
        _options.print_json(found)
    else:
        _verification.print_stages(found)


def _print_layers(found: "Verification") -> None:
    from edgekd.cli import _layers
    from edgekd.verify.layers import LayeredVerification

    if isinstance(found, LayeredVerification):
        for each in found.layers:
            _layers.print_layers(each)
        for missing in found.not_compared:
            _layers.print_not_compared(missing)


def _plot(found: "Verification", path: Path) -> None:
    from edgekd.verify.layers import LayeredVerification, plot

    if isinstance(found, LayeredVerification):
        plot.write_plot(found.layers, path)
        click.echo(f"errors of all operators: {path}", err=True)


def _named(text: str, option: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not (mark and name and value):
        raise click.UsageError(f"{option} {text!r} is not of the form NAME=VALUE.")
    return name, value


def _range(text: str) -> tuple[str, tuple[float, float]]:
    name, value = _named(text, "--range")
    low, _, high = value.partition(":")
    try:
        return name, (float(low), float(high))
    except ValueError as error:
        raise click.UsageError(f"--range {text!r} is not of the form INPUT=LOW:HIGH, such as image=-1:1.") from error


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, value = _named(text, "--shape")
    try:
        return name, tuple(int(size) for size in value.split("x"))
    except ValueError as error:
        raise click.UsageError(f"--shape {text!r} is not of the form INPUT=1x28x28x1.") from error
