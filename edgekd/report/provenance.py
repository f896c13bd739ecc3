"""Where a run's numbers come from: seed, hashes, data, machine and versions."""

from edgekd.records import Summary
from edgekd.report import formatting, table


def entries(summary: Summary) -> tuple[tuple[str, str], ...]:
    """Returns names and texts, in reading order."""
    data, environment = summary.data, summary.environment
    return (
        ("Seed", str(summary.seed)),
        ("Recipe, SHA-256", summary.recipe_sha256),
        ("Data", f"{data.name}, inputs {' × '.join(str(size) for size in data.input_shape)}"),
        (
            "Samples",
            f"{data.train:,} for training, {data.validation:,} for validation, {data.test:,} for the test",
        ),
        ("Classes", f"{len(data.class_names)}: {', '.join(data.class_names)}"),
        ("Data, fingerprint", data.fingerprint),
        *((f"{table.title(role)}, weights SHA-256", model.weights_sha256) for role, model in summary.models.items()),
        ("Processor", f"{environment.cpu}, {environment.logical_cores} logical cores"),
        ("Memory", formatting.size(environment.memory_bytes)),
        ("System", f"{environment.platform}, {environment.machine}"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in _versions(summary))),
    )


def _versions(summary: Summary) -> list[tuple[str, str]]:
    environment = summary.environment
    own = [("edgekd", environment.edgekd), ("Python", environment.python)]
    return [*own, *sorted(environment.packages.items())]
