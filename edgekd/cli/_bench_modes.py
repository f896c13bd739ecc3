"""What edgekd bench can do in one call, and which of its options go with that: the others are refused, not ignored."""

import click

from edgekd.cli import _options

COMMON = frozenset({"models", "target", "seed", "form", "as_json", "debug"})
PROFILE, SELF_TEST, UNMEASURED, ROOFLINE, SUSTAINED, MEASURE = (
    "--profile",
    "--self-test",
    "a target that is not measured on",
    "--roofline",
    "--minutes",
    "measuring",
)
_SHARED = frozenset({"threads", "cores", "inputs", "settings", "details", "history", "out"})
_ROUNDS = frozenset({"processes", "precision", "seconds", "compare", "floor", "max_ratio"})
TAKEN = {
    PROFILE: frozenset({"profile", "plot", "processes", "inputs", "batch"}),
    SELF_TEST: frozenset(
        {"self_test", "floor", "threads", "batch", "processes", "precision", "seconds", "interval_ms", "delegate"}
    )
    | frozenset({"cores", "inputs", "settings"}),
    UNMEASURED: frozenset({"settings"}),
    ROOFLINE: _SHARED | _ROUNDS | {"roofline"},
    SUSTAINED: _SHARED | {"minutes", "batch", "delegate"},
    MEASURE: _SHARED | _ROUNDS | {"batch", "interval_ms", "delegate"},
}
"""The parameters that go with each mode, besides the common ones: every option stands somewhere here."""

FORMATS = {
    MEASURE: ("table", "json", "csv", "google-benchmark", "pytest-benchmark"),
    SUSTAINED: ("table", "json", "csv", "google-benchmark", "pytest-benchmark"),
}
"""What each mode can be printed as; a table and JSON by default."""

_WHY = {
    PROFILE: "which runs on one thread of this machine and is no measurement",
    SELF_TEST: "which judges the machine and no file",
    ROOFLINE: "which is of this machine, one number of threads, the files' own batch and runs one after the other",
    SUSTAINED: "which runs one process of each file",
}


def chosen(context: click.Context, *, unmeasured: bool) -> str:
    """Returns what is asked for.

    Args:
      context: of the command, parsed.
      unmeasured: whether the target is reckoned for, or its outputs are compared.

    Raises:
      click.UsageError: an option or a format does not go with it.
    """
    given = _options.given(context)
    mode = next(
        (
            mode
            for name, mode in (
                ("profile", PROFILE),
                ("self_test", SELF_TEST),
                ("roofline", ROOFLINE),
                ("minutes", SUSTAINED),
            )
            if name in given and not (unmeasured and mode != PROFILE)
        ),
        UNMEASURED if unmeasured else MEASURE,
    )
    if mode == UNMEASURED:
        return mode  # which has words of its own for what it refuses
    for name, option in given.items():
        if name not in TAKEN[mode] | COMMON:
            if mode == MEASURE:
                raise click.UsageError(f"{option} is for {_mode_of(name)}.")
            raise click.UsageError(f"{option} does not go with {mode}, {_WHY[mode]}: leave it out.")
    form = context.params["form"]
    if not context.params["as_json"] and form not in FORMATS.get(mode, ("table", "json")):
        raise click.UsageError(f"--format {form} does not go with {mode}, which is shown as table or json.")
    return mode


def _mode_of(name: str) -> str:
    return next(mode for mode, taken in TAKEN.items() if name in taken)
