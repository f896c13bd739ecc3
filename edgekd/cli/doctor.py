"""edgekd doctor: versions, hardware, what is missing, how noisy this machine is."""

import json
from pathlib import Path

import click

from edgekd.cli import _options


@click.command("doctor")
@_options.json_option
@_options.debug_option
def command(as_json: bool) -> None:
    """Show what edgekd finds on this machine: versions, CPU features, what is missing, how noisy it is.

    Ends with exit status 2 if a package that edgekd needs is missing.
    """
    from edgekd import environment

    found = environment.describe()
    missing = [package for package in environment.PACKAGES if package not in found.packages]
    noise = environment.noise()
    features = environment.cpu_features()
    if as_json:
        document = found.model_dump() | {"missing": missing, "cpu_features": features, "noise": noise}
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(f"edgekd {found.edgekd}, Python {found.python}, {found.platform}")
        click.echo(f"{found.cpu}: {found.logical_cores} logical cores, {found.memory_bytes / 2**30:.1f} GiB of memory")
        click.echo(f"vector instructions: {', '.join(features) or 'none known to speed up inference'}")
        for package in environment.PACKAGES:
            click.echo(f"  {package:32} {found.packages.get(package, 'MISSING')}")
        click.echo(
            f"noise: load {noise['load_1min']:.2f} on {found.logical_cores} cores; a fixed piece of work varies by "
            f"{noise['scatter']:.1%} (scaled MAD / median of {noise['repetitions']:.0f} repetitions)"
        )
        if noise["scatter"] > environment.NOISY:
            click.echo("  latency will be uncertain here: close other programs, fix the CPU's frequency, measure more")
        click.echo(f"writable here: {'yes' if _writable() else 'no: choose another folder with --out'}")
    if missing:
        click.echo(f"missing: {', '.join(missing)}. Run: pip install edgekd", err=True)
        raise SystemExit(2)


def _writable() -> bool:
    import os

    return os.access(Path.cwd(), os.W_OK)
